"""One encoder shared by many threads."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from app.domain import WINDOW, Recognition, Waveform
from app.errors import NoAudio
from app.recogniser.contract import Encoder


class Flow:
    """The waveforms of one request, which share one turn. Cancelling it drops those that wait."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Recogniser:
    """Waveforms in, Recognitions out; safe from many threads."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._lock = threading.Lock()
        self.info = encoder.info
        self.runtime = encoder.runtime
        self.device = encoder.device
        self.dtype = encoder.dtype

    def recognise(self, waveform: Waveform, *, frames: bool = False) -> Recognition:
        """Scores and embedding of one Waveform of at least 400 samples and at most 30 s.

        Args:
            frames: also give embeddings and scores of each frame.

        Raises:
            NoAudio: the model makes no finite numbers of the samples.
        """
        return self.submit(waveform, Flow(), frames=frames).result()

    def submit(
        self, waveform: Waveform, flow: Flow, *, frames: bool = False
    ) -> Future[Recognition]:
        """As `recognise`, without waiting for it. The future raises CancelledError when the
        flow was cancelled before its turn came."""
        assert waveform.ndim == 1
        assert len(waveform) >= WINDOW
        future: Future[Recognition] = Future()
        if flow.cancelled:
            future.cancel()
            return future
        with self._lock:
            [found] = self._encoder.encode([waveform], [frames])
        if isinstance(found, NoAudio):
            future.set_exception(found)
        else:
            future.set_result(found)
        return future

    def close(self) -> None:
        """Finish the batch under way; what still waits is cancelled."""
