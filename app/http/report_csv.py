"""A report's table as CSV, for spreadsheets."""

from __future__ import annotations

import csv
import io
from typing import Any

from app.domain import LABELS

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of one
COLUMNS = (
    "lasting_id",
    "name",
    "size",
    "size_before",
    "share",
    "negativity",
    "trend",
    "priority",
    "dominant_emotion",
    "mean_confidence",
    "cohesion",
)


def csv_of(report: dict[str, Any]) -> str:
    """A row for each cluster, the most urgent first; shares from 0 to 1."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*COLUMNS, *LABELS, "customers", "agents", "exemplars"])
    for one in report["clusters"]:
        writer.writerow(
            [
                *(_cell(one[name]) for name in COLUMNS),
                *(_cell(one["emotions"].get(label)) for label in LABELS),
                *(
                    _cell("; ".join(who["id"] for who in one[kind]))
                    for kind in ("customers", "agents")
                ),
                " ".join(map(str, one["exemplars"])),
            ]
        )
    return out.getvalue()


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would reckon with begins with an apostrophe."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return round(value, 6) if isinstance(value, float) else value
