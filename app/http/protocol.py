"""HTTP/1.1 as uvicorn's fastest parser reads it, with the limit on headers that it lacks."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 65_536  # request line and headers


class LimitedHeads(HttpToolsProtocol):
    """Answers 400 and hangs up when what comes before a body is too long, or has no end."""

    _head_bytes = 0  # of the request at hand, trailers too
    _untold = 0  # bytes of a line that has not ended: of those the parser tells nothing
    _told = False  # whether it told anything of the data at hand

    def data_received(self, data: bytes) -> None:
        self._told = False
        super().data_received(data)
        self._untold = 0 if self._told else self._untold + len(data)
        if self._untold > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("A line of the request is too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._told = True
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._told = True
        self._check(len(self.url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._told = True
        self._head_bytes += len(name) + len(value) + 4  # colon, blank, end of line
        self._check(self._head_bytes)

    def on_headers_complete(self) -> None:
        self._told = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._told = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._told = True
        super().on_message_complete()

    @staticmethod
    def _check(count: int) -> None:
        if count > MAX_HEAD_BYTES:
            raise ValueError("too long")  # the parser makes it an error of its own: 400
