"""Metadata of recordings from a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from app.errors import InvalidParameter

FIELDS = ("customer_id", "call_id", "agent_id", "recorded_at", "tags")


def parse_columns(columns: tuple[str, ...]) -> dict[str, str]:
    """`FIELD=COLUMN` options as field → column.

    Raises:
        InvalidParameter: one is not of that form.
    """
    renamed = {}
    for column in columns:
        field, _, name = column.partition("=")
        if field not in FIELDS or not name:
            raise InvalidParameter(
                "--column", f"write FIELD=COLUMN with one of {', '.join(FIELDS)}."
            )
        renamed[field] = name
    return renamed


def read_csv(path: Path, renamed: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Fields of each file named in the CSV; None where a cell is empty.

    Columns named like a field, or given in `renamed` (field → column), become that field; tags
    are separated by `;`. All other columns become metadata.

    Raises:
        InvalidParameter: there is no column `file`, or one that was asked for.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or []
            for column in ("file", *renamed.values()):
                if column not in header:
                    raise InvalidParameter(
                        "--metadata",
                        f"the CSV has no column {column}; it has {', '.join(header) or 'none'} "
                        "(columns are separated by commas).",
                    )
            taken = {field: renamed.get(field, field) for field in FIELDS}
            return {row["file"]: _form_fields(row, taken) for row in reader}
    except (UnicodeDecodeError, csv.Error) as exc:
        raise InvalidParameter("--metadata", f"is not a CSV in UTF-8 ({exc}).") from exc


def _form_fields(row: dict[str, str], taken: dict[str, str]) -> dict[str, Any]:
    form: dict[str, Any] = {
        field: row[column] or None for field, column in taken.items() if column in row
    }
    if "tags" in form:
        tags = (form["tags"] or "").split(";")
        form["tags"] = [tag.strip() for tag in tags if tag.strip()]
    used = {"file", *taken.values()}
    form["metadata"] = {key: value for key, value in row.items() if key and key not in used}
    return form
