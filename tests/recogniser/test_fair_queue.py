"""The order in which waveforms are heard; the only clock is the frames that were taken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import HOP, WINDOW
from app.errors import ClientGone
from app.recogniser.fair_queue import FairQueue, Flow, Turn

LONGEST = 1499  # frames in 30 s
BUDGET = 1500
MAX_CLIPS = 32

sizes = st.integers(1, LONGEST)


def turn(size: int, flow: Flow) -> Turn:
    """A turn of `size` frames."""
    return Turn(np.zeros(WINDOW + (size - 1) * HOP, np.float32), False, flow)


def frames(turns: list[Turn]) -> int:
    return sum(turn.size for turn in turns)


def serve(queue: FairQueue) -> list[list[Turn]]:
    """All batches that are left."""
    batches = []
    while queue:
        batches.append(queue.take(BUDGET, MAX_CLIPS))
    return batches


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4000), st.booleans()), max_size=60),
    st.integers(1, 3000),
    st.integers(1, 8),
)
def test_every_turn_once_in_its_flows_order_within_the_budget(
    arrivals: list[tuple[int, int, bool]], budget: int, max_clips: int
) -> None:
    """Each arrival is a flow, a size, and whether a batch is taken before the next one."""
    queue, flows = FairQueue(), [Flow() for _ in range(5)]
    added: list[Turn] = []
    batches: list[list[Turn]] = []
    for number, size, take in arrivals:
        added.append(turn(size, flows[number]))
        queue.add(added[-1])
        if take:
            batches.append(queue.take(budget, max_clips))
    while queue:
        batches.append(queue.take(budget, max_clips))
    for batch in batches:
        assert 1 <= len(batch) <= max_clips
        assert frames(batch) <= budget or len(batch) == 1
    served = [one for batch in batches for one in batch]
    assert len(served) == len(added)
    for flow in flows:
        assert [t for t in served if t.flow is flow] == [t for t in added if t.flow is flow]
    assert queue.take(budget, max_clips) == []


@given(
    segments=st.lists(st.integers(50, LONGEST), min_size=40, max_size=60),
    before=st.integers(0, 15),
    size=st.integers(1, 250),
)
def test_a_short_clip_passes_the_segments_of_a_long_file(
    segments: list[int], before: int, size: int
) -> None:
    """5 s at most, posted while some 10 minutes wait: heard in the next two batches."""
    queue, long = FairQueue(), Flow()
    for segment in segments:
        queue.add(turn(segment, long))
    for _ in range(before):
        queue.take(BUDGET, MAX_CLIPS)
    clip = turn(size, Flow())
    queue.add(clip)
    assert clip in queue.take(BUDGET, MAX_CLIPS) + queue.take(BUDGET, MAX_CLIPS)


@given(st.lists(st.integers(1, 250), min_size=1, max_size=20), sizes)
def test_a_stream_of_short_clips_does_not_starve_a_long_one(clients: list[int], size: int) -> None:
    """Each client posts its next clip, a request of its own, when it has its last answer: before
    the long one is heard, each is given no more frames than that has, but for its batch."""
    queue, heard = FairQueue(), 0
    long = turn(size, Flow())
    for waiting in [*(turn(short, Flow()) for short in clients), long]:
        queue.add(waiting)
    while True:
        batch = queue.take(BUDGET, MAX_CLIPS)
        if long in batch:
            break
        heard += frames(batch)
        for answered in batch:
            queue.add(turn(answered.size, Flow()))
    assert heard <= size * len(clients)


@given(st.lists(sizes, min_size=3, max_size=30), st.lists(sizes, min_size=3, max_size=30))
def test_two_long_files_get_equal_shares(first: list[int], second: list[int]) -> None:
    """While both wait, neither is ahead by more than one waveform of each."""
    queue, flows = FairQueue(), (Flow(), Flow())
    for flow, waveforms in zip(flows, (first, second), strict=True):
        for size in waveforms:
            queue.add(turn(size, flow))
    left, got = [len(first), len(second)], [0, 0]
    while min(left):
        [one] = queue.take(BUDGET, 1)
        number = flows.index(one.flow)
        left[number] -= 1
        got[number] += one.size
        assert abs(got[0] - got[1]) <= max(first) + max(second)


@given(st.lists(st.tuples(st.integers(0, 2), sizes), max_size=30))
def test_dropping_a_flow_leaves_the_others_order(arrivals: list[tuple[int, int]]) -> None:
    whole, dropped = FairQueue(), FairQueue()
    kept: list[Turn] = []
    for queue in (whole, dropped):
        flows = [Flow() for _ in range(3)]
        for number, size in arrivals:
            queue.add(turn(size, flows[number]))
        if queue is dropped:
            gone = queue.drop(flows[0])
            assert all(one.flow is flows[0] for one in gone)
            assert len(gone) == sum(number == 0 for number, _ in arrivals)
            assert queue.drop(flows[0]) == []
            kept = [one for batch in serve(queue) for one in batch]
        else:
            expected = [
                one.size for batch in serve(queue) for one in batch if one.flow is not flows[0]
            ]
    assert [one.size for one in kept] == expected


def test_who_was_idle_is_neither_owed_nor_owing() -> None:
    queue, busy, idle = FairQueue(), Flow(), Flow()
    queue.add(turn(100, idle))
    for _ in range(20):
        queue.add(turn(1000, busy))
    for _ in range(10):
        queue.take(BUDGET, 1)
    late = [turn(1000, idle) for _ in range(3)]
    for one in late:
        queue.add(one)
    order = [batch[0].flow is idle for batch in (queue.take(BUDGET, 1) for _ in range(6))]
    assert order == [False, True] * 3


class TestFlow:
    def test_a_watcher_is_called_once(self) -> None:
        flow, called = Flow(), list[Flow]()
        for _ in range(3):
            flow.on_cancel(called.append)
        flow.check()
        flow.cancel()
        flow.cancel()
        assert called == [flow]
        with pytest.raises(ClientGone):
            flow.check()
