"""Arrays and JSON through a pipe, with nothing evaluated on the other side."""

from __future__ import annotations

import json
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray


def write_json(pipe: IO[bytes], value: Any) -> None:
    """A line."""
    pipe.write(json.dumps(value).encode() + b"\n")


def read_json(pipe: IO[bytes]) -> Any:
    """Raises EOFError: the other side has ended."""
    line = pipe.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return json.loads(line)


def write_arrays(pipe: IO[bytes], arrays: tuple[NDArray[Any], ...]) -> None:
    """Each as a .npy file. (NumPy's own functions want a file that can seek.)"""
    for array in arrays:
        ordered = np.ascontiguousarray(array)
        npy.write_array_header_1_0(pipe, npy.header_data_from_array_1_0(ordered))
        pipe.write(ordered.reshape(-1).view(np.uint8).data)


def read_arrays(pipe: IO[bytes], count: int) -> tuple[NDArray[Any], ...]:
    """Raises EOFError: the other side has ended."""
    return tuple(_read_array(pipe) for _ in range(count))


def _read_array(pipe: IO[bytes]) -> NDArray[Any]:
    try:
        npy.read_magic(pipe)
    except ValueError as exc:
        raise EOFError from exc
    shape, _, dtype = npy.read_array_header_1_0(pipe)
    assert not dtype.hasobject
    array = np.empty(shape, dtype)
    into = array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")
    if array.size and pipe.readinto(into) != array.nbytes:  # type: ignore[attr-defined]
        raise EOFError
    return array
