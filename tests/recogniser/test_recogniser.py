"""Batches, failures and ends of a Recogniser, over an encoder that does as it is told."""

from __future__ import annotations

import concurrent.futures
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audio import decode
from app.domain import HOP, WINDOW, ModelInfo, Recognition, Waveform, frame_count
from app.errors import EmoseekError, NoAudio, Unavailable
from app.recogniser import Flow, Recogniser, contract
from app.recogniser.fair_queue import Turn
from app.recogniser.fast_runtime import FastEncoder
from app.recogniser.funasr_runtime import FunasrEncoder
from app.recogniser.load import reference_clips
from app.recogniser.model_dir import BUNDLED, read
from scripts.soak_recogniser import soak
from tests.conftest import ROOT

Batch = list[int]  # the names of its waveforms


def named(name: int, size: int = 10) -> Waveform:
    """A waveform of `size` frames whose first sample is its name."""
    waveform = np.zeros(WINDOW + (size - 1) * HOP, np.float32)
    waveform[0] = name
    return waveform


def name_of(waveform: Waveform) -> int:
    return int(waveform[0])


def answer_to(name: int) -> Recognition:
    return Recognition(np.full(9, 1 / 9, np.float32), np.array([name], np.float32))


class Encoder:
    """Answers with the waveforms' names. `fails` may raise, or refuse one waveform."""

    info = ModelInfo("fake", "0" * 64, 1, False)
    runtime, device, dtype = "fake", "cpu", "fp32"
    workers = cores = 1

    def __init__(self, fails: Callable[[Batch], None] = lambda _: None) -> None:
        self.batches: list[Batch] = []
        self.frames: list[int] = []
        self.fails = fails
        self.silent: set[int] = set()

    def encode(
        self, waveforms: Sequence[Waveform], frames: Sequence[bool]
    ) -> list[Recognition | NoAudio]:
        batch = [name_of(waveform) for waveform in waveforms]
        self.fails(batch)
        self.batches.append(batch)
        self.frames.append(sum(frame_count(len(waveform)) for waveform in waveforms))
        return [NoAudio("silent") if n in self.silent else answer_to(n) for n in batch]


class Stepped(Encoder):
    """Works on a batch only once it is told to go."""

    def __init__(self, fails: Callable[[Batch], None] = lambda _: None) -> None:
        super().__init__(fails)
        self.started: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.go = threading.Event()

    def encode(
        self, waveforms: Sequence[Waveform], frames: Sequence[bool]
    ) -> list[Recognition | NoAudio]:
        self.started.put(None)
        self.go.wait()
        return super().encode(waveforms, frames)


class Busy:
    """A Recogniser at work on waveform 0; what is submitted now waits."""

    def __init__(self, encoder: Stepped, **options: int) -> None:
        self.encoder = encoder
        self.recogniser = Recogniser(encoder, **options)
        self.futures = [self.recogniser.submit(named(0), Flow())]
        encoder.started.get()

    def submit(self, name: int, flow: Flow | None = None, size: int = 10) -> Future[Recognition]:
        self.futures.append(self.recogniser.submit(named(name, size), flow or Flow()))
        return self.futures[-1]

    def waiting(self) -> int:
        return self.recogniser.batching().waiting

    def release(self) -> list[Batch]:
        """Let the encoder work; returns the batches after the one under way."""
        self.encoder.go.set()
        assert not concurrent.futures.wait(self.futures, timeout=30).not_done
        self.recogniser.close()
        return self.encoder.batches[1:]


@pytest.fixture
def busy() -> Iterator[Busy]:
    one = Busy(Stepped())
    yield one
    one.release()


def heard(future: Future[Recognition]) -> int:
    return int(future.result(timeout=30).embedding[0])


