"""A library with two models at its start, whatever ended it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.errors import ModelError, SettingsError
from app.library import recordings
from app.recogniser import Source, is_pinned
from app.recogniser.sources import BUNDLED_ID
from tests.conftest import ROOT
from tests.library import spaces_rig as rig
from tests.library.spaces_rig import Open


class TestStart:
    """With a model beside."""

    def test_both_are_there(self, reopen: Open, second: Source, database: dict[str, str]) -> None:
        library = reopen(**database)
        ids = [rig.post(library, seed) for seed in range(3)]
        rig.hear_again(library, library.roles.open_beside(second))
        library = reopen(**database)
        strange = library.settings.data_dir / "index" / ("ab" * 8)
        strange.mkdir()
        assert library.spaces.beside is not None
        digests = [space.model.digest for space in library.spaces]
        ids.append(rig.post(library, 3))
        library.roles.switch()
        now = rig.scores(library)
        library = reopen(**database, model="auto")
        assert [space.model.digest for space in library.spaces] == digests[::-1]
        assert [rig.indexed(space) for space in library.spaces] == [ids, ids]
        assert rig.scores(library) == now
        kept = {path.name for path in (library.settings.data_dir / "index").iterdir()}
        assert kept == {digest[:16] for digest in (*digests, recordings.MODEL.digest)}
        rig.post(library, 4)
        library.roles.switch()
        assert library.recogniser.info.id == BUNDLED_ID
        assert len(rig.indexed(library.spaces.active)) == 5

    def test_a_model_that_was_pinned_and_is_beside_now(
        self, reopen: Open, second: Source, caplog: pytest.LogCaptureFixture
    ) -> None:
        library = reopen()
        rig.post(library, 0)
        rig.hear_again(library, library.roles.open_beside(second))
        library.roles.switch()
        beside = library.spaces.beside
        assert beside is not None
        assert is_pinned(library.settings, beside.model)
        assert not is_pinned(library.settings, library.spaces.active.model)
        caplog.clear()
        library = reopen(model="bundled")
        assert f"Set EMOSEEK_MODEL={second.id}" in caplog.text
        assert library.recogniser.info.id == second.id
        assert library.spaces.beside is not None
        assert library.spaces.beside.model.id == BUNDLED_ID
        caplog.clear()
        library = reopen(model=second.id)
        assert "EMOSEEK_MODEL" not in caplog.text
        assert library.recogniser.info.id == second.id
        library.roles.switch()
        library.roles.close_beside()
        rig.post(library, 1)
        with pytest.raises(SettingsError, match="embedded by another model"):
            reopen(model=second.id)

    def test_a_model_beside_that_is_gone(
        self, reopen: Open, second: Source, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        copy = tmp_path / "copy"
        shutil.copytree(second.path, copy)
        library = reopen()
        ids = [rig.post(library, 0)]
        rig.hear_again(library, library.roles.open_beside(rig.source(copy)))
        copy.rename(tmp_path / "elsewhere")
        library = reopen()
        assert f"{copy} is beside the active model and cannot be loaded" in caplog.text
        assert library.spaces.beside is None
        ids.append(rig.post(library, 1))
        with pytest.raises(ModelError):
            library.roles.switch()
        assert library.recogniser.info.id == BUNDLED_ID
        shutil.copytree(tmp_path / "elsewhere", copy)
        tokens = (copy / "tokens.txt").read_text("utf-8").split()
        (copy / "tokens.txt").write_text("\n".join(reversed(tokens)), "utf-8")
        with pytest.raises(ModelError, match="is not the model any more"):
            library.roles.switch()
        shutil.rmtree(copy)
        (tmp_path / "elsewhere").rename(copy)
        library.roles.switch()
        assert library.recogniser.info.id == str(copy)
        assert rig.indexed(library.spaces.active) == ids[:1]
        assert rig.hear_again(library, library.spaces.active) == ids[1:]
        assert rig.indexed(library.spaces.active) == ids
        said = rig.scores(library)
        assert {digest for digest, *_ in said.values()} == {library.recogniser.info.digest}


class TestActiveModelGone:
    """After a switch to a model whose directory is gone by the next start."""

    @pytest.fixture
    def copy(self, second: Source, tmp_path: Path) -> Path:
        return Path(shutil.copytree(second.path, tmp_path / "copy"))

    def switched(self, reopen: Open, copy: Path, **settings: str) -> tuple[dict[int, Any], ...]:
        """Scores by the model before, and by the one that is active now, of three clips."""
        library = reopen(**settings)
        for seed in range(2):
            rig.post(library, seed)
        rig.hear_again(library, library.roles.open_beside(rig.source(copy)))
        library.roles.switch()
        rig.post(library, 2)
        after = rig.scores(library)
        library.roles.switch()
        before = rig.scores(library)
        library.roles.switch()
        return before, after

    def test_back_to_the_one_before(
        self, reopen: Open, copy: Path, tmp_path: Path, database: dict[str, str]
    ) -> None:
        before, after = self.switched(reopen, copy, **database)
        copy.rename(tmp_path / "elsewhere")
        library = reopen(**database, allow_model_change=True)
        assert library.recogniser.info.id == BUNDLED_ID
        assert rig.scores(library) == before
        assert rig.indexed(library.spaces.active) == list(before)
        library = reopen(**database, model="auto")  # it stays so
        assert library.recogniser.info.id == BUNDLED_ID
        (tmp_path / "elsewhere").rename(copy)
        library.roles.switch()
        assert library.recogniser.info.id == str(copy)
        assert rig.scores(library) == after

    @pytest.mark.parametrize("model", ["bundled", "auto"])
    def test_unless_allowed_it_is_told_how(self, reopen: Open, copy: Path, model: str) -> None:
        self.switched(reopen, copy)
        shutil.rmtree(copy)
        with pytest.raises(ModelError) as refused:
            reopen(model=model)
        assert f"EMOSEEK_MODEL={BUNDLED_ID}" in refused.value.detail
        assert "EMOSEEK_ALLOW_MODEL_CHANGE=true" in refused.value.detail

    def test_named_again_where_both_are_there(
        self, reopen: Open, copy: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        before, _ = self.switched(reopen, copy)
        library = reopen(model=BUNDLED_ID, allow_model_change=True)
        assert "active model again, as by a rollback" in caplog.text
        assert [space.model.id for space in library.spaces] == [BUNDLED_ID, str(copy)]
        assert rig.scores(library) == before


def test_auto_with_a_revision_that_is_the_former_models(
    reopen: Open, second: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The revision is pinned, and there is none of that name of the model that is active now."""
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "hub"))
    name = "iic/emotion2vec_plus_base"
    path = tmp_path / "hub" / "models" / name.replace("/", "--") / "snapshots" / "master"
    shutil.copytree(second.path, path)
    library = reopen()
    rig.post(library, 0)
    rig.hear_again(library, library.roles.open_beside(Source(name, path)))
    library.roles.switch()
    before = rig.scores(library)
    library = reopen(model="auto", model_revision="v1.0")
    assert library.recogniser.info.id == name
    assert rig.scores(library) == before
    tokens = (path / "tokens.txt").read_text("utf-8").split()
    (path / "tokens.txt").write_text("\n".join(reversed(tokens)), "utf-8")
    with pytest.raises(ModelError, match=f"{name} is the active model since a reindex"):
        reopen(model="auto", model_revision="v1.0")


KILLED = """
import os, signal, sys
from pathlib import Path
import app.library.roles
from tests.library import spaces_rig as rig

library = rig.opened(Path(sys.argv[1]))
rig.hear_again(library, library.roles.open_beside(rig.source(Path(sys.argv[2]))))
if sys.argv[3] == "before the commit":
    app.library.roles.recognitions.swap = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
else:
    app.library.roles.Spaces = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
library.roles.switch()
"""


@pytest.mark.parametrize("point", ["before the commit", "after the commit"])
def test_killed_in_a_switch(second: Source, tmp_path: Path, point: str) -> None:
    with contextlib.closing(rig.opened(tmp_path)) as library:
        ids = [rig.post(library, seed) for seed in range(3)]
        first = rig.scores(library)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), second.id, point],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    with contextlib.closing(rig.opened(tmp_path, model="auto")) as library:
        done = point == "after the commit"
        names = [space.model.id for space in library.spaces]
        assert names == ([second.id, BUNDLED_ID] if done else [BUNDLED_ID, second.id])
        assert [rig.indexed(space) for space in library.spaces] == [ids, ids]
        said = rig.scores(library)
        assert (said == first) is not done
        library.roles.switch()
        assert (rig.scores(library) == first) is done
