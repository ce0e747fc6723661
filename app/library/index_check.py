"""Whether the index holds what the store says it should, compared vector by vector."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from app.library.live_index import LiveIndex
from app.store import Store, embeddings
from index.build import Engine
from index.cosine import directions
from index.graph_index import GraphIndex

PAGE: Final = 4096  # embeddings read from the store at a time
BLOCK: Final = 500  # clips that are compared or renewed while adding and deleting wait
# A change is committed before the index has it: only what differs for so long is a fault.
PATIENCE: Final = 5.0  # seconds
FEW: Final = 1000  # faults that are always mended one by one

Ids = NDArray[np.int64]
GoOn = Callable[[], None]  # raises when the check is to be given up

Kind = Literal["missing", "phantom", "duplicated", "zeroed", "wrong", "not_finite"]
KINDS: Final[dict[Kind, str]] = {
    "missing": "stored and not in the index",
    "phantom": "in the index, where they should not be",
    "duplicated": "in the index more than once",
    "zeroed": "in the index as zeros",
    "wrong": "in the index with another vector than the stored one",
    "not_finite": "stored with a vector that is not finite, which cannot be indexed",
}
NONE: Final = np.empty(0, np.int64)


def _nothing() -> dict[Kind, Ids]:
    return dict.fromkeys(KINDS, NONE)


@dataclasses.dataclass(frozen=True, slots=True)
class IndexCheck:
    """What store and index differ in."""

    compared: int = 0  # clips that should be in the index
    faults: dict[Kind, Ids] = dataclasses.field(default_factory=_nothing)  # ids, ascending
    misplaced: int = 0  # rows that the index's structure does not count as they are stored
    unusable: str | None = None  # why nothing of a snapshot was loaded

    @property
    def clean(self) -> bool:
        faulty = any(len(ids) for ids in self.faults.values())
        return not faulty and not self.misplaced and self.unusable is None

    def of(self, *kinds: Kind) -> Ids:
        """Ids of the clips of any of these kinds, ascending."""
        return np.unique(np.concatenate([self.faults[kind] for kind in kinds]))

    @classmethod
    def of_parts(cls, parts: Sequence[IndexCheck], compared: int = 0) -> IndexCheck:
        """What store and index differ in, given that for parts of them."""
        faults = {
            kind: np.unique(np.concatenate([NONE, *(part.faults[kind] for part in parts)]))
            for kind in KINDS
        }
        return cls(compared, faults)

    def lasting(self, later: IndexCheck) -> IndexCheck:
        """What differs, and in the same way, at a later look."""
        left = {kind: np.intersect1d(ids, later.faults[kind]) for kind, ids in self.faults.items()}
        return dataclasses.replace(self, faults=left)


@dataclasses.dataclass(frozen=True, slots=True)
class Repair:
    """What was done about a check: clips that were missing, phantom, or wrong in the index."""

    added: int
    removed: int
    renewed: int
    rebuilt: bool  # all of that by a new build of the whole index


def check(store: Store, model_row: int, live: LiveIndex, go_on: GoOn) -> IndexCheck:
    """Compare an index in use with its store, beside searches, adds and deletes.

    What differs when it is read is looked at again, in small blocks while nothing is added or
    removed, until it agrees or has differed for PATIENCE.

    Raises:
        Unavailable: the store does not answer.
    """
    while True:
        current = live.current()
        found = compare(store, model_row, current.index, go_on)
        give_up = time.monotonic() + PATIENCE
        while len(suspects := found.of(*KINDS)):
            last = time.monotonic() >= give_up
            found = found.lasting(_look_again(store, model_row, live, suspects, go_on))
            if last:
                break
            time.sleep(0.2)
        if live.build == current.build:  # else the next build is another index
            return found


def compare(store: Store, model_row: int, index: Engine, go_on: GoOn) -> IndexCheck:
    """Read the whole store once, in pages, and compare it with an index that does not change."""
    parts, wanted = list[IndexCheck](), [NONE]
    while True:
        go_on()
        with store.read() as session:
            ids, vectors = embeddings.page(session, model_row, _last(wanted[-1]), PAGE)
        if not len(ids):
            break
        wanted.append(ids)
        part = _differences(index, ids, ids, vectors)
        if not part.clean:
            parts.append(part)
    everything = np.concatenate(wanted)
    held = index.ids()
    # np.setdiff1d would hold the interpreter, for a second or two with a million ids.
    unwanted = _nothing() | {"phantom": np.unique(held[~np.isin(held, everything)])}
    found = IndexCheck.of_parts([*parts, IndexCheck(faults=unwanted)], len(everything))
    misplaced = index.misplaced if isinstance(index, GraphIndex) else 0
    return dataclasses.replace(found, misplaced=misplaced)


def repair(live: LiveIndex, found: IndexCheck, go_on: GoOn) -> Repair:
    """Mend what a check found, clip by clip, or by a new build where that is more than a quarter
    or the structure is damaged. Embeddings that are not finite stay as they are.

    Raises:
        Unavailable: the store does not answer, or the service stops.
    """
    faulty = found.of("missing", "phantom", "duplicated", "zeroed", "wrong")
    rebuilt = bool(found.misplaced) or len(faulty) > max(FEW, found.compared // 4)
    if rebuilt:
        live.rebuild()
    else:
        for start in range(0, len(faulty), BLOCK):
            go_on()
            live.renew(faulty[start : start + BLOCK])
    return Repair(
        added=len(found.faults["missing"]),
        removed=len(found.faults["phantom"]),
        renewed=len(found.of("duplicated", "zeroed", "wrong")),
        rebuilt=rebuilt,
    )


def _look_again(
    store: Store, model_row: int, live: LiveIndex, suspects: Ids, go_on: GoOn
) -> IndexCheck:
    parts = []
    for start in range(0, len(suspects), BLOCK):
        go_on()
        some = suspects[start : start + BLOCK]
        with live.still() as index:
            wanted = [(NONE, np.empty((0, index.dimension), np.float32))]
            with store.read() as session:
                wanted += embeddings.stream(session, model_row, some)
            ids, vectors = (np.concatenate(parts) for parts in zip(*wanted, strict=True))
            parts.append(_differences(index, some, ids, vectors))
    return IndexCheck.of_parts(parts)


def _differences(
    index: Engine, asked: Ids, wanted: Ids, vectors: NDArray[np.float32]
) -> IndexCheck:
    """Of the ids asked for (n,), those wanted (m,) have embeddings (m, D) in the store."""
    finite = np.isfinite(vectors).all(axis=1)
    fit, truth = wanted[finite], directions(vectors[finite], index.mean)
    present, rows = index.directions_of(asked)
    known = np.isin(present, fit)
    indexed, rows = present[known], rows[known]
    # Bit by bit: a NaN in the index differs from nothing.
    its_truth = truth[np.searchsorted(fit, indexed)]
    differs = (rows.view(np.uint32) != its_truth.view(np.uint32)).any(axis=1)
    zero = differs & ~rows.any(axis=1)
    return IndexCheck(
        faults={
            "missing": np.setdiff1d(fit, indexed),
            "phantom": np.unique(present[~known]),
            "duplicated": np.unique(indexed[1:][indexed[1:] == indexed[:-1]]),
            "zeroed": np.unique(indexed[zero]),
            "wrong": np.unique(indexed[differs & ~zero]),
            "not_finite": wanted[~finite],
        }
    )


def _last(ids: Ids) -> int:
    return int(ids[-1]) if len(ids) else 0
