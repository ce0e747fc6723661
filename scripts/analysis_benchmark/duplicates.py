"""Whether copies of recordings are found, among others that say the same words.

EmoDB, the speakers in two halves: every clip and its ten distorted copies are taken into a library
in a random order, as the service takes them in, and all pairs that are found are counted. What the
thresholds would be that the other half alone suggests is told beside it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from app.analysis.fingerprint import (
    DESCRIPTOR,
    MEAN_DESCRIPTOR,
    Comparison,
    Fingerprint,
    fingerprint,
)
from app.audio import decode
from app.domain import Waveform
from app.library.recordings import NEAREST, SAME, SIMILAR
from index.cosine import directions
from index.flat import FlatIndex
from scripts.analysis_benchmark.distortions import DISTORTIONS

HALVES: Final = (("03", "08", "09", "10", "11"), ("12", "13", "14", "15", "16"))  # of the speakers
EMODB: Final = Path(__file__).parents[3] / "shared" / "data" / "emodb"
ORIGINAL: Final = "the original"


class Recording(NamedTuple):
    clip: str  # of which it is a copy
    distortion: str  # or ORIGINAL
    printed: Fingerprint


def add_to(parts: Any) -> None:
    part = parts.add_parser("duplicates", help="copies of recordings")
    part.add_argument("--emodb", type=Path, default=EMODB, help="directory of its FLAC files")
    part.set_defaults(measure=measure)


def measure(told: argparse.Namespace) -> None:
    halves = [_recordings(told.emodb, speakers) for speakers in HALVES]
    gaps = [_gap(recordings) for recordings in halves]
    print("| speakers | clips | recall | precision | wrong pairs | threshold of the other half |")
    print("| --- | --- | --- | --- | --- | --- |")
    recalls: list[dict[str, float]] = []
    for half, recordings in enumerate(halves):
        found = _ingested(recordings)
        pairs = {frozenset(recordings[place][:2] for place in pair) for pair in found}
        right = sum(len({clip for clip, _ in pair}) == 1 for pair in pairs)
        recalls.append(
            {
                name: float(
                    np.mean(
                        [
                            frozenset([(one.clip, ORIGINAL), (one.clip, name)]) in pairs
                            for one in recordings
                            if one.distortion == ORIGINAL
                        ]
                    )
                )
                for name in DISTORTIONS
            }
        )
        lower, upper = gaps[1 - half]
        print(
            f"| {' '.join(HALVES[half])} | {len(recordings) // (len(DISTORTIONS) + 1)} "
            f"| {np.mean(list(recalls[-1].values())):.4f} | {right / len(pairs):.4f} "
            f"| {len(pairs) - right} of {len(pairs)} | {lower:.3f} to {upper:.3f}, used {SAME} |"
        )
    print("\n| distortion | recall |\n| --- | --- |")
    for name in DISTORTIONS:
        print(f"| {name} | {' and '.join(f'{half[name]:.4f}' for half in recalls)} |")


def _recordings(emodb: Path, speakers: tuple[str, ...]) -> list[Recording]:
    """Each clip of these speakers with its copies."""
    found = []
    for path in sorted(emodb.glob("*.flac")):
        if path.stem[:2] not in speakers:
            continue
        with path.open("rb") as file:
            waveform: Waveform = np.array(decode(file, max_seconds=60).waveforms[0])
        found.append(Recording(path.stem, ORIGINAL, fingerprint(waveform)))
        for name, distort in DISTORTIONS.items():
            found.append(Recording(path.stem, name, fingerprint(distort(waveform))))
    return found


def _ingested(recordings: list[Recording]) -> list[tuple[int, int]]:
    """Pairs of places that are found when each is compared with those that came before."""
    index, found = FlatIndex(DESCRIPTOR, MEAN_DESCRIPTOR), []
    for place in np.random.default_rng(0).permutation(len(recordings)).tolist():
        one = recordings[place].printed
        descriptor = one.descriptor()[np.newaxis]
        [hits] = index.search_directions(directions(descriptor, index.mean), NEAREST)
        comparison = Comparison(one)
        for clip_id in hits.ids[hits.similarities >= SIMILAR].tolist():
            if comparison.agreement(recordings[clip_id - 1].printed) >= SAME:
                found.append((clip_id - 1, place))
        index.add(np.array([place + 1]), descriptor)
    return found


def _gap(recordings: list[Recording]) -> tuple[float, float]:
    """The highest agreement of two different clips, and the lowest of a clip and its copy."""
    originals = [one for one in recordings if one.distortion == ORIGINAL]
    printed = {one.clip: one.printed for one in originals}
    lowest = min(Comparison(printed[one.clip]).agreement(one.printed) for one in recordings)
    highest = max(
        comparison.agreement(other.printed)
        for number, one in enumerate(originals)
        for comparison in [Comparison(one.printed)]
        for other in originals[:number]
    )
    return highest, lowest