def test_what_waits_goes_together(busy: Busy) -> None:
    futures = [busy.submit(name) for name in range(1, 6)]
    assert busy.waiting() == 5
    assert busy.release() == [[1, 2, 3, 4, 5]]
    assert [heard(future) for future in futures] == [1, 2, 3, 4, 5]
    figures = busy.recogniser.batching()
    assert (figures.batches, figures.waveforms, figures.frames, figures.waiting) == (2, 6, 60, 0)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 200)), max_size=40),
    st.integers(1, 300),
    st.integers(1, 8),
    st.sets(st.integers(1, 40)),
)
def test_everybody_gets_the_own_answer(
    posted: list[tuple[int, int]], budget: int, max_clips: int, silent: set[int]
) -> None:
    encoder = Stepped()
    encoder.silent = silent
    busy = Busy(encoder, frame_budget=budget, max_clips=max_clips)
    flows = [Flow() for _ in range(4)]
    futures = [
        busy.submit(name, flows[flow], size) for name, (flow, size) in enumerate(posted, start=1)
    ]
    batches = busy.release()
    for name, future in enumerate(futures, start=1):
        if name in silent:
            assert isinstance(future.exception(timeout=30), NoAudio)
        else:
            assert heard(future) == name
    for batch, frames in zip(batches, encoder.frames[1:], strict=True):
        assert len(batch) <= max_clips
        assert frames <= budget or len(batch) == 1
    order = [name for batch in batches for name in batch]
    for number in range(4):
        mine = [name for name, (flow, _) in enumerate(posted, start=1) if flow == number]
        assert [name for name in order if name in mine] == mine


class TestCancelling:
    def test_what_waits_is_dropped_at_once(self, busy: Busy) -> None:
        gone, stays = Flow(), Flow()
        dropped = [busy.submit(name, gone) for name in (1, 2, 3)]
        kept = [busy.submit(name, stays) for name in (4, 5)]
        gone.cancel()
        assert busy.waiting() == 2
        assert all(future.cancelled() for future in dropped)
        late = busy.submit(6, gone)
        with pytest.raises(concurrent.futures.CancelledError):
            late.result()
        assert busy.release() == [[4, 5]]
        assert [heard(future) for future in kept] == [4, 5]

    def test_a_future_that_was_cancelled_is_not_heard(self, busy: Busy) -> None:
        futures = [busy.submit(name) for name in (1, 2)]
        assert futures[0].cancel()
        assert busy.release() == [[2]]

    def test_a_batch_under_way_is_finished(self) -> None:
        encoder, flow = Stepped(), Flow()
        recogniser = Recogniser(encoder)
        future = recogniser.submit(named(1), flow)
        encoder.started.get()
        flow.cancel()
        encoder.go.set()
        assert heard(future) == 1
        recogniser.close()


def out_of_memory_on_gpu() -> Exception:
    return torch.OutOfMemoryError("CUDA out of memory.")


def out_of_memory_on_cpu() -> Exception:
    try:
        torch.empty(10**15)
    except RuntimeError as exc:
        return exc
    raise AssertionError


