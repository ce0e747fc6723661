"""What a report says in sentences, the most important first."""

from __future__ import annotations

from typing import Any

CHANGED = 0.02  # of the negative share, that is told of
TOLD = 3  # clusters that are named as the first to look at


def summary(report: dict[str, Any]) -> list[str]:
    """Of a report's content, in plain words."""
    if not report["clips"]:
        return ["No clips match in this period."]
    said = [_volume(report)]
    if report["negativity"] is not None:
        said.append(_negativity(report))
    if not report["clusters"]:
        return [*said, report["message"] or "No groups of alike clips were found."]
    first = [one for one in report["clusters"] if one["priority"] > 0][:TOLD]
    if first:
        named = "; ".join(f"{one['name']} ({_clips(one['size'])})" for one in first)
        said.append(f"To look at first: {named}.")
    return said + _changes(report)


def _volume(report: dict[str, Any]) -> str:
    before = report["before"]
    if before is None or not before["clips"]:
        return f"{_clips(report['clips'])} in this period."
    change = report["clips"] / before["clips"] - 1
    if abs(change) < 0.005:
        return f"{_clips(report['clips'])}, as many as in the report before."
    more = "more" if change > 0 else "fewer"
    return f"{_clips(report['clips'])}, {abs(change):.0%} {more} than in the report before."


def _negativity(report: dict[str, Any]) -> str:
    now, before = report["negativity"], report["before"]
    told = f"{now:.0%} of them sound negative (angry, disgusted, fearful or sad)"
    if before is None or before["negativity"] is None:
        return f"{told}."
    change = now - before["negativity"]
    if abs(change) < CHANGED:
        return f"{told}, about as before."
    return f"{told}, {'up' if change > 0 else 'down'} from {before['negativity']:.0%}."


def _changes(report: dict[str, Any]) -> list[str]:
    events = report["events"]
    if events is None:
        return []
    names = {one["lasting_id"]: f"“{one['name']}”" for one in report["clusters"]}
    said = []
    for event in events:
        before, after = (
            " and ".join(names.get(one, f"group {one}") for one in event[side])
            for side in ("before", "after")
        )
        match event["kind"]:
            case "born":
                said.append(f"New: {after}.")
            case "grew" | "shrank" as kind:
                times = f"{event['ratio']:.1f} times its size beside the others"
                said.append(f"{after} {kind} to {times}.")
            case "split":
                said.append(f"{before} split into {after}.")
            case "merged":
                said.append(f"{before} merged into {after}.")
            case "died":
                said.append(f"Gone: {before}.")
    return said or ["No group came, went, or changed beyond chance."]


def _clips(count: int) -> str:
    return "1 clip" if count == 1 else f"{count:,} clips"
