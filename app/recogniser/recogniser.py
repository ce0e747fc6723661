"""One encoder shared by many threads: what waits together is encoded together."""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
import time
from concurrent.futures import Future

import torch

from app.domain import WINDOW, Recognition, Waveform
from app.errors import EmoseekError, NoAudio, NotEnoughMemory, Unavailable
from app.recogniser.contract import Encoder
from app.recogniser.fair_queue import FairQueue, Flow, Turn

CPU_BUDGET = 1500  # frames a batch: what the longest single waveform, 30 s, takes anyway
CUDA_BUDGET = 8192  # 164 s: fills a large GPU, and its activations fit into a small one

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Batching:
    """What the encoder was given since the start, warm-up included, and what waits for it."""

    batches: int
    waveforms: int
    frames: int  # of those waveforms
    cpu_seconds: float  # of the encoder's own threads, without those that PyTorch adds
    waiting: int  # waveforms


class Recogniser:
    """Waveforms in, Recognitions out; safe from many threads.

    Threads of its own run the encoder, as many as that allows: whenever one is free, its next
    batch is its share of what waits, in the order of the FairQueue. Nobody waits for a batch to
    fill: while the encoder is busy the next one gathers by itself, and while it is idle waiting
    would gain nothing. A batch that has the encoder to itself gets all of PyTorch's threads; when
    there are others each gets its part, because threads that work in step stand still whenever
    one of them is made to wait.

    Args:
        frame_budget: frames of a batch together; one waveform that has more goes alone. Default
            is one for the encoder's device.
        max_clips: waveforms in a batch.
    """

    def __init__(
        self, encoder: Encoder, *, frame_budget: int | None = None, max_clips: int = 32
    ) -> None:
        self.info = encoder.info
        self.runtime = encoder.runtime
        self.device = encoder.device
        self.dtype = encoder.dtype
        self._encoder = encoder
        self._max_clips = max_clips
        if frame_budget is None:
            frame_budget = CUDA_BUDGET if encoder.device.startswith("cuda") else CPU_BUDGET
        self._frame_budget = frame_budget
        self._queue = FairQueue()
        self._changed = threading.Condition()  # guards the queue, the flag and the counts
        self._closed = False
        self._batches = self._waveforms = self._frames = 0
        self._cpu_seconds = 0.0
        self._cores = encoder.cores
        self._busy = 0  # workers that have a batch
        self._workers = [
            threading.Thread(target=self._work, name=f"recogniser-{number}", daemon=True)
            for number in range(encoder.workers)
        ]
        for worker in self._workers:
            worker.start()

    def recognise(self, waveform: Waveform, *, frames: bool = False) -> Recognition:
        """Scores and embedding of one Waveform of at least 400 samples and at most 30 s.

        Args:
            frames: also give embeddings and scores of each frame.

        Raises:
            NoAudio: the model makes no finite numbers of the samples.
            NotEnoughMemory: another time there may be.
            Unavailable: the recogniser is closed.
        """
        return self.submit(waveform, Flow(), frames=frames).result()

    def submit(
        self, waveform: Waveform, flow: Flow, *, frames: bool = False
    ) -> Future[Recognition]:
        """As `recognise`, without waiting for it. The future raises CancelledError when the
        flow was cancelled before its turn came.

        Raises:
            Unavailable: the recogniser is closed.
        """
        assert waveform.ndim == 1
        assert len(waveform) >= WINDOW
        turn = Turn(waveform, frames, flow)
        flow.on_cancel(self._drop)
        with self._changed:
            if self._closed:
                raise _stopping()
            if flow.cancelled:
                _cancel(turn)
            else:
                self._queue.add(turn)
                self._changed.notify_all()
        return turn.future

    def batching(self) -> Batching:
        with self._changed:
            return Batching(
                self._batches, self._waveforms, self._frames, self._cpu_seconds, len(self._queue)
            )

    def close(self) -> None:
        """Finish the batch under way; what still waits gets Unavailable."""
        with self._changed:
            self._closed = True
            left = self._queue.clear()
            self._changed.notify_all()
        for turn in left:
            if turn.future.set_running_or_notify_cancel():
                turn.future.set_exception(_stopping())
        for worker in self._workers:
            worker.join()

    def _drop(self, flow: Flow) -> None:
        with self._changed:
            dropped = self._queue.drop(flow)
        for turn in dropped:
            _cancel(turn)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or len(self._queue) > 0)
                if self._closed:
                    return
                taken = self._take()
                self._busy += 1
                sharing = min(len(self._workers), self._busy + len(self._queue))
            torch.set_num_threads(max(1, self._cores // sharing))  # of this worker's products
            started = time.thread_time()
            refusal: BaseException = _no_memory()  # made while there is some
            # From here on nobody can cancel these.
            taken = [turn for turn in taken if turn.future.set_running_or_notify_cancel()]
            try:
                self._encode(taken)
            except BaseException as exc:  # beside the encoder; this thread must go on
                if not _out_of_memory(exc):
                    refusal = exc.with_traceback(None)
                for turn in taken:
                    if not turn.future.done():
                        turn.future.set_exception(refusal)
            del taken, refusal  # a worker that waits keeps no audio
            with self._changed:
                self._busy -= 1
                self._cpu_seconds += time.thread_time() - started

    def _take(self) -> list[Turn]:
        """This worker's share of what waits, and no more than a batch."""
        idle = len(self._workers) - self._busy
        share = math.ceil(self._queue.frames / idle)
        return self._queue.take(min(self._frame_budget, share), self._max_clips)

    def _encode(self, batch: list[Turn]) -> None:
        """Answer every turn. A batch that fails is tried again in halves, so that only those
        that cannot be heard even alone are refused."""
        if not batch:
            return
        failure = self._try(batch)
        # Not in the `except` that caught it: its traceback holds the encoder's memory.
        if failure is None:
            return
        if len(batch) == 1:
            batch[0].future.set_exception(_refusal(failure))
            return
        log.warning("A batch of %d failed and is tried in halves: %s", len(batch), failure)
        del failure
        half = len(batch) // 2
        self._encode(batch[:half])
        self._encode(batch[half:])

    def _try(self, batch: list[Turn]) -> Exception | None:
        """Answer every turn, or none; returns what the encoder raised, without its traceback."""
        try:
            found = self._encoder.encode([t.waveform for t in batch], [t.frames for t in batch])
            answers = list(zip(batch, found, strict=True))
        except Exception as exc:  # whatever it was, the next batch may do better
            if len(batch) == 1 and not (_out_of_memory(exc) or isinstance(exc, EmoseekError)):
                log.exception("The encoder failed.")
            return exc.with_traceback(None)
        with self._changed:
            self._batches += 1
            self._waveforms += len(batch)
            self._frames += sum(turn.size for turn in batch)
        for turn, answer in answers:
            if isinstance(answer, NoAudio):
                turn.future.set_exception(answer)
            else:
                turn.future.set_result(answer)
        return None


def _cancel(turn: Turn) -> None:
    turn.future.cancel()
    turn.future.set_running_or_notify_cancel()  # else concurrent.futures.wait() waits for ever


def _stopping() -> Unavailable:
    return Unavailable("The service is stopping.")


def _refusal(failure: Exception) -> EmoseekError:
    if isinstance(failure, EmoseekError):
        return failure
    refusal: EmoseekError = (
        _no_memory() if _out_of_memory(failure) else EmoseekError("The model failed on this audio.")
    )
    refusal.__cause__ = failure
    return refusal


def _no_memory() -> NotEnoughMemory:
    return NotEnoughMemory("There is not enough memory to hear this audio now; try again later.")


def _out_of_memory(failure: BaseException) -> bool:
    """PyTorch has no class for a CPU that is out of memory."""
    return isinstance(failure, MemoryError | torch.OutOfMemoryError) or (
        isinstance(failure, RuntimeError) and "DefaultCPUAllocator" in str(failure)
    )
