"""A report as one HTML page that asks for nothing else."""

from __future__ import annotations

import datetime as dt
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.domain import LABELS
from app.http import report_plots as plots

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)

# Every text is escaped but what report_plots draws, which escapes what it is given.
TEMPLATES = Environment(
    loader=FileSystemLoader(__file__.rpartition("/")[0]),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page_of(report: dict[str, Any]) -> str:
    """Of a report's content."""
    clusters = report["clusters"]
    marks = plots.cluster_marks(clusters)
    emotion_marks = {label: place for place, label in enumerate(LABELS)}
    history = [
        (one["slot"][:10], one["negativity"])
        for one in report["history"]
        if one["slot"] and one["negativity"] is not None
    ]
    if report["slot"] and report["negativity"] is not None:
        history.append((report["slot"][:10], report["negativity"]))
    return TEMPLATES.get_template("report.html").render(
        report=report,
        period=_period(report),
        filters={k: v for k, v in report["filters"].items() if k not in ("since", "until")},
        clusters=clusters,
        marks=marks,
        marked=plots.MARKED,
        emotions=[label for label in LABELS if report["emotions"].get(label)],
        emotion_marks=emotion_marks,
        history=history,
        weeks=max((len(one["weeks"]) for one in clusters), default=0),
        plots=plots,
        policy=POLICY,
    )


def _period(report: dict[str, Any]) -> str:
    since, until = (
        None if report[end] is None else dt.datetime.fromisoformat(report[end])
        for end in ("since", "until")
    )
    shape = "%-d %B %Y, %H:%M UTC"
    if since and until:
        return f"{since:{shape}} to {until:{shape}}"
    if since:
        return f"since {since:{shape}}"
    return f"until {until:{shape}}" if until else "all clips"
