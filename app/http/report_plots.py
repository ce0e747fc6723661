"""Plots of a report as SVG. Colours are Okabe and Ito's, which colour-blind people tell apart, and
none speaks alone: marks have shapes, lines have dashes, bars have letters."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from app.domain import LABELS

COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#B8A800",
    "#7F7F7F",
    "#8C6BB1",
)
SHAPES = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z",
    "M-3.5-3.5h7v7h-7Z",
    "M0-4.5 4.3 3.2h-8.6Z",
    "M0-5 4 0 0 5-4 0Z",
    "M0 4.5-4.3-3.2h8.6Z",
    "M-1.5-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3Z",
    "M-4.5-2.5-2.5-4.5 0-2 2.5-4.5 4.5-2.5 2 0 4.5 2.5 2.5 4.5 0 2-2.5 4.5-4.5 2.5-2 0Z",
    "M0-5 1.5-1.5 5-1.5 2 .8 3.2 4.5 0 2.2-3.2 4.5-2 .8-5-1.5-1.5-1.5Z",
    "M-4.5-1.5h9v3h-9Z",
)
DASHES = ("", "7 4", "2 3", "9 3 2 3", "4 2", "1 4", "12 4", "6 2 1 2", "3 6")
MARKED = 8  # clusters with a colour of their own; the others are drawn as one
OTHERS = len(COLOURS) - 1
SIZE = 420  # of a map
BAR = 240  # how long a bar of emotions is


def cluster_marks(clusters: Sequence[dict[str, Any]]) -> dict[int, int]:
    """The mark of each cluster by lasting id: its own for the first in rank."""
    return {one["lasting_id"]: min(rank, MARKED) for rank, one in enumerate(clusters)}


def swatch(mark: int) -> Markup:
    """For a legend or a table."""
    return Markup(
        '<svg class="swatch" viewBox="-6 -6 12 12" aria-hidden="true">'
        '<path fill="{}" d="{}"/></svg>'
    ).format(COLOURS[mark], SHAPES[mark])


def scatter(
    points: dict[str, Any], groups: Sequence[Any], marks: dict[Any, int], title: str
) -> Markup:
    """Clips as marks; `groups` has the key into `marks` for each, else it is faint."""
    spread = max((abs(value) for value in (*points["x"], *points["y"])), default=1.0) or 1.0
    half = SIZE / 2
    scale = (half - 10) / spread
    paths: dict[int | None, list[str]] = {}
    for x, y, group in zip(points["x"], points["y"], groups, strict=True):
        at = f'<use x="{half + x * scale:.1f}" y="{half - y * scale:.1f}" href="#{{}}"/>'
        paths.setdefault(marks.get(group), []).append(at)
    drawn = []
    prefix = "m" + "".join(f"{ord(letter):x}" for letter in title[:12])
    for mark in sorted(paths, key=lambda one: -1 if one is None else one):
        name = f"{prefix}-{'none' if mark is None else mark}"
        shape = SHAPES[0] if mark is None else SHAPES[mark]
        look = 'class="faint"' if mark is None else f'fill="{COLOURS[mark]}"'
        size = ' transform="scale(.6)"' if mark is None else ""
        drawn.append(f'<defs><path id="{name}" d="{shape}"{size}/></defs><g {look}>')
        drawn += [at.format(name) for at in paths[mark]]
        drawn.append("</g>")
    return _svg(SIZE, SIZE, title, "".join(drawn))


def emotion_bar(emotions: dict[str, float], title: str) -> Markup:
    """Shares of emotions as one bar, each part with its emotion's first letters."""
    drawn, left = [], 0.0
    for place, label in enumerate(LABELS):
        width = emotions.get(label, 0.0) * BAR
        if width <= 0:
            continue
        drawn.append(
            f'<rect x="{left:.1f}" y="0" width="{max(width - 1, 0.5):.1f}" height="22" '
            f'fill="{COLOURS[place]}"/>'
        )
        if width >= 34:
            drawn.append(f'<text x="{left + width / 2:.1f}" y="15.5" class="on">{label[:3]}</text>')
        left += width
    return _svg(BAR, 22, title, "".join(drawn))


def weeks(clusters: Sequence[dict[str, Any]], marks: dict[int, int], title: str) -> Markup:
    """Clips a week of the first clusters in rank."""
    shown = clusters[:MARKED]
    series = [(one["weeks"], marks[one["lasting_id"]]) for one in shown]
    first = dt.date.fromisoformat(shown[0]["first_week"])
    count = max(len(values) for values, _ in series)
    dates = [str(first + dt.timedelta(weeks=week)) for week in range(count)]
    return _lines(series, dates, title)


def shares(history: Sequence[tuple[str, float]], title: str) -> Markup:
    """Percentages, each with its date, over periods."""
    values = [round(value * 100, 1) for _, value in history]
    return _lines([(values, 3)], [date for date, _ in history], title, unit=" %")


def _lines(
    series: Sequence[tuple[Sequence[float], int]], dates: Sequence[str], title: str, unit: str = ""
) -> Markup:
    width, height, left, bottom = 860, 260, 56, 34
    top = max((value for values, _ in series for value in values), default=0) or 1
    across = (width - left - 16) / max(len(dates) - 1, 1)

    def place(week: int, value: float) -> str:
        return f"{left + week * across:.1f} {12 + (height - bottom - 12) * (1 - value / top):.1f}"

    drawn = []
    for part in (0, 0.5, 1):
        y = place(0, part * top).split()[1]
        drawn.append(f'<path class="grid" d="M{left} {y}H{width - 16}"/>')
        drawn.append(
            f'<text x="{left - 8}" y="{y}" dy="4" class="end">{part * top:,.4g}{unit}</text>'
        )
    for values, mark in series:
        line = "L".join(place(week, value) for week, value in enumerate(values))
        drawn.append(
            f'<path class="line" stroke="{COLOURS[mark]}" stroke-dasharray="{DASHES[mark]}" '
            f'd="M{line}"/>'
        )
        for week, value in enumerate(values):
            at = place(week, value).replace(" ", ",")
            drawn.append(
                f'<path fill="{COLOURS[mark]}" d="{SHAPES[mark]}" transform="translate({at})"/>'
            )
    each = max(1, -(-len(dates) // 7))
    for week in range(0, len(dates), each):
        x = place(week, 0).split()[0]
        anchor = "end" if float(x) > width - left else "mid"  # or it would be cut off
        drawn.append(
            f'<text x="{x}" y="{height - 10}" class="{anchor}">{escape(dates[week])}</text>'
        )
    return _svg(width, height, title, "".join(drawn))


def _svg(width: int, height: int, title: str, body: str) -> Markup:
    # Whatever a person wrote was escaped where the body was made.
    return Markup(  # noqa: S704
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{body}</svg>'
    )
