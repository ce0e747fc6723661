"""What an engine must do to be compared."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol

from index.contract import Ids, Vectors
from scripts.index_benchmark.dataset import Dataset, K
from scripts.index_benchmark.measure import Ask


class Engine(Protocol):
    """A vector index or a server, reached as its users reach it."""

    settings: Sequence[int]
    """Of the search, from the fastest to the most accurate; what is in use is `chosen`."""

    def build(self, data: Dataset) -> float:
        """Store and index all of `data.base`; searchable when it returns. Seconds it took."""

    def use(self, setting: int) -> None:
        """Search with one of `settings` from now on."""

    def questions(self) -> tuple[Sequence[Any], Ids]:
        """Requests for the K nearest of something, ready to be sent, and the right answers."""

    def client(self) -> Ask:
        """A client with a connection of its own, for one thread."""

    def rows(self, answer: Any) -> list[int]:
        """The rows of the base that an answer names, nearest first."""

    def chosen(self) -> str:
        """How the index was built and is searched, in few words."""

    def processes(self) -> list[int]:
        """Of what holds the index."""

    def close(self) -> None:
        """Stop what `build` started."""


class InProcess:
    """What engines in this process share: they are asked with the dataset's queries."""

    _queries: Vectors
    _truth: Ids

    def take_queries(self, data: Dataset) -> None:
        self._queries, self._truth = data.queries, data.truth[:, :K]

    def questions(self) -> tuple[Sequence[Any], Ids]:
        return list(self._queries[:, None, :]), self._truth

    def processes(self) -> list[int]:
        return [os.getpid()]

    def close(self) -> None:
        pass
