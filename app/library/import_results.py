"""Import result directories: clips that another installation of this interface recognised."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
from pathlib import Path
from typing import BinaryIO, Literal

from app.audio import samples_sha256
from app.domain import SAMPLE_RATE, Audio, ClipFields, Embedding, GivenScores
from app.errors import InvalidParameter, Unavailable
from app.library.files import sha256_of
from app.library.hear import Hearing
from app.library.library import Library
from app.library.spaces import Space, Spaces
from app.recogniser import Flow
from app.store import clips, imports, recognitions
from app.store import ids as clip_ids

Outcome = Literal["stored", "recognised anew", "without embedding", "already stored"]

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class ResultDirectory:
    """What one directory holds.

    `key` is the SHA-256 of its files. `clip_id` and `name` are what result.json says of the clip
    and what the directory is called: by both, a directory of this very service is known.
    """

    key: str
    name: str
    heard: GivenScores
    fields: ClipFields
    embedding: Embedding | None = None  # (D,)
    audio: BinaryIO | None = None
    clip_id: int | None = None
    model_digest: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Imported:
    outcome: Outcome
    clip_id: int


def import_result(library: Library, given: ResultDirectory, flow: Flow) -> Imported:
    """Store and index one result directory as a clip, unless it is stored already.

    The scores are kept as they are. A missing embedding is made from the audio, if there is any;
    without both, the clip is stored and never indexed.

    Raises:
        InvalidParameter: its embedding is of another model.
        NoAudio, UnsupportedAudio, TooLarge: its audio cannot be decoded.
        QueueFull, Unavailable: come back later.
        ClientGone: the flow was cancelled.
    """
    with library.key_locks.hold(given.key, flow):
        if (known := _known(library, given)) is not None:
            return Imported("already stored", known)
        if given.embedding is not None:
            _check_model(library.spaces.active, given, given.embedding)
        if given.audio is None:
            with library.roles.commits.shared():
                clip_id = _store(library, given, library.spaces, None, None)
            return Imported("without embedding" if given.embedding is None else "stored", clip_id)
        with library.gate.admit(flow):
            return _import_with_audio(library, given, given.audio, flow)


def _known(library: Library, given: ResultDirectory) -> int | None:
    """The clip that this directory was imported as, or that this service made it for."""
    with library.store.read() as session:
        before = imports.clip_of(session, given.key)
        if before is not None:
            return before
        own = None if given.clip_id is None else clips.get(session, given.clip_id)
    if own is None or own.result_dir is None or Path(own.result_dir).name != given.name:
        return None
    return own.id


def _check_model(space: Space, given: ResultDirectory, embedding: Embedding) -> None:
    active = space.model
    if len(embedding) != active.dimension:
        raise InvalidParameter(
            "embedding", f"has {len(embedding)} numbers, {active.id} {active.dimension}."
        )
    if given.model_digest not in (None, active.digest):
        raise InvalidParameter(
            "embedding", f"is by another model than {active.id} ({active.digest[:12]}…)."
        )


def _import_with_audio(
    library: Library, given: ResultDirectory, source: BinaryIO, flow: Flow
) -> Imported:
    file_sha256 = sha256_of(source)
    hearing = Hearing(library, source, "mix", flow)
    [waveform] = hearing.audio.waveforms
    try:
        audio_key = library.kept_audio.keep(waveform) if library.settings.keep_audio else None
    except OSError as exc:
        raise Unavailable("The clip's audio could not be written.") from exc
    facts = _facts(hearing.audio, file_sha256, audio_key)
    try:
        clip_id = _hear_and_store(library, given, hearing, facts)
    finally:
        if audio_key is not None:
            _settle(library, audio_key)
    return Imported("recognised anew" if given.embedding is None else "stored", clip_id)


def _hear_and_store(
    library: Library, given: ResultDirectory, hearing: Hearing, facts: imports.AudioFacts
) -> int:
    while True:
        if given.embedding is None:
            hearing.hear()
        else:
            hearing.hear_beside()
        with library.roles.commits.shared():
            spaces = library.spaces
            known = given.embedding is not None or hearing.known(spaces.active) is not None
            if known and hearing.is_tried_with(spaces.beside):
                return _store(library, given, spaces, hearing, facts)


def _facts(audio: Audio, file_sha256: str, audio_key: str | None) -> imports.AudioFacts:
    [waveform] = audio.waveforms
    return imports.AudioFacts(
        duration=len(waveform) / SAMPLE_RATE,
        container=audio.container,
        codec=audio.codec,
        sample_rate=audio.sample_rate,
        channels=audio.channels,
        file_sha256=file_sha256,
        audio_sha256=samples_sha256(waveform),
        audio_key=audio_key,
    )


def _store(
    library: Library,
    given: ResultDirectory,
    spaces: Spaces,
    hearing: Hearing | None,
    audio: imports.AudioFacts | None,
) -> int:
    """Store a clip while the spaces have these roles: with the embedding that is given, else
    with what was heard, if anything was; returns its id."""
    if given.embedding is not None:
        _check_model(spaces.active, given, given.embedding)
    clip = imports.ImportedClip(given.fields, given.heard, audio)
    heard = {
        space: found[0].recognition
        for space in spaces
        if hearing is not None and (found := hearing.known(space)) is not None
    }
    vectors = {space: one.embedding[None, :] for space, one in heard.items()}
    if given.embedding is not None:
        vectors[spaces.active] = given.embedding[None, :]
    now = dt.datetime.now(dt.UTC)
    removals = {space: space.index.removals for space in spaces}
    scored = [library.classifiers.scored(space.model_row, one) for space, one in vectors.items()]
    with library.store.write() as session:
        ids = clip_ids.draw(session, 1)
        clip_id, model_row = int(ids[0]), spaces.active.model_row
        imports.add(session, model_row, ids, [clip], vectors.get(spaces.active), now)
        if spaces.beside is not None and spaces.beside in heard:
            beside = spaces.beside.model_row
            recognitions.add(session, beside, {clip_id: heard[spaces.beside]})
        for by_model in scored:
            library.classifiers.keep(session, [clip_id], by_model)
        imports.begin(session, given.key, model_row, 1, now, done=1, clip_id=clip_id)
    library.filters.refresh([clip_id])
    library.duplicate_groups.changed()
    for space, vector in vectors.items():
        space.index.add_block(ids, vector, removals=removals[space])
    return clip_id


def _settle(library: Library, audio_key: str) -> None:
    """Keep the audio if its clip is committed, whatever the commit raised, else remove it."""
    try:
        with library.store.read() as session:
            committed = clips.committed_keys(session, [audio_key])
        (library.kept_audio.settle if committed else library.kept_audio.discard)(audio_key)
    except (Unavailable, OSError):  # the next start does it
        log.exception("The audio %s is not settled.", audio_key)
