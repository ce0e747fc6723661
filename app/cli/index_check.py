"""The index compared with the database, and what of it is told."""

from __future__ import annotations

import logging

import click
import httpx

from app.cli.client import ask, checked, own_data_dir, service_or_none
from app.errors import NotFound
from app.http.index_check import CheckView, IndexCheckAnswer, RepairView
from app.library.index_check import KINDS
from app.library.snapshot_check import SnapshotCheck, open_snapshot_check
from app.settings import load_settings

PATH = "/api/v1/admin/index/check"


def run(repair: bool, url: str | None) -> bool:
    """Check, and repair if wanted; returns whether the index is clean at the end.

    Raises:
        EmoseekError: as SnapshotCheck, app.cli.client.
        OSError: a repaired index could not be saved.
    """
    settings = load_settings()
    with service_or_none(settings, url) as client:
        if client is not None:
            click.echo(f"Checking the index of the service at {client.base_url}", err=True)
            return _ask(client, repair)
    logging.basicConfig(level=settings.log_level.upper(), format="%(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if not settings.data_dir.is_dir():
        raise NotFound(f"No service answers, and there is no directory {settings.data_dir}.")
    ownership = own_data_dir(settings)
    click.echo(f"No service runs: checking the index in {settings.data_dir.resolve()}", err=True)
    with open_snapshot_check(settings, ownership) as here:
        return _check_here(here, repair)


def _ask(client: httpx.Client, repair: bool) -> bool:
    params, patience = {"repair": repair}, httpx.Timeout(None, connect=10.0)
    response = ask(client, "POST", PATH, params=params, timeout=patience)
    answer = IndexCheckAnswer.model_validate_json(checked(response).content)
    _tell(answer.found)
    if answer.repair is None or answer.left is None:
        return answer.found.clean
    _tell_repair(answer.repair)
    _tell(answer.left)
    return answer.left.clean


def _check_here(here: SnapshotCheck, repair: bool) -> bool:
    found = here.check()
    if found.unusable is not None:
        click.echo(f"The index cannot be used: {found.unusable}.")
    _tell(CheckView.of(found))
    if not repair or found.clean:
        return found.clean
    _tell_repair(RepairView.of(here.repair(found)))
    left = here.check()
    _tell(CheckView.of(left))
    return left.clean


def _tell(found: CheckView) -> None:
    click.echo(f"{found.compared} clips should be in the index.")
    for kind, meaning in KINDS.items():
        fault = found.faults[kind]
        ids = ", ".join(map(str, fault.clip_ids)) + (", …" * (fault.count > len(fault.clip_ids)))
        click.echo(f"{kind:>12} {fault.count:>9}  {meaning if not ids else f'{meaning}: {ids}'}")
    click.echo(f"{'misplaced':>12} {found.misplaced:>9}  rows that its structure does not fit")
    click.echo("Clean." if found.clean else "Not clean.")


def _tell_repair(done: RepairView) -> None:
    how = "The index was built anew" if done.rebuilt else "The index was mended"
    click.echo(f"{how}: {done.added} added, {done.removed} removed, {done.renewed} renewed.")
