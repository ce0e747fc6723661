"""What a snapshot says of itself, in a JSON file that carries its own checksum."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from index.errors import SnapshotError, SnapshotNotFoundError

FORMAT: Final = 1
METRIC: Final = "centred-cosine"

_FILE_NAME: Final = re.compile(r"(ids|directions|mean)-[0-9a-f]{16}\.npy")


def file_name(role: str, token: str) -> str:
    """Of the file that holds ids, directions or mean; token is 16 hexadecimal digits."""
    return f"{role}-{token}.npy"


def is_file_name(name: str) -> bool:
    """Whether a snapshot writes files of this name, the manifest aside."""
    return _FILE_NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file that a manifest names."""

    name: str
    sha256: str


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
    files: dict[str, FileRecord]  # by role: ids, directions, mean

    def encoded(self) -> bytes:
        """The bytes of the manifest file."""
        return _encoded(asdict(self))

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
            if fields["format"] != FORMAT:
                raise SnapshotError(f"the snapshot's format is {fields['format']}, wanted {FORMAT}")
            if _encoded(fields) != written:
                raise SnapshotError(f"{path.name} is damaged")
            files = {role: FileRecord(**one) for role, one in fields.pop("files").items()}
            manifest = cls(**fields, files=files)
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
        numbers = (self.dimension, self.count, self.build, built_on)
        whole = all(type(one) is int for one in numbers)
        if not whole or self.dimension < 1 or self.count < 0 or built_on < 0:
            raise SnapshotError(f"{name} holds numbers that cannot be")
        if set(self.files) != {"ids", "directions", "mean"}:
            raise SnapshotError(f"{name} does not name ids, directions and mean")
        for role, record in self.files.items():
            if not is_file_name(str(record.name)) or not record.name.startswith(role):
                raise SnapshotError(f"{name} names a file that no snapshot has")


def _encoded(fields: dict[str, Any]) -> bytes:
    """JSON of the fields and of their own SHA-256: one byte sequence for one content."""
    sha256 = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    return json.dumps({**fields, "sha256": sha256}, sort_keys=True, indent=2).encode() + b"\n"
