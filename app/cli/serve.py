"""`emoseek serve` and `emoseek stop`."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import socket
import sys
from pathlib import Path

import click

from app.data_dir import Ownership, stop_owner
from app.errors import SettingsError
from app.settings import Settings, load_settings

M_ARENA_MAX = -8  # of glibc's malloc.h
SWITCH_SECONDS = 0.0001  # after which a thread that runs Python lets a search go on; default 0.005

log = logging.getLogger(__name__)


@click.command()
@click.option("--host", help="Address to listen on (EMOSEEK_HOST).")
@click.option("--port", type=int, help="TCP port (EMOSEEK_PORT).")
@click.option("--data-dir", type=Path, help="Database, kept audio, index (EMOSEEK_DATA_DIR).")
@click.option("--model", help="auto, bundled, a model id or a directory (EMOSEEK_MODEL).")
@click.option("--replace", is_flag=True, help="First stop the service that owns the data dir.")
def serve(
    host: str | None, port: int | None, data_dir: Path | None, model: str | None, replace: bool
) -> None:
    """Serve the HTTP API; migrates the database first."""
    settings = load_settings(host=host, port=port, data_dir=data_dir, model=model)
    share_memory_among_threads()
    sys.setswitchinterval(SWITCH_SECONDS)
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for chatty in ("httpx", "httpcore", "alembic", "faiss"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if replace and (pid := stop_owner(settings.data_dir)) is not None:
        click.echo(f"Stopped process {pid}.", err=True)
    ownership = Ownership(settings.data_dir)

    import uvicorn

    from app.http.protocol import LimitedHeads
    from app.library import Library
    from app.main import create_app

    failures: list[str] = []

    def fail(sentence: str) -> None:
        failures.append(sentence)
        server.should_exit = True

    app = create_app(settings, lambda: Library(settings, ownership), fail)

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            if app.state.library is not None:
                app.state.library.gate.shut()  # before connections are waited for
            await super().shutdown(sockets)

    server = Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level=settings.log_level,
            access_log=settings.log_level == "debug",
            timeout_graceful_shutdown=30,
            http=LimitedHeads,
        )
    )
    listeners = bind(settings)
    for listener in listeners:
        address, port = listener.getsockname()[:2]
        log.info("Listening on http://%s:%d", f"[{address}]" if ":" in address else address, port)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it anew when it is done
        server.run(sockets=listeners)
    if failures:
        click.echo(f"emoseek: {failures[0]}", err=True)
        sys.exit(1)


def share_memory_among_threads() -> None:
    """glibc gives threads heaps of their own, up to eight a core, and keeps of each as much as
    it ever held. With two, memory stays flat, and fewer pages are cold."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # musl has none
        mallopt(M_ARENA_MAX, 2)


def bind(settings: Settings) -> list[socket.socket]:
    """Listening sockets at every address of the settings' host.

    Raises:
        SettingsError: one cannot be had.
    """
    listeners: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        for family, _, _, _, address in dict.fromkeys(found):
            listener = socket.socket(family, socket.SOCK_STREAM)
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.listen(2048)
    except (OSError, UnicodeError) as exc:
        for listener in listeners:
            listener.close()
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else exc
        raise SettingsError(
            f"EMOSEEK_HOST, EMOSEEK_PORT: {settings.host}:{settings.port} cannot be listened on "
            f"({reason})."
        ) from exc
    return listeners


@click.command()
@click.option("--data-dir", type=Path, help="Whose owner to stop (EMOSEEK_DATA_DIR).")
def stop(data_dir: Path | None) -> None:
    """Stop the service that owns the data directory, and wait until it has stopped."""
    settings = load_settings(data_dir=data_dir)
    pid = stop_owner(settings.data_dir)
    click.echo(
        f"No service owns {settings.data_dir.resolve()}."
        if pid is None
        else f"Stopped process {pid}."
    )
