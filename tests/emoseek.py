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


def kill_reembedding(point: str) -> None:
    from app.library import hear_again
    from app.library.dropping import Drop
    from app.library.roles import Roles

    hear_again.BATCH = 2
    calls: list[None] = []

    def third(method: Any) -> Any:
        def call_or_die(*of: Any) -> Any:
            calls.append(None)
            return die() if len(calls) == 3 else method(*of)

        return call_or_die

    if point == "reembedding, before it hears":
        hear_again.HearingAgain.catch_up = die  # type: ignore[method-assign]
    elif point == "reembedding, third block":
        hear_again.HearingAgain._store = third(  # type: ignore[method-assign]
            hear_again.HearingAgain._store
        )
    elif point == "reembedding, switched":
        switch = Roles.switch
        Roles.switch = lambda self: die(switch(self))  # type: ignore[method-assign,assign]
    elif point == "reembedding, third block of a drop":
        from app.library import dropping

        dropping.BLOCK = 2
        Drop._drop_block = third(Drop._drop_block)  # type: ignore[method-assign]
    else:
        raise AssertionError(point)


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
    elif point == "reindex waits":  # this one and the next four do not kill
        from app.library.reindex import Run

        tell = Run.tell

        def wait_and_tell(self: Any, done: int, total: int) -> None:
            while Path("hold").exists() and not self.stop.is_set():
                Path("held").touch()
                time.sleep(0.01)
            tell(self, done, total)

        Run.tell = wait_and_tell  # type: ignore[method-assign]
    elif point == "cluster run waits":
        from app.library.grouping_run import GroupingRun

        write = GroupingRun._write_points

        def wait_and_write(self: Any, points: Any) -> None:
            while Path("hold").exists() and not self._stopping.is_set():
                Path("held").touch()
                time.sleep(0.01)
            write(self, points)

        GroupingRun._write_points = wait_and_write  # type: ignore[method-assign]
    elif point.startswith("reembedding"):
        kill_reembedding(point)
    elif point == "third block of an apply":
        from app.library import classifier_upkeep
        from app.store import classifier_scores

        classifier_upkeep.BLOCK = 10
        add_block, scored = classifier_scores.add_block, []

        def add_block_or_die(*of: Any) -> Any:
            scored.append(of)
            return die() if len(scored) == 3 else add_block(*of)

        classifier_scores.add_block = add_block_or_die
    elif point == "encoder waits":
        from app.recogniser import Recogniser

        encode = Recogniser._encode

        def wait_and_encode(self: Any, batch: Any) -> None:
            while Path("hold").exists():
                Path("held").touch()
                time.sleep(0.01)
            encode(self, batch)

        Recogniser._encode = wait_and_encode  # type: ignore[method-assign]
    elif point == "nothing is audited":
        from app.library.live_index import LiveIndex

        LiveIndex.audit = lambda self: None  # type: ignore[method-assign]
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
