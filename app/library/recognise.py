"""Post a clip: decode, recognise, store, index, answer."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from app.analysis.fingerprint import Fingerprint, fingerprint
from app.audio import blocks, samples_sha256
from app.domain import (
    SAMPLE_RATE,
    Audio,
    Channel,
    ClipFields,
    ClipRecognition,
    Granularity,
    Recognition,
    Waveform,
)
from app.errors import Conflict, Gone, Unavailable
from app.library.answers import Answer, answer_of
from app.library.classifiers import Scored
from app.library.files import as_json, sha256_of, to_json, write_result
from app.library.hear import Hearing
from app.library.library import Library
from app.library.recordings import pairs_of
from app.library.spaces import Spaces
from app.recogniser import Flow
from app.store import Session, clips, duplicates, idempotency, recognitions

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Posted:
    """One recognise request. `source` is the uploaded file, seekable and at its start."""

    source: BinaryIO
    granularity: Granularity = "utterance"
    extract_embedding: bool = False
    index: bool = True
    channel: Channel = "mix"
    fields: ClipFields = dataclasses.field(default_factory=ClipFields)
    idempotency_key: str | None = None
    warnings: tuple[str, ...] = ()  # of the request, told with those of the audio
    flow: Flow = dataclasses.field(default_factory=Flow)


@dataclasses.dataclass(frozen=True, slots=True)
class _Heard:
    """One channel of a posted file, recognised, its files written."""

    new: clips.NewClip
    recognised: ClipRecognition
    beside: Recognition | None  # of the model that is beside the active one
    scored: tuple[list[Scored], list[Scored]]  # by classifiers of the two models
    result_dir: Path
    audio_key: str | None
    fingerprint: Fingerprint
    copies: dict[int, float]  # clips that are the same recording, and how far they agree
    added: int  # recordings, before these were asked for


def recognise(library: Library, posted: Posted) -> Answer:
    """Store and index a posted file, one clip or one a channel, and answer as the API says.

    Raises:
        NoAudio, UnsupportedAudio, TooLarge, InvalidParameter: the file was refused.
        QueueFull: nothing was done; come back later.
        Conflict, Gone: the idempotency key was used for another request, or its clip deleted.
        Unavailable: the database does not answer, the disk is full, or the service stops.
        ClientGone: the flow was cancelled; nothing is stored.
    """
    file_sha256 = sha256_of(posted.source)
    if posted.idempotency_key is None:
        return _store(library, posted, file_sha256, "")
    fingerprint = _fingerprint(posted, file_sha256)
    with library.key_locks.hold(posted.idempotency_key, posted.flow):
        with library.store.read() as session:
            known = idempotency.recall(session, posted.idempotency_key, dt.datetime.now(dt.UTC))
        if known is None:
            return _store(library, posted, file_sha256, fingerprint)
        if known.fingerprint != fingerprint:
            raise Conflict("This Idempotency-Key was used for another file or other fields.")
        if known.answer is None:
            raise Gone("The clip that this Idempotency-Key stored was deleted.")
        index = library.index
        for part in (known.answer, *known.answer.get("channels", {}).values()):
            part["indexed"] = part["clip_id"] in index
        return known.answer


def _store(library: Library, posted: Posted, file_sha256: str, fingerprint: str) -> Answer:
    frames = posted.granularity == "frame"
    with library.gate.admit(posted.flow):
        hearing = Hearing(
            library,
            posted.source,
            posted.channel,
            posted.flow,
            frame_scores=frames,
            frame_embeddings=frames and posted.extract_embedding,
        )
        while True:
            hearing.hear()
            with library.roles.commits.shared():
                spaces = library.spaces
                known = hearing.known(spaces.active) is not None
                if known and hearing.is_tried_with(spaces.beside):
                    return _keep(library, posted, hearing, spaces, file_sha256, fingerprint)


def _keep(
    library: Library,
    posted: Posted,
    hearing: Hearing,
    spaces: Spaces,
    file_sha256: str,
    fingerprint: str,
) -> Answer:
    """Store what was heard, index and answer it, while the spaces have these roles."""
    heard: list[_Heard] = []
    try:
        for number in range(len(hearing.audio.waveforms)):
            heard.append(_write_files(library, posted, hearing, spaces, number, file_sha256))
        posted.flow.check()
        removals = [space.index.removals for space in spaces], library.filters.removals
        prints_removed = library.recordings.index.removals
        answer, clip_ids = _commit(library, posted, spaces, heard, fingerprint)
    except BaseException as exc:
        stored = _is_stored(library, str(heard[0].result_dir)) if heard else None
        if stored:
            _settle(library, heard)
            library.duplicate_groups.changed()
        elif stored is False:
            _remove_files(library, heard)
        if isinstance(exc, OSError):
            raise Unavailable("The clip's files could not be written.") from exc
        raise
    _settle(library, heard)
    if any(part["duplicate_of"] for part in (answer, *answer.get("channels", {}).values())):
        library.duplicate_groups.changed()
    for one, clip_id in zip(heard, clip_ids, strict=True):
        library.filters.add(clip_id, one.new, removals=removals[1])
    if posted.index:
        _index(spaces, heard, clip_ids, answer, removals[0])
    for one, clip_id in zip(heard, clip_ids, strict=True):
        library.recordings.settle(
            clip_id,
            one.fingerprint,
            indexed=posted.index,
            added=one.added,
            removals=prints_removed,
        )
    return answer


def _is_stored(library: Library, result_dir: str) -> bool | None:
    """Whether a commit that raised happened nonetheless (its connection dropped); None when the
    database does not say. The next start settles what is left then."""
    try:
        with library.store.read() as session:
            return clips.is_stored(session, result_dir)
    except Unavailable:
        return None


def _remove_files(library: Library, heard: list[_Heard]) -> None:
    for one in heard:
        shutil.rmtree(one.result_dir, ignore_errors=True)
        if one.audio_key is not None:
            library.kept_audio.discard(one.audio_key)


def _settle(library: Library, heard: list[_Heard]) -> None:
    for one in heard:
        if one.audio_key is not None:
            try:
                library.kept_audio.settle(one.audio_key)
            except FileNotFoundError:  # the clip was deleted in between
                log.info("The audio %s was removed before it was settled.", one.audio_key)
            except OSError:  # the clip is committed; the next start settles it
                log.exception("The audio %s is not settled.", one.audio_key)


def _write_files(
    library: Library,
    posted: Posted,
    hearing: Hearing,
    spaces: Spaces,
    number: int,
    file_sha256: str,
) -> _Heard:
    audio, waveform = hearing.audio, hearing.audio.waveforms[number]
    recognised, *beside = [found[number] for space in spaces if (found := hearing.known(space))]
    embedding: NDArray[np.float32] | None = None
    if posted.extract_embedding:
        embedding = recognised.frame_embeddings
        if embedding is None:
            embedding = recognised.recognition.embedding
    audio_sha256, warnings = samples_sha256(waveform), _all_warnings(posted, audio, waveform)
    printed = fingerprint(waveform)
    added = library.recordings.added
    copies = library.recordings.copies(printed)
    posted.flow.check()
    result_dir = library.result_dirs.create(waveform, embedding)
    try:
        audio_key = library.kept_audio.keep(waveform) if library.settings.keep_audio else None
    except BaseException:
        shutil.rmtree(result_dir, ignore_errors=True)
        raise
    new = clips.NewClip(
        model_id=spaces.active.model_row,
        recognition=recognised.recognition,
        fields=posted.fields,
        stored_at=dt.datetime.now(dt.UTC),
        duration=len(waveform) / SAMPLE_RATE,
        channel=("left", "right")[number] if posted.channel == "split" else posted.channel,
        container=audio.container,
        codec=audio.codec,
        sample_rate=audio.sample_rate,
        channels=audio.channels,
        file_sha256=file_sha256,
        audio_sha256=audio_sha256,
        indexable=posted.index,
        audio_key=audio_key,
        result_dir=str(result_dir),
        warnings=warnings,
    )
    other = beside[0].recognition if beside else None
    scored = _scored(library, spaces, recognised.recognition, other)
    return _Heard(new, recognised, other, scored, result_dir, audio_key, printed, copies, added)


def _scored(
    library: Library, spaces: Spaces, active: Recognition, beside: Recognition | None
) -> tuple[list[Scored], list[Scored]]:
    """What classifiers say of what each model heard."""
    ask = library.classifiers.scored
    by_active = ask(spaces.active.model_row, active.embedding[None])
    if spaces.beside is None or beside is None:
        return by_active, []
    return by_active, ask(spaces.beside.model_row, beside.embedding[None])


def _all_warnings(posted: Posted, audio: Audio, waveform: Waveform) -> tuple[str, ...]:
    sound = any(block.any() for block in blocks(waveform, 2**18))
    silent = () if sound else ("The audio is digital silence.",)
    return (*posted.warnings, *audio.warnings, *silent)


def _commit(
    library: Library, posted: Posted, spaces: Spaces, heard: list[_Heard], fingerprint: str
) -> tuple[Answer, list[int]]:
    """One transaction for all channels, their result files and the remembered answer."""
    answers = [
        answer_of(
            one.new,
            one.recognised,
            one.result_dir,
            granularity=posted.granularity,
            embedding_saved=posted.extract_embedding,
            model=spaces.active.model,
            classifiers={of.by.name: of.said(0) for of in one.scored[0]},
        )
        for one in heard
    ]
    # Frames of an hour take a second to encode, and whoever else writes waits for us below.
    encoded = [{"frames": to_json(its["frames"])} if "frames" in its else {} for its in answers]
    with library.store.write() as session:
        clip_ids = [
            _add(library, session, one, its) for one, its in zip(heard, answers, strict=True)
        ]
        if spaces.beside is not None:
            pairs = zip(clip_ids, heard, strict=True)
            beside = {clip_id: one.beside for clip_id, one in pairs if one.beside is not None}
            recognitions.add(session, spaces.beside.model_row, beside)
        for one, clip_id in zip(heard, clip_ids, strict=True):
            for scored in one.scored:
                library.classifiers.keep(session, [clip_id], scored)
        if posted.channel == "split":
            answers[0]["channels"] = {"right": answers[1]}
            encoded[0]["channels"] = f'{{"right": {as_json(answers[1], encoded[1])}}}'
        texts = [as_json(its, large) for its, large in zip(answers, encoded, strict=True)]
        for one, text in zip(heard, texts, strict=True):
            write_result(one.result_dir, text)
        if posted.idempotency_key is not None:
            idempotency.remember(
                session,
                posted.idempotency_key,
                fingerprint,
                clip_ids,
                texts[0],
                heard[0].new.stored_at,
            )
    return answers[0], clip_ids


def _add(library: Library, session: Session, one: _Heard, answer: Answer) -> int:
    """Store a clip and complete its answer; returns its id."""
    new = one.new
    same = clips.same_file(session, new.file_sha256, new.audio_sha256, new.channel)
    clip_id = clips.add(session, new)
    library.recordings.add(session, clip_id, one.fingerprint)
    answer["clip_id"] = clip_id
    found = [] if same is None else [same]
    if duplicates.add_pairs(session, pairs_of(clip_id, one.copies)):
        lowest = duplicates.lowest_copy(session, clip_id)
        found += [] if lowest is None else [(lowest, "same_recording")]
    if found:  # of two kinds of one clip, the surer
        first = min(found, key=lambda its: (its[0], its[1] != "same_file"))
        answer["duplicate_of"], answer["duplicate_kind"] = first
    return clip_id


def _index(
    spaces: Spaces, heard: list[_Heard], clip_ids: list[int], answer: Answer, removals: list[int]
) -> None:
    """Add the committed clips to the indexes; the answer stays 200 whatever happens here."""
    parts = [answer, *answer.get("channels", {}).values()]
    for one, clip_id, part in zip(heard, clip_ids, parts, strict=True):
        vectors = [one.new.recognition.embedding, *([one.beside.embedding] if one.beside else [])]
        part["indexed"], *_ = [
            space.index.add(clip_id, vector, removals=before)
            for space, vector, before in zip(spaces, vectors, removals, strict=False)
        ]


def _fingerprint(posted: Posted, file_sha256: str) -> str:
    """What makes two requests the same: the file's bytes and every field."""
    said = dataclasses.asdict(posted.fields) | {
        "granularity": posted.granularity,
        "extract_embedding": posted.extract_embedding,
        "index": posted.index,
        "channel": posted.channel,
        "audio": file_sha256,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()
