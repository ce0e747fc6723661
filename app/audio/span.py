"""A bounded view of an upload: the only thing a decoding library gets to read."""

from __future__ import annotations

import os
from typing import BinaryIO

_LOOKS = 200_000
_LOOKS_PER_SECOND = 400  # two a packet; AAC has at most 188 packets a second


def looks(max_seconds: float) -> int:
    """How often a file of that length may be looked into. One of nothing but empty boxes would
    cost seconds otherwise."""
    return _LOOKS + int(max_seconds * _LOOKS_PER_SECOND)


class Span:
    """Bytes `start` to `start + length` of `source`, behind `prefix`, as a read-only file.

    Has no name, so no library can learn one, and never raises: libsndfile prints what a
    callback raises on stderr, and FFmpeg would copy more than it asked for if given more.
    """

    def __init__(
        self,
        source: BinaryIO,
        start: int = 0,
        length: int | None = None,
        prefix: bytes = b"",
        looks: int = _LOOKS,
    ) -> None:
        available = max(0, source.seek(0, os.SEEK_END) - start)
        self._source = source
        self._start = start
        self._prefix = prefix
        self._length = len(prefix) + (available if length is None else min(length, available))
        self._position = 0
        self._looks = looks  # that are left

    def __len__(self) -> int:
        return self._length

    def at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`, without moving; nothing once the looks are used up."""
        if self._looks == 0:
            return b""
        self._looks -= 1
        position, self._position = self._position, max(0, offset)
        found = self.read(size)
        self._position = position
        return found

    def whole(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`, or none at all where the view ends before."""
        return self.at(offset, size) if offset + size <= self._length else b""

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._length - self._position)
        size = left if size < 0 else min(size, left)
        if size == 0:
            return b""
        head = self._prefix[self._position : self._position + size]
        body = b""
        if size > len(head):
            self._source.seek(self._start + self._position + len(head) - len(self._prefix))
            body = self._source.read(size - len(head))
        self._position += len(head) + len(body)
        return head + body

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_CUR: self._position, os.SEEK_END: self._length}.get(whence, 0)
        self._position = min(max(0, origin + offset), self._length)
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
