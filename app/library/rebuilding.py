"""A new build of the index from the stored embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.errors import Unavailable
from app.library.live_index import LiveIndex
from app.library.reindex import Failed, Run, Stopped, told
from app.store import Store, embeddings
from app.store.reindexes import Reindex
from index.build import passes


class Rebuild:
    """See app.library.reindex.Work.

    Args:
        index: gives the active model's.
    """

    interrupted = "It was interrupted by an end of the service, and began anew."
    stopped = "It was stopped; searches use the earlier build."

    def __init__(self, store: Store, index: Callable[[], LiveIndex]) -> None:
        self._store = store
        self._index = index

    def left(self, model: str | None, reindex: Reindex | None) -> int:
        with self._store.read() as session:
            return embeddings.count_indexable(session, self._index().model_row)

    def do(self, run: Run) -> dict[str, Any]:
        index, total = self._index(), run.reindex.total
        each, rows = passes(total, index.dimension), 0

        def got_over(more: int) -> None:
            nonlocal rows
            rows += more
            # Clips that what was done would be the whole work on. Some may have come meanwhile.
            run.tell(rows // each, total)

        before = index.build
        try:
            index.rebuild(got_over)
            index.save()  # or else a crash would bring the earlier build back
        except (Stopped, Unavailable):
            raise
        except Exception as exc:
            used = "the earlier build" if index.build == before else "the new build"
            raise Failed(f"{told(exc)} Searches use {used}.") from exc
        return {
            "clips": len(index),
            "left_out": index.left_out,
            "build": index.build,
            "engine": index.kind,
        }
