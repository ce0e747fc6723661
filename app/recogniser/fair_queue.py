"""Who is heard next: a long recording and a short one get like shares of the encoder."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future

from app.domain import Recognition, Waveform, frame_count
from app.errors import ClientGone


class Flow:
    """The waveforms of one request, which share one turn; of one Recogniser."""

    def __init__(self) -> None:
        self.last_tag = 0  # of the newest waveform in the FairQueue
        self._lock = threading.Lock()
        self._cancelled = False
        self._watchers: set[Callable[[Flow], None]] = set()

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        """Drop what waits for its turn, here and in the queue before it. For good."""
        with self._lock:
            self._cancelled = True
            watchers, self._watchers = self._watchers, set()
        for watcher in watchers:
            watcher(self)

    def check(self) -> None:
        """Raises ClientGone when the flow was cancelled."""
        if self._cancelled:
            raise ClientGone("The client hung up before its answer.")

    def on_cancel(self, watcher: Callable[[Flow], None]) -> None:
        """Have `watcher` called, once however often it is given, by whoever cancels the flow.

        It is not called for a flow that is cancelled already: look after this, not before.
        """
        with self._lock:
            self._watchers.add(watcher)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """A waveform that waits to be heard, and where its Recognition is awaited."""

    waveform: Waveform
    frames: bool  # whether embeddings and scores of each frame are wanted
    flow: Flow
    future: Future[Recognition] = dataclasses.field(default_factory=Future)

    @property
    def size(self) -> int:
        """Frames that the encoder has to work on."""
        return frame_count(len(self.waveform))


class FairQueue:
    """Self-clocked fair queueing (Golestani, INFOCOM 1994) over frames.

    A turn's tag is where its flow would be, in frames, had all flows been served side by side:
    the flow's last tag, or the virtual time if that is later, plus the turn's size. Turns are
    taken in the order of their tags, and the virtual time is the tag that was taken last. So a
    flow that was idle starts beside the others, neither owed nor owing; one that waits is passed
    only by turns that end before its own would. Not safe from two threads at once.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Turn]] = []  # tag, arrival (for equal tags), turn
        self._arrivals = itertools.count()
        self._virtual_time = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def frames(self) -> int:
        """Of all turns that wait."""
        return sum(turn.size for _, _, turn in self._heap)

    def add(self, turn: Turn) -> None:
        flow = turn.flow
        flow.last_tag = max(self._virtual_time, flow.last_tag) + turn.size
        heapq.heappush(self._heap, (flow.last_tag, next(self._arrivals), turn))

    def take(self, frame_budget: int, max_clips: int) -> list[Turn]:
        """The next turns, of `frame_budget` frames together at most, or one that is larger."""
        taken: list[Turn] = []
        while self._heap and len(taken) < max_clips:
            tag, _, turn = self._heap[0]
            frame_budget -= turn.size
            if taken and frame_budget < 0:
                break
            heapq.heappop(self._heap)
            self._virtual_time = tag
            taken.append(turn)
        return taken

    def drop(self, flow: Flow) -> list[Turn]:
        """Remove and return a flow's turns."""
        dropped = [turn for _, _, turn in self._heap if turn.flow is flow]
        if dropped:
            self._heap = [entry for entry in self._heap if entry[2].flow is not flow]
            heapq.heapify(self._heap)
        return dropped

    def clear(self) -> list[Turn]:
        """Remove and return all turns."""
        left, self._heap = [turn for _, _, turn in self._heap], []
        return left
