"""`emoseek similar`: the nearest clips to a stored one, from a running service."""

from __future__ import annotations

import json

import click
import httpx

from app.cli.client import checked, connect, unreachable
from app.settings import load_settings


@click.command()
@click.argument("clip_id", type=click.IntRange(min=1))
@click.option("-k", default=10, show_default=True, type=click.IntRange(1, 1000))
@click.option("--json", "as_json", is_flag=True, help="The service's answer as it is.")
@click.option("--url", help="The service; default from EMOSEEK_HOST and EMOSEEK_PORT.")
def similar(clip_id: int, k: int, as_json: bool, url: str | None) -> None:
    """The clips nearest to CLIP_ID."""
    with connect(load_settings(), url) as client:
        try:
            response = client.get(f"/api/v1/clips/{clip_id}/similar", params={"k": k})
        except httpx.TransportError as exc:
            raise unreachable(client, exc) from exc
        answer = checked(response).json()
    if as_json:
        click.echo(json.dumps(answer))
        return
    if answer["index"]["state"] != "ready":
        click.echo(f"The index is {answer['index']['state']}.", err=True)
    click.echo(f"{'clip':>10}  similarity  {'emotion':10} confidence  customer")
    for near in answer["neighbours"]:
        confidence = "" if near["confidence"] is None else f"{near['confidence']:.3f}"
        click.echo(
            f"{near['clip_id']:>10}  {near['similarity']:>10.4f}  {near['emotion'] or '':10} "
            f"{confidence:>10}  {near['customer_id'] or ''}"
        )
