"""Copies of one recording, found by its fingerprint whatever happened to the file."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import deque
from typing import Final

from app.analysis.fingerprint import (
    DESCRIPTOR,
    MEAN_DESCRIPTOR,
    Comparison,
    Fingerprint,
    fingerprint,
)
from app.audio import decode
from app.domain import ModelInfo
from app.errors import EmoseekError
from app.library.duplicate_groups import DuplicateGroups
from app.library.files import KeptAudio, index_directory
from app.library.live_index import LiveIndex
from app.settings import Settings
from app.store import Session, Store, duplicates, models
from app.store.duplicates import FoundPair

# It recognises nothing. The name is part of the digest: another fingerprint is another model.
NAME: Final = "recording-fingerprint-1"
MODEL: Final = ModelInfo(NAME, hashlib.sha256(NAME.encode()).hexdigest(), DESCRIPTOR, bundled=True)

NEAREST: Final = 32  # clips whose fingerprints are compared, at most
SIMILAR: Final = 0.25  # cosine of descriptors, from which on they are
SAME: Final = 0.42  # agreement of fingerprints, from which on two are the same recording
NEWEST: Final = 256  # clips that were added last, which others may not have seen
AT_ONCE: Final = 64  # clips that are caught up with
LONGEST: Final = 86_400.0  # seconds; whatever was kept was accepted once

log = logging.getLogger(__name__)


class Recordings:
    """Fingerprints of all clips that were heard, and an index of their descriptors."""

    def __init__(
        self, settings: Settings, store: Store, kept_audio: KeptAudio, groups: DuplicateGroups
    ) -> None:
        self._store = store
        self._kept_audio = kept_audio
        self._groups = groups
        self._adding = threading.Lock()
        self._added = 0  # so far
        self._newest: deque[tuple[int, Fingerprint]] = deque(maxlen=NEWEST)  # of these
        self._settled: set[int] = set()  # clips that were compared with all before them
        self._stopping = threading.Event()
        self._unreadable: set[int] = set()  # clips whose kept audio cannot be decoded
        with store.write() as session:
            self.model_row = models.register(session, MODEL, MEAN_DESCRIPTOR)
        directory = index_directory(settings.data_dir, MODEL)
        self.index = LiveIndex(store, directory, MODEL, self.model_row, MEAN_DESCRIPTOR)

    def copies(self, one: Fingerprint, but: int | None = None) -> dict[int, float]:
        """Clips, other than the one named, that are the same recording, and how far they agree.

        Raises:
            Unavailable: the database does not answer.
        """
        if not one.heard.any():
            return {}
        index = self.index.current()
        asked = index.directions(one.descriptor()[None])
        [hits] = index.search(asked, NEAREST + (but is not None))
        near = [i for i in hits.ids[hits.similarities >= SIMILAR].tolist() if i != but]
        with self._store.read() as session:
            stored = duplicates.fingerprints(session, near)
        comparison = Comparison(one)
        found = {}
        for clip_id, packed in stored.items():
            agreement = comparison.agreement(Fingerprint.unpacked(packed))
            if agreement >= SAME:
                found[clip_id] = agreement
        return found

    def add(self, session: Session, clip_id: int, one: Fingerprint) -> None:
        """Store the fingerprint of a clip; the index is told after the commit."""
        duplicates.add_fingerprint(session, self.model_row, clip_id, one.packed(), one.descriptor())

    @property
    def added(self) -> int:
        """How many clips were added so far, for `settle`."""
        return self._added

    def settle(
        self, clip_id: int, one: Fingerprint, *, indexed: bool, added: int, removals: int
    ) -> None:
        """Have a committed clip found from now on, if it is to be indexed, and compare it with
        those that were committed while it was on its way. Never raises: what fails is made up for.

        Args:
            added: before `copies` was asked for it.
            removals: as in LiveIndex.add.
        """
        try:
            if indexed:
                self.index.add(clip_id, one.descriptor(), removals=removals)
            with self._adding:
                missed = self._added - added
                others, all_known = list(self._newest), missed <= len(self._newest)
                if indexed:
                    self._added += 1
                    self._newest.append((clip_id, one))
            comparison = Comparison(one)
            others = others[len(others) - missed :] if all_known else []
            agreements = {other: comparison.agreement(its) for other, its in others}
            copies = {other: its for other, its in agreements.items() if its >= SAME}
            if copies:
                with self._store.write() as session:
                    duplicates.add_pairs(session, pairs_of(clip_id, copies))
                self._groups.changed()
            if all_known:
                self._settled.add(clip_id)
        except Exception:
            log.exception("Clip %d is compared with others later.", clip_id)

    def stop(self) -> None:
        """Give up what is under way."""
        self._stopping.set()
        self.index.stop()

    def catch_up(self) -> None:
        """Compare clips with those that were committed beside them, and make fingerprints of
        those that were stored without."""
        while not self._stopping.is_set() and (self._compare_some() or self._hear_some()):
            pass

    def _compare_some(self) -> bool:
        with self._store.read() as session:
            clip_ids = duplicates.not_compared(session, AT_ONCE)
            left = [clip_id for clip_id in clip_ids if clip_id not in self._settled]
            stored = duplicates.fingerprints(session, left)
        pairs = [
            pair
            for clip_id, packed in stored.items()
            for pair in pairs_of(clip_id, self.copies(Fingerprint.unpacked(packed), clip_id))
        ]
        if clip_ids:
            with self._store.write() as session:
                duplicates.add_pairs(session, pairs)
                duplicates.set_compared(session, clip_ids)
            self._settled.difference_update(clip_ids)
            if pairs:
                self._groups.changed()
        return len(clip_ids) == AT_ONCE

    def _hear_some(self) -> bool:
        after = max(self._unreadable, default=0)
        with self._store.read() as session:
            missing = duplicates.without_fingerprint(session, after, AT_ONCE)
        for clip_id, audio_key in missing:
            if self._stopping.is_set():
                break
            found = self._heard(clip_id, audio_key)
            if found is None:
                self._unreadable.add(clip_id)
                continue
            removals = self.index.removals
            with self._store.write() as session:
                if not duplicates.is_missing(session, clip_id):
                    continue
                self.add(session, clip_id, found)
            self.index.add(clip_id, found.descriptor(), removals=removals)
        return bool(missing)

    def _heard(self, clip_id: int, audio_key: str) -> Fingerprint | None:
        try:
            with self._kept_audio.path(audio_key).open("rb") as file:
                [waveform] = decode(file, max_seconds=LONGEST).waveforms
        except (OSError, EmoseekError) as exc:  # deleted meanwhile, or damaged
            log.info("Clip %d has no fingerprint: %s", clip_id, exc)
            return None
        return fingerprint(waveform)


def pairs_of(clip_id: int, copies: dict[int, float]) -> list[FoundPair]:
    """A clip with each of its copies."""
    return [
        FoundPair(min(clip_id, other), max(clip_id, other), "same_recording", agreement)
        for other, agreement in copies.items()
    ]
