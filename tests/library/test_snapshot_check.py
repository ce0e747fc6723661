"""The index of a stopped service, as it lies on the disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.data_dir import Ownership
from app.errors import NotFound, SettingsError
from app.library.files import index_directory
from app.library.index_check import Repair
from app.library.snapshot_check import SnapshotCheck, open_snapshot_check
from app.settings import Settings
from app.store.tables import EmbeddingRow
from index import manifest
from index.row_files import digest
from tests.library.index_check_rig import CLIPS, DataDir, lower_thresholds
from tests.library.test_live_index import DIMENSION, MODEL


def forge(directory: Path, change: Callable[[np.ndarray, np.ndarray], None]) -> None:
    """Change ids and rows (n, D) of a snapshot as someone who knows the format would, checksums
    included."""
    path = directory / "manifest.json"
    fields: dict[str, Any] = json.loads(path.read_bytes())
    fields.pop("sha256")
    ids = np.load(directory / fields["files"]["ids"]["name"])
    if fields["format"] == 1:
        parts = [(fields["files"]["directions"], len(ids))]
    else:
        parts = [(one, one["count"]) for one in fields["graph"]["segments"]]
    files = [np.load(directory / record["name"], mmap_mode="r+") for record, _ in parts]
    rows = np.concatenate([its[:count] for its, (_, count) in zip(files, parts, strict=True)])
    change(ids, rows)
    start = 0
    for its, (record, count) in zip(files, parts, strict=True):
        its[:count] = rows[start : start + count]
        its.flush()
        start += count
        whole = sha256((directory / record["name"]).read_bytes()).hexdigest()
        record["sha256"] = whole if fields["format"] == 1 else digest(its, count)
    name = fields["files"]["ids"]["name"]
    np.save(directory / name, ids)
    fields["files"]["ids"]["sha256"] = sha256((directory / name).read_bytes()).hexdigest()
    path.write_bytes(manifest._encoded(fields))


@pytest.fixture(params=["flat", "graph"])
def data_dir(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DataDir]:
    """CLIPS clips in a saved index."""
    lower_thresholds(monkeypatch, request.param)
    rig = DataDir(tmp_path)
    for _ in range(CLIPS):
        rig.commit()
    rig.index.rebuild()
    rig.index.save()
    assert rig.index.kind == request.param
    yield rig
    rig.store.close()


def settings_of(rig: DataDir) -> Settings:
    url = f"sqlite:///{rig.directory / 'test.db'}"
    return Settings(data_dir=rig.directory, database_url=url)


@pytest.fixture
def lying(data_dir: DataDir) -> Iterator[SnapshotCheck]:
    settings = settings_of(data_dir)
    with open_snapshot_check(settings, Ownership(settings.data_dir)) as checking:
        yield checking


def kinds(lying: SnapshotCheck) -> dict[str, list[int]]:
    return {kind: ids.tolist() for kind, ids in lying.check().faults.items() if len(ids)}


def test_a_forged_snapshot_is_found_out_and_mended(data_dir: DataDir, lying: SnapshotCheck) -> None:
    directory = index_directory(data_dir.directory, MODEL)
    assert lying.check().clean

    def change(ids: np.ndarray, rows: np.ndarray) -> None:
        at = {clip_id: place for place, clip_id in enumerate(ids.tolist())}
        rows[at[3]] = rows[at[30]]
        rows[at[44]] = 0
        ids[at[10]] = 5000

    forge(directory, change)
    data_dir.delete(7)
    missing = [10, data_dir.commit()]
    before = sorted(path.name for path in directory.iterdir())
    assert kinds(lying) == {
        "missing": missing,
        "phantom": [7, 5000],
        "zeroed": [44],
        "wrong": [3],
    }
    assert sorted(path.name for path in directory.iterdir()) == before
    done = lying.repair(lying.check())
    assert done == Repair(added=2, removed=2, renewed=2, rebuilt=False)
    assert lying.check().clean
    data_dir.open()
    data_dir.check()
    assert data_dir.found().clean


@pytest.mark.parametrize("role", ["ids", "mean", "largest", "manifest"])
def test_a_damaged_snapshot_is_told_and_rebuilt(
    data_dir: DataDir, lying: SnapshotCheck, role: str
) -> None:
    directory = index_directory(data_dir.directory, MODEL)
    pattern = {"largest": "*.npy", "manifest": "manifest.json"}.get(role, f"{role}-*")
    path = max(directory.glob(pattern), key=lambda one: one.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    found = lying.check()
    assert found.unusable is not None
    assert path.name in found.unusable
    assert found.faults["missing"].tolist() == sorted(data_dir.embeddings)
    assert path.read_bytes() == content
    assert lying.repair(found) == Repair(added=CLIPS, removed=0, renewed=0, rebuilt=True)
    assert lying.check().clean


@pytest.mark.parametrize("data_dir", ["flat"], indirect=True)
def test_no_snapshot_of_nothing_is_clean(data_dir: DataDir, lying: SnapshotCheck) -> None:
    for path in index_directory(data_dir.directory, MODEL).iterdir():
        path.unlink()
    assert lying.check().unusable == "there is no manifest.json"
    for clip_id in list(data_dir.embeddings):
        data_dir.delete(clip_id)
    assert lying.check().clean


@pytest.mark.parametrize("data_dir", ["flat"], indirect=True)
def test_a_vector_that_is_not_finite_is_no_reason_to_change_anything(
    data_dir: DataDir, lying: SnapshotCheck
) -> None:
    with data_dir.store.write() as session:
        row = session.get_one(EmbeddingRow, (data_dir.model_row, 9))
        row.vector = np.full(DIMENSION, np.nan, "<f4").tobytes()
    lying.repair(lying.check())
    assert kinds(lying) == {"not_finite": [9]}
    directory = index_directory(data_dir.directory, MODEL)
    before = sorted(path.name for path in directory.iterdir())
    lying.repair(lying.check())
    assert sorted(path.name for path in directory.iterdir()) == before


def test_another_database_is_refused(data_dir: DataDir, lying: SnapshotCheck) -> None:
    (data_dir.directory / "database").write_text("another")
    with pytest.raises(SettingsError, match="EMOSEEK_DATABASE_URL"):
        SnapshotCheck(settings_of(data_dir), data_dir.store)


def test_a_data_directory_of_nothing_has_no_index(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    ownership = Ownership(tmp_path)
    with pytest.raises(NotFound), open_snapshot_check(settings, ownership):
        pass
    Ownership(tmp_path).release()  # it was given back
