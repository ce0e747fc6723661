"""`emoseek recognise`: files → emotions, without a server and without storing anything."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from app.errors import EmoseekError
from app.settings import load_settings


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, all scores.")
@click.option("--model", help="auto, bundled, a model id or a directory (EMOSEEK_MODEL).")
def recognise(files: tuple[Path, ...], as_json: bool, model: str | None) -> None:
    """Recognise FILES without a server. Exits 1 when one of them was refused."""
    from app.audio import decode
    from app.recogniser import Flow, load, recognise_clip

    settings = load_settings(model=model)
    recogniser = load(settings, None).recogniser
    if not as_json:
        click.echo(f"model: {recogniser.info.id}")
    failed = False
    for path in files:
        found: dict[str, Any] = {"file": str(path)}
        try:
            with path.open("rb") as file:
                audio = decode(file, max_seconds=settings.max_seconds)
            heard = recognise_clip(recogniser, audio.waveforms[0], Flow())
        except (EmoseekError, OSError) as exc:
            failed = True
            reason = exc.detail if isinstance(exc, EmoseekError) else str(exc.strerror)
            click.echo(f"{path}: {reason}", err=True)
            found |= {"success": False, "detail": reason}
        else:
            recognition = heard.recognition
            found |= {
                "success": True,
                "emotion": recognition.emotion,
                "confidence": recognition.confidence,
                "scores": recognition.by_label(),
                "segments": [segment.as_answer() for segment in heard.segments],
                "warnings": list(audio.warnings),
                "model": recogniser.info.id,
            }
            if not as_json:
                click.echo(f"{recognition.emotion:10} {recognition.confidence:6.3f}  {path}")
        if as_json:
            click.echo(json.dumps(found))
    sys.exit(1 if failed else 0)
