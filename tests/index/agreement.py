"""What it means that two engines agree."""

from index.contract import Hits


def assert_same(found: list[Hits], expected: list[Hits]) -> None:
    """The same ids in the same order with the same similarities, to the last bit."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.ids.tolist() == other.ids.tolist()
        assert one.similarities.tolist() == other.similarities.tolist()
