"""The `emoseek` command, killed or hindered where EMOSEEK_TEST_KILL says.

Not a setting of the service: taken out of the environment before the settings are read.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from app.cli import main


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def place(point: str) -> None:
    """Make the process die, as by kill -9, when it comes to `point`."""
    if point == "before index add":
        from app.library.live_index import LiveIndex

        LiveIndex.add = die  # type: ignore[method-assign]
    elif point == "before audio is settled":
        from app.library.files import KeptAudio

        KeptAudio.settle = die  # type: ignore[method-assign]
    elif point == "before index add of a block":
        from app.library.live_index import LiveIndex

        LiveIndex.add_block = die  # type: ignore[method-assign]
    elif point == "third block of an import":
        from app.library.imports import imports

        advance, blocks = imports.advance, []

        def advance_or_die(*of: Any) -> None:
            blocks.append(of)
            if len(blocks) == 3:
                die()
            advance(*of)

        imports.advance = advance_or_die
    elif point == "before a reindex is noted as done":
        from app.library.reindex import Reindexing

        Reindexing._finish = die  # type: ignore[method-assign]
    elif point == "rebuild waits":  # this one and the next two do not kill
        from app.library.reindex import Reindexing

        got_over = Reindexing._got_over

        def wait_and_get_over(self: Any, rows: int) -> None:
            stopped = (self._stop, self._index._stopping)
            while Path("hold").exists() and not any(event.is_set() for event in stopped):
                Path("held").touch()
                time.sleep(0.01)
            got_over(self, rows)

        Reindexing._got_over = wait_and_get_over  # type: ignore[method-assign]
    elif point == "encoder waits":
        from app.recogniser import Recogniser

        encode = Recogniser._encode

        def wait_and_encode(self: Any, batch: Any) -> None:
            while Path("hold").exists():
                Path("held").touch()
                time.sleep(0.01)
            encode(self, batch)

        Recogniser._encode = wait_and_encode  # type: ignore[method-assign]
    elif point == "a difference is never believed":
        from app.library import index_check

        index_check.PATIENCE = float("inf")  # type: ignore[misc]
    elif point == "files cannot be removed":
        from app.library.files import KeptAudio

        def fail(*_: Any) -> None:
            raise OSError(5, "Input/output error")

        KeptAudio.remove = fail  # type: ignore[method-assign]
    elif point == "before files of a deleted clip are removed":
        from app.library.files import KeptAudio

        KeptAudio.remove = die  # type: ignore[method-assign]
    elif point == "index save, replace":
        replace = os.replace

        def replace_or_die(source: Any, target: Any) -> None:
            if Path(target).name == "manifest.json":
                die()
            replace(source, target)

        os.replace = replace_or_die  # type: ignore[assignment]
    elif point == "index save, half of a file":
        from index import npy_files

        def half(path: Any, pieces: Any) -> None:
            content = b"".join(bytes(piece) for piece in pieces)
            path.write_bytes(content[: len(content) // 2])
            die()

        npy_files.write = half  # type: ignore[assignment]
    else:
        raise AssertionError(point)


if __name__ == "__main__":
    if point := os.environ.pop("EMOSEEK_TEST_KILL", None):
        place(point)
    main()
