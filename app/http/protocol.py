"""HTTP/1.1 as uvicorn's fastest parser reads it, with the limit on headers that it lacks."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 65_536  # request line and headers


class LimitedHeads(HttpToolsProtocol):
    """Answers 400 and hangs up when what comes before a body is too long, or has no end."""

    _in_head = True
    _begun = False  # whether a head began in the data at hand
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        self._begun = False
        super().data_received(data)
        if self._in_head and not self._begun:
            # Of a line that has not ended the parser tells nothing.
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The request's headers are too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._begun = True
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._check(len(self.url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value) + 4  # colon, blank, end of line
        self._check(self._head_bytes)

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    @staticmethod
    def _check(count: int) -> None:
        if count > MAX_HEAD_BYTES:
            raise ValueError("too long")  # the parser makes it an error of its own: 400
