"""Summaries of the clips that are found often, in memory: reading them from the database takes
longer than the search that finds them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Final

from app.store import Store, summaries
from app.store.summaries import ClipSummary

MOST: Final = 2**17  # clips; some 500 bytes each, and at most:
LONGEST: Final = 500  # characters of texts; whoever has more is read from the database each time
AT_ONCE: Final = MOST // 16  # the oldest, which make room for others


class Summaries:
    """What is stored of clips, as of the last `forget` of theirs or later."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Plain tuples, which the collector of garbage learns to leave out. To go through as many
        # named ones it stopped every thread for 70 ms.
        self._known: dict[int, tuple[Any, ...]] = {}
        self._forgotten = 0  # how often
        self._changing = threading.Lock()

    def of(self, clip_ids: Sequence[int]) -> dict[int, ClipSummary]:
        """Those of the clips that exist, by id."""
        known, forgotten = self._known, self._forgotten
        found = {
            clip_id: ClipSummary._make(one)
            for clip_id in clip_ids
            if (one := known.get(clip_id)) is not None
        }
        if len(found) < len(clip_ids):
            missing = [clip_id for clip_id in clip_ids if clip_id not in found]
            with self._store.read() as session:
                read = summaries.of(session, missing)
            self._keep(read, forgotten)
            found |= read
        return found

    def forget(self, clip_ids: Iterable[int]) -> None:
        """They were changed or deleted: what was read before that is not told any more."""
        with self._changing:
            self._forgotten += 1
            for clip_id in clip_ids:
                self._known.pop(clip_id, None)

    def forget_all(self) -> None:
        """All of them may have changed."""
        with self._changing:
            self._forgotten += 1
            self._known = {}

    def _keep(self, read: dict[int, ClipSummary], forgotten: int) -> None:
        with self._changing:
            # Some of it may have been read before a change.
            if forgotten != self._forgotten or len(read) > AT_ONCE:
                return
            if len(self._known) + len(read) > MOST:
                for clip_id in list(itertools.islice(self._known, AT_ONCE)):
                    del self._known[clip_id]
            self._known |= {i: tuple(one) for i, one in read.items() if _length(one) <= LONGEST}


def _length(clip: ClipSummary) -> int:
    """Characters of its texts."""
    texts = (clip.customer_id, clip.call_id, clip.agent_id, *clip.tags)
    return sum(len(text) for text in texts if text is not None)
