"""A library of this process with a second model."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from app.audio import decode
from app.data_dir import Ownership
from app.domain import SAMPLE_RATE, ClipFilter
from app.library import Library
from app.library.answers import Answer
from app.library.recognise import Posted, recognise
from app.library.search import Found, Wanted, similar
from app.library.spaces import Space
from app.recogniser import Flow, Source, recognise_clip
from app.settings import load_settings
from app.store import clips, recognitions

SECONDS = 0.4

Open = Callable[..., Library]  # as the fixture `reopen`


def opened(directory: Path, **settings: Any) -> Library:
    """The library in `directory`, as a process that starts has it."""
    chosen = load_settings(
        **{
            "model": "bundled",
            "data_dir": directory / "data",
            "outputs_dir": directory / "outputs",
            **settings,
        }
    )
    return Library(chosen, Ownership(chosen.data_dir))


def source(directory: Path) -> Source:
    return Source(str(directory.resolve()), directory.resolve())


def noise(seed: int) -> io.BytesIO:
    """A stereo recording that is like no other."""
    random = np.random.default_rng(seed)
    samples = np.cumsum(random.standard_normal((int(SECONDS * SAMPLE_RATE), 2)), axis=0)
    file = io.BytesIO()
    soundfile.write(file, samples / np.abs(samples).max(), SAMPLE_RATE, format="WAV")
    file.seek(0)
    return file


def post(library: Library, seed: int, **fields: Any) -> int:
    """Recognise a recording; returns its clip's id."""
    clip_id: int = posted(library, seed, **fields)["clip_id"]
    return clip_id


def posted(library: Library, seed: int, **fields: Any) -> Answer:
    return recognise(library, Posted(noise(seed), **fields))


def hear_again(library: Library, space: Space) -> list[int]:
    """As a re-embedding does it: what the model of a space has not heard, from kept audio."""
    with library.store.read() as session:
        ids, keys = recognitions.missing(session, space.model_row, 0, 500)
    heard = []
    for key in keys:
        with library.kept_audio.path(key).open("rb") as file:
            [waveform] = decode(file, max_seconds=60).waveforms
        heard.append(recognise_clip(space.recogniser, waveform, Flow()).recognition)
    with library.roles.commits.shared(), library.store.write() as session:
        added = recognitions.add_many(session, space.model_row, ids, heard)
    library.filters.refresh(added)
    library.summaries.forget(added)
    space.index.audit()
    return added


def neighbours(library: Library, clip_id: int) -> list[tuple[int, float]]:
    """Ids and similarities of the clips similar to one."""
    [found] = similar(library, [clip_id], Wanted(k=1000))
    assert isinstance(found, Found), found
    return [(near.clip.id, near.similarity) for near in found.neighbours]


def scores(library: Library) -> dict[int, tuple[Any, ...]]:
    """What is said of every clip's emotion, in the database, by filters and by searches."""
    with library.store.read() as session:
        stored = {clip.id: clip for clip in clips.page(session, ClipFilter(), 1000, None)}
        numbers = clips.facet(session, "emotion", ClipFilter(), 10)
    counted = {
        emotion: len(library.filters.ids(ClipFilter(emotions=(emotion,))))
        for emotion, _ in numbers
        if emotion is not None
    }
    assert counted == {emotion: number for emotion, number in numbers if emotion is not None}
    summaries = library.summaries.of(list(stored))
    for clip_id, clip in stored.items():
        said = summaries[clip_id]
        assert (said.emotion, said.confidence) == (clip.emotion, clip.confidence)
        if clip.confidence is not None:
            sure = library.filters.ids(ClipFilter(min_confidence=clip.confidence))
            surer = library.filters.ids(
                ClipFilter(min_confidence=float(np.nextafter(clip.confidence, 2)))
            )
            assert clip_id in sure
            assert clip_id not in surer
    return {
        clip_id: (clip.model.digest, clip.emotion, clip.confidence, clip.scores)
        for clip_id, clip in sorted(stored.items())
    }


def indexed(space: Space) -> list[int]:
    return sorted(space.index.current().index.ids().tolist())
