"""Names that people can tell clusters apart by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from app.analysis.profiles import Leader, Profile
from app.domain import LABELS

MOSTLY: Final = 0.75  # share of one emotion that names a cluster alone
NAMED: Final = 0.2  # share of a second emotion that is named too
ONE_PERSON: Final = 0.5  # share of one customer's or agent's clips that is worth telling
RISING: Final = 3.0  # standard errors of a slope that is worth telling
SURE, UNSURE = 0.8, 0.5  # mean confidences


def names(clusters: Sequence[Profile]) -> list[str]:
    """One for each, all different: its emotions, then what sets it apart from others of the same
    emotions. No person is named: a name outlives the clips."""
    found = [_emotions(one) for one in clusters]
    for aspect in ASPECTS:
        repeated = {name for name in found if found.count(name) > 1}
        if not repeated:
            break
        told = [
            aspect(one) if name in repeated else ""
            for one, name in zip(clusters, found, strict=True)
        ]
        for number, name in enumerate(found):
            group = [t for n, t in zip(found, told, strict=True) if n == name]
            if name in repeated and told[number] and len(set(group)) > 1:
                told[number] = f"{name}, {told[number]}"
            else:
                told[number] = name
        found = told
    return _numbered(found)


def _emotions(one: Profile) -> str:
    if not one.emotions_known:
        return "emotion not known"
    order = sorted(range(len(LABELS)), key=lambda place: (-one.emotions[place], place))
    first, second = order[:2]
    if one.emotions[first] >= MOSTLY or one.emotions[second] < NAMED:
        return LABELS[first]
    return f"{LABELS[first]} and {LABELS[second]}"


def _people(one: Profile) -> str:
    if _is_one(one.customers):
        return "mostly one customer"
    return "mostly one agent" if _is_one(one.agents) else ""


def _is_one(leaders: Sequence[Leader]) -> bool:
    return bool(leaders) and leaders[0].share >= ONE_PERSON and leaders[0].lift >= 1 / ONE_PERSON


def _confidence(one: Profile) -> str:
    if one.mean_confidence is None or UNSURE <= one.mean_confidence < SURE:
        return ""
    return "clear" if one.mean_confidence >= SURE else "faint"


def _direction(one: Profile) -> str:
    slope, error = one.trend.slope, one.trend.slope_error
    if slope is None or error is None or abs(slope) <= RISING * error:
        return ""
    return "rising" if slope > 0 else "falling"


def _mixture(one: Profile) -> str:
    """The strongest score beside the emotion's own."""
    if one.scores is None:
        return ""
    others = [place for place in range(len(LABELS)) if place != one.dominant]
    strongest = max(others, key=lambda place: one.scores[place] if one.scores else 0.0)
    return f"with some {LABELS[strongest]}" if one.scores[strongest] >= 0.05 else ""


ASPECTS: Final[tuple[Callable[[Profile], str], ...]] = (
    _confidence,
    _mixture,
    _direction,
    _people,
)


def _numbered(found: list[str]) -> list[str]:
    """What is still repeated gets a number."""
    seen: dict[str, int] = {}
    numbered = []
    for name in found:
        seen[name] = seen.get(name, 0) + 1
        numbered.append(f"{name} ({seen[name]})" if found.count(name) > 1 else name)
    return numbered
