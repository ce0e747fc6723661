"""What a snapshot says of itself, in a JSON file that carries its own checksum.

Format 1 is of a flat index, its rows in one file. Format 2 is of a graph index, its rows in many.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from index.errors import SnapshotError, SnapshotNotFoundError

FORMATS: Final = (1, 2)
METRIC: Final = "centred-cosine"

_FILE_NAME: Final = re.compile(
    r"((ids|directions|mean|projection|rows)-[0-9a-f]{16}\.npy|graph-[0-9a-f]{16}\.faiss)"
)
_ROLES: Final = {1: {"ids", "directions", "mean"}, 2: {"ids", "mean", "projection", "graph"}}


def file_name(role: str, token: str) -> str:
    """Of the file that plays a role in a snapshot; token is 16 hexadecimal digits."""
    return f"{role}-{token}.{'faiss' if role == 'graph' else 'npy'}"


def is_file_name(name: str) -> bool:
    """Whether a snapshot writes files of this name, the manifest aside."""
    return _FILE_NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file that a manifest names."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class RowsRecord:
    """The file of one segment: its first `count` rows count."""

    name: str
    sha256: str
    count: int


@dataclass(frozen=True, slots=True)
class GraphRecord:
    """What a graph index has beside its files."""

    beam: int
    room: int  # rows of a segment
    segments: tuple[RowsRecord, ...]
    usual: float = 0.0  # see index.graph.Beam; older ones do not say


@dataclass(frozen=True, slots=True)
class Manifest:
    """Of one snapshot: what it was made for, how much is in it, and its files."""

    format: int
    metric: str
    model_digest: str
    dimension: int
    count: int
    build: int
    built_on: int | None  # clips that the mean was taken from, where the one who saved knew
    files: dict[str, FileRecord]  # by role
    graph: GraphRecord | None = None  # of format 2
    changed: int = 0  # vectors added and removed since the mean was taken; older ones do not say

    @property
    def names(self) -> set[str]:
        """Of all files."""
        segments = () if self.graph is None else self.graph.segments
        return {one.name for one in self.files.values()} | {one.name for one in segments}

    def encoded(self) -> bytes:
        """The bytes of the manifest file."""
        fields = asdict(self)
        if self.graph is None:
            del fields["graph"]
        return _encoded(fields)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The manifest in this file.

        Raises:
            SnapshotNotFoundError: there is no such file.
            SnapshotError: it is damaged or of another format.
        """
        try:
            written = path.read_bytes()
        except FileNotFoundError as error:
            raise SnapshotNotFoundError(f"there is no {path.name}") from error
        try:
            fields = json.loads(written)
            fields.pop("sha256")
            # Before the checksum: another format may keep it elsewhere.
            if fields["format"] not in FORMATS:
                raise SnapshotError(f"the snapshot's format is {fields['format']}, wanted 1 or 2")
            if _encoded(fields) != written:
                raise SnapshotError(f"{path.name} is damaged")
            files = {role: FileRecord(**one) for role, one in fields.pop("files").items()}
            graph = _graph(fields.pop("graph")) if fields["format"] == 2 else None
            manifest = cls(**fields, files=files, graph=graph)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise SnapshotError(f"{path.name} is not a manifest") from error
        manifest._check_fields(path.name)
        return manifest

    def check_made_for(self, model_digest: str, dimension: int) -> None:
        """Refuse a snapshot of vectors that cannot be compared with this model's.

        Raises:
            SnapshotError
        """
        for what, found, wanted in (
            ("metric", self.metric, METRIC),
            ("model", self.model_digest, model_digest),
            ("dimension", self.dimension, dimension),
        ):
            if found != wanted:
                raise SnapshotError(f"the snapshot's {what} is {found}, wanted {wanted}")

    def _check_fields(self, name: str) -> None:
        """A right checksum does not make it ours: names must not lead out of the directory."""
        built_on = 0 if self.built_on is None else self.built_on
        numbers = (self.dimension, self.count, self.build, built_on, self.changed)
        whole = all(type(one) is int for one in numbers)
        if not whole or self.dimension < 1 or min(self.count, built_on, self.changed) < 0:
            raise SnapshotError(f"{name} holds numbers that cannot be")
        if set(self.files) != _ROLES[self.format]:
            raise SnapshotError(f"{name} does not name the files that it should")
        if not all(is_file_name(str(one)) for one in self.names) or not all(
            record.name.startswith(role) for role, record in self.files.items()
        ):
            raise SnapshotError(f"{name} names a file that no snapshot has")
        if self.graph is not None:
            self._check_segments(name, self.graph)

    def _check_segments(self, name: str, graph: GraphRecord) -> None:
        """All segments but the last are full, and together they hold what is counted."""
        counts = [segment.count for segment in graph.segments]
        full = counts[:-1] == [graph.room] * (len(counts) - 1)
        whole = all(type(one) is int for one in (graph.beam, graph.room, *counts))
        usual = type(graph.usual) is float and 0 <= graph.usual <= 1.1  # its bytes err a little
        if (
            not whole
            or not usual
            or not full
            or sum(counts) != self.count
            or min(counts, default=1) < 1
        ):
            raise SnapshotError(f"{name} holds numbers that cannot be")
        if not all(segment.name.startswith("rows") for segment in graph.segments):
            raise SnapshotError(f"{name} names a file that no snapshot has")


def _graph(fields: dict[str, Any]) -> GraphRecord:
    segments = tuple(RowsRecord(**one) for one in fields.pop("segments"))
    return GraphRecord(**fields, segments=segments)


def _encoded(fields: dict[str, Any]) -> bytes:
    """JSON of the fields and of their own SHA-256: one byte sequence for one content."""
    sha256 = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    return json.dumps({**fields, "sha256": sha256}, sort_keys=True, indent=2).encode() + b"\n"
