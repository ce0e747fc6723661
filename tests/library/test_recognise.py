"""Posted clips, in a library of this process."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from app.data_dir import Ownership
from app.domain import SAMPLE_RATE
from app.errors import ClientGone, Unavailable
from app.library import Library
from app.library import hear as hearing
from app.library.recognise import Posted, recognise
from app.library.search import Wanted, by_audio
from app.recogniser import Flow
from app.settings import load_settings

SECONDS = 20


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    settings = load_settings(
        model="bundled", data_dir=tmp_path / "data", outputs_dir=tmp_path / "outputs"
    )
    library = Library(settings, Ownership(settings.data_dir))
    yield library
    library.close()


@pytest.fixture
def stereo() -> io.BytesIO:
    noise = np.random.default_rng(0).integers(-999, 999, (SECONDS * SAMPLE_RATE, 2))
    file = io.BytesIO()
    soundfile.write(file, noise.astype(np.int16), SAMPLE_RATE, format="WAV", subtype="PCM_16")
    file.seek(0)
    return file


def test_nothing_large_is_encoded_while_others_wait_to_write(
    library: Library, stereo: io.BytesIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = json.JSONEncoder.iterencode
    large: list[bool] = []  # whether this was the one who may write

    def watched(self: json.JSONEncoder, value: Any, *args: Any, **options: Any) -> Any:
        pieces = list(encode(self, value, *args, **options))
        if sum(map(len, pieces)) > 10_000:
            large.append(library.store._one_writer.locked())  # type: ignore[attr-defined]
        return pieces

    monkeypatch.setattr(json.JSONEncoder, "iterencode", watched)
    posted = Posted(stereo, granularity="frame", channel="split", idempotency_key="k")
    answer = recognise(library, posted)
    assert large == [False, False]  # the frames of each side, once
    parts = [answer, answer["channels"]["right"]]
    assert all(len(part["frames"]["emotions"]) == 50 * SECONDS - 1 for part in parts)
    for part in parts:
        written = library.settings.outputs_dir / Path(part["result_dir"]).name / "result.json"
        assert json.loads(written.read_text("utf-8")) == part
    stereo.seek(0)
    assert recognise(library, posted) == answer


@pytest.mark.parametrize("route", ["recognise", "search"])
@pytest.mark.parametrize("error", [ClientGone, Unavailable])
def test_a_file_is_given_up_while_it_is_decoded(
    library: Library,
    stereo: io.BytesIO,
    monkeypatch: pytest.MonkeyPatch,
    route: str,
    error: type[Exception],
) -> None:
    flow, blocks = Flow(), 0
    decode = hearing.decode

    def watched(*args: Any, go_on: Callable[[], None], **options: Any) -> Any:
        def end_on_the_way() -> None:
            nonlocal blocks
            blocks += 1
            if blocks == 3:
                flow.cancel() if error is ClientGone else library.gate.shut()
            go_on()

        return decode(*args, go_on=end_on_the_way, **options)

    monkeypatch.setattr(hearing, "decode", watched)
    with pytest.raises(error):
        if route == "search":
            by_audio(library, stereo, "mix", Wanted(), flow)
        else:
            recognise(library, Posted(stereo, flow=flow))
    assert blocks == 3
    assert library.gate.inside == 0