class TestFailures:
    @settings(deadline=None)
    @given(st.integers(1, 20), st.sets(st.integers(1, 20)))
    def test_only_those_that_fail_alone_are_refused(self, count: int, bad: set[int]) -> None:
        def fails(batch: Batch) -> None:
            if bad & set(batch):
                raise torch.OutOfMemoryError("CUDA out of memory.")

        busy = Busy(Stepped(fails))
        futures = [busy.submit(name) for name in range(1, count + 1)]
        busy.release()
        for name, future in enumerate(futures, start=1):
            if name in bad:
                assert isinstance(future.exception(timeout=30), Unavailable)
            else:
                assert heard(future) == name

    @pytest.mark.parametrize(
        "make", [MemoryError, out_of_memory_on_gpu, out_of_memory_on_cpu], ids=lambda m: m.__name__
    )
    def test_out_of_memory_means_come_back_later(self, make: Callable[[], Exception]) -> None:
        def fails(_: Batch) -> None:
            raise make()

        encoder = Encoder(fails)
        recogniser = Recogniser(encoder)
        with pytest.raises(Unavailable) as caught:
            recogniser.recognise(named(1))
        assert caught.value.retry_after
        assert caught.value.__cause__ is not None
        assert caught.value.__cause__.__traceback__ is None  # it would hold the memory
        encoder.fails = lambda _: None
        assert recogniser.recognise(named(2)).embedding[0] == 2
        recogniser.close()

    def test_any_other_failure_is_a_failure_of_the_service(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fails(batch: Batch) -> None:
            if 1 in batch:
                raise ZeroDivisionError

        recogniser = Recogniser(Encoder(fails))
        with pytest.raises(EmoseekError) as caught:
            recogniser.recognise(named(1))
        assert caught.value.status == 500
        assert "ZeroDivisionError" in caplog.text
        assert recogniser.recognise(named(2)).embedding[0] == 2
        recogniser.close()

    def test_an_encoder_that_loses_an_answer(self) -> None:
        class Loses(Stepped):
            def encode(
                self, waveforms: Sequence[Waveform], frames: Sequence[bool]
            ) -> list[Recognition | NoAudio]:
                return super().encode(waveforms, frames)[: max(1, len(waveforms) - 1)]

        busy = Busy(Loses())
        futures = [busy.submit(name) for name in (1, 2, 3)]
        busy.release()
        assert [heard(future) for future in futures] == [1, 2, 3]

    @pytest.mark.parametrize(
        ("failure", "refusal"), [(MemoryError, Unavailable), (ZeroDivisionError, ZeroDivisionError)]
    )
    def test_a_failure_beside_the_encoder_ends_no_worker(
        self,
        monkeypatch: pytest.MonkeyPatch,
        failure: type[Exception],
        refusal: type[Exception],
    ) -> None:
        recogniser = Recogniser(Encoder(lambda batch: None))

        def fails(batch: object) -> None:
            raise failure

        with monkeypatch.context() as patched:
            patched.setattr(recogniser, "_encode", fails)
            with pytest.raises(refusal):
                recogniser.submit(named(1), Flow()).result(timeout=30)
        assert recogniser.submit(named(2), Flow()).result(timeout=30).embedding[0] == 2
        recogniser.close()


class TestClosing:
    def test_the_batch_under_way_is_finished_and_the_rest_is_told(self) -> None:
        encoder = Stepped()
        busy = Busy(encoder)
        waiting = [busy.submit(name) for name in (1, 2)]
        closer = threading.Thread(target=busy.recogniser.close)
        closer.start()
        told = [future.exception(timeout=30) for future in waiting]
        assert [str(error) for error in told] == ["The service is stopping."] * 2
        assert all(isinstance(error, Unavailable) for error in told)
        assert closer.is_alive()
        encoder.go.set()
        closer.join()
        assert heard(busy.futures[0]) == 0
        assert encoder.batches == [[0]]
        with pytest.raises(Unavailable, match="stopping"):
            busy.submit(3)
        busy.recogniser.close()


class TestWorkers:
    """Of an encoder that two threads may run at once."""

    def test_they_work_at_once_and_share_what_waits(self) -> None:
        encoder = Stepped()
        encoder.workers = encoder.cores = 2
        busy = Busy(encoder)
        busy.submit(1)
        encoder.started.get()  # the other worker has it, while 0 is not answered yet
        futures = [busy.submit(name) for name in range(2, 10)]
        assert busy.waiting() == 8
        busy.release()
        assert [heard(future) for future in futures] == list(range(2, 10))
        assert sorted(len(batch) for batch in encoder.batches)[:2] == [1, 1]

    def test_who_comes_to_an_idle_encoder_gets_half_of_what_waits(self) -> None:
        encoder = Encoder()
        encoder.workers = encoder.cores = 2
        recogniser = Recogniser(encoder)
        for name in range(1, 5):
            recogniser._queue.add(Turn(named(name), False, Flow()))
        assert [name_of(turn.waveform) for turn in recogniser._take()] == [1, 2]
        recogniser._busy = 1
        assert [name_of(turn.waveform) for turn in recogniser._take()] == [3, 4]
        recogniser._busy = 0
        recogniser.close()

    def test_the_numbers_do_not_depend_on_who_computed_them(self) -> None:
        encoder = FastEncoder(
            read(BUNDLED),
            "test",
            device="cpu",
            dtype="fp32",
            bundled=True,
            reference=reference_clips(),
        )
        encoder.workers = encoder.cores = 2
        check_64_threads(encoder)


def test_64_threads_get_the_single_threaded_answers() -> None:
    check_64_threads(FunasrEncoder(read(BUNDLED), "test", device="cpu", dtype="fp32", bundled=True))


def check_64_threads(encoder: contract.Encoder) -> None:
    waveforms = []
    for path in sorted((ROOT / "tests" / "data").glob("*_voice_*.flac")):
        with path.open("rb") as file:
            waveforms.append(decode(file, max_seconds=30).waveforms[0])
    recogniser = Recogniser(encoder)
    found = soak(recogniser, waveforms, seconds=3, threads=64)
    recogniser.close()
    assert found.answers >= 64
    assert found.batches < found.answers
    assert found.worst_embedding <= 1e-5
    assert found.worst_score <= 1e-5
