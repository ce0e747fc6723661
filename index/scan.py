"""Exact search over segments: FAISS scans the rows, float64 settles the order."""

from collections.abc import Sequence
from typing import NamedTuple

import faiss
import numpy as np

from index.contract import Hits, Ids, Similarities, Vectors
from index.cosine import nearest, rounding_margin, similarities
from index.segments import Mask, Segment
from index.threads import side_by_side

SPARE = 32  # candidates fetched beyond k, so that a tie at k seldom needs a second look
MANY_SEGMENTS = 8  # a quarter of a gigabyte, from which one query is worth every core


def exact_hits(
    segments: Sequence[Segment], masks: Sequence[Mask], asked: Vectors, k: int
) -> list[Hits]:
    """The k nearest rows that the masks (count,) let pass to each direction asked (q, D)."""
    some = [(one, mask) for one, mask in zip(segments, masks, strict=True) if mask.any()]
    if len(asked) == 1 and len(some) >= MANY_SEGMENTS:
        scans = side_by_side(lambda one: _scan(*one, asked, k + SPARE), some)
    else:
        scans = [_scan(*one, asked, k + SPARE) for one in some]
    if not scans:
        nothing = Hits(np.empty(0, np.int64), np.empty(0))
        return [nothing for _ in asked]
    return [_settle(scans, one, position, k) for position, one in enumerate(asked)]


def best_products(
    rows: Vectors, asked: Vectors, wanted: int, mask: Mask | None = None
) -> tuple[Vectors, Ids]:
    """Inner products (q, m), falling, and places among `rows` (n, D) of the best for each asked
    (q, D): m = min(wanted, rows that the mask (n,) lets pass). FAISS's kernel, on our own memory.

    With a selector FAISS keeps one query on one thread and is never slower than without.
    """
    eligible = len(rows) if mask is None else int(mask.sum())
    fetched = min(wanted, eligible)
    scores = np.empty((len(asked), fetched), np.float32)
    places = np.empty((len(asked), fetched), np.int64)
    bits = np.packbits(np.ones(len(rows), np.bool_) if mask is None else mask, bitorder="little")
    # It reads through bare pointers: all arrays are held here until it returns.
    faiss.knn_inner_product(
        faiss.swig_ptr(asked),
        faiss.swig_ptr(rows),
        rows.shape[1],
        len(asked),
        len(rows),
        fetched,
        faiss.swig_ptr(scores),
        faiss.swig_ptr(places),
        faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits)),
    )
    return scores, places


class _Scan(NamedTuple):
    """Best candidates of one segment for each query, by FAISS's float32 inner product."""

    segment: Segment
    mask: Mask  # (count,), the rows that may be returned
    complete: bool  # every such row was fetched
    scores: Vectors  # (q, fetched), falling
    rows: Ids  # (q, fetched)


def _scan(segment: Segment, mask: Mask, asked: Vectors, wanted: int) -> _Scan:
    scores, rows = best_products(segment.rows[: segment.count], asked, wanted, mask)
    return _Scan(segment, mask, scores.shape[1] == mask.sum(), scores, rows)


def _settle(scans: list[_Scan], direction: Vectors, position: int, k: int) -> Hits:
    """Exact order among all rows whose float32 score leaves them a chance of the first k."""
    scores = np.concatenate([scan.scores[position] for scan in scans])
    last = max(0, len(scores) - k)
    floor = float(np.partition(scores, last)[last]) - rounding_margin(direction)
    ids: list[Ids] = []
    compared: list[Similarities] = []
    for scan in scans:
        segment = scan.segment
        if scan.complete or scan.scores[position, -1] < floor:
            near = scan.rows[position, scan.scores[position] >= floor]
        else:  # as good as the k-th to the last one fetched: there may be more of them
            all_scores = segment.rows[: segment.count] @ direction
            near = np.flatnonzero(scan.mask & (all_scores >= floor))
        ids.append(segment.ids[near])
        compared.append(similarities(direction, segment.rows[near]))
    return nearest(np.concatenate(ids), np.concatenate(compared), k)
