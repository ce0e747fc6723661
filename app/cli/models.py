"""`emoseek models`: the published models, downloaded, listed and checked."""

from __future__ import annotations

import logging

import click

from app.errors import ModelError
from app.settings import Settings, load_settings

hub_option = click.option(
    "--hub",
    type=click.Choice(["modelscope", "huggingface"]),
    help="Where models come from (EMOSEEK_HUB).",
)
revision_option = click.option(
    "--revision", help="Branch, tag or commit on the hub (EMOSEEK_MODEL_REVISION)."
)


@click.group()
def models() -> None:
    """Published models: download, list, check."""


@models.command()
@click.argument("model_id", metavar="[ID]", required=False)
@hub_option
@revision_option
def pull(model_id: str | None, hub: str | None, revision: str | None) -> None:
    """Download model ID (default: the large one), or what its cached copy lacks.

    A broken download is continued. A model that is cached already is checked against the hub
    and brought to what its branch holds now.
    """
    settings = _settings(hub, revision)
    from app.recogniser import sources

    wanted = sources.LARGE if model_id is None else sources.hub_id(model_id)
    source = sources.pull(wanted, settings.hub, settings.model_revision)
    click.echo(f"{source.id} is in {source.path}")


@models.command("list")
@hub_option
@revision_option
def list_models(hub: str | None, revision: str | None) -> None:
    """The known models, which are cached where, and what `auto` would choose."""
    settings = _settings(hub, revision)
    from app.recogniser import hubs, sources
    from app.recogniser.hubs.cache import size_on_disk
    from app.recogniser.model_dir import BUNDLED

    for model_id in sources.PUBLISHED:
        places = [
            (name, source.path)
            for name in hubs.HUBS
            if (source := sources.cached(model_id, name, settings.model_revision))
        ]
        for name, path in places:
            _line(model_id, _megabytes(size_on_disk(path)), f"{name}: {path}")
        if not places:
            _line(model_id, "", "not cached")
    _line(sources.BUNDLED_ID, _megabytes(size_on_disk(BUNDLED)), str(BUNDLED))
    choice, reason = sources.auto_choice(settings.hub, settings.model_revision)
    click.echo(f"In a new database `auto` would be {choice}, {reason}.")


@models.command()
@click.argument("model", metavar="DIR-or-ID")
@hub_option
@revision_option
def check(model: str, hub: str | None, revision: str | None) -> None:
    """Check a model directory, or a cached model: config, tokens and weights must fit together.

    Exits 1 with what is wrong when they do not.
    """
    settings = _settings(hub, revision)
    from app.recogniser import sources
    from app.recogniser.check import check as check_directory
    from app.recogniser.hubs import HUBS, cache

    source = sources.local_or_cached(model, settings.hub, settings.model_revision)
    record = cache.recall(HUBS[settings.hub], source.id, settings.model_revision)
    if record and (name := record.changed_file(HUBS[settings.hub].root(), thorough=True)):
        raise ModelError(
            f"{source.id}: {name} is not as it was downloaded. "
            f"Run `emoseek models pull {source.id}`."
        )
    checked = check_directory(source.path)
    click.echo(f"id          {source.id}")
    click.echo(f"directory   {source.path}")
    if record and record.commit:
        click.echo(f"commit      {record.commit}")
    click.echo(f"dimension   {checked.dimension}")
    click.echo(f"parameters  {checked.parameters:,}")
    click.echo(f"labels      {', '.join(label or '(unused)' for label in checked.labels)}")
    for dtype, digest in checked.digests.items():
        click.echo(f"digest {dtype} {digest}")


def _settings(hub: str | None, revision: str | None) -> Settings:
    settings = load_settings(hub=hub, model_revision=revision)
    logging.basicConfig(level=settings.log_level.upper(), format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return settings


def _line(model_id: str, size: str, place: str) -> None:
    click.echo(f"{model_id:28} {size:>9}  {place}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
