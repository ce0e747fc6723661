"""Do clips of the same emotion find each other, also across speakers?

    python scripts/bench_retrieval.py MODEL_A MODEL_B [--emodb ../shared/data/emodb]

MODEL_A was trained without the speakers in SPEAKERS_A, MODEL_B without those in SPEAKERS_B
(scripts/train_bundled.py --exclude-speakers), so that each model is measured on voices that it
never heard. For each clip the ten nearest clips of the other measured speakers are taken;
precision is the share of them with the clip's emotion, chance the share among all of them.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.audio import decode
from app.recogniser import load
from app.settings import Settings
from index.exact import ExactIndex
from index.mean import shrunk_mean

SPEAKERS_A = ("12", "13", "14", "15", "16")
SPEAKERS_B = ("03", "08", "09", "10", "11")
K = 10

Floats = NDArray[np.float64]


def embed(model: Path, paths: list[Path]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """((n, D) embeddings, (D,) prior mean) of the clips by the model in a directory."""
    loaded = load(Settings(model=str(model)), None)
    embeddings = []
    for path in paths:
        with path.open("rb") as file:
            waveform = decode(file, max_seconds=30).waveforms[0]
        embeddings.append(loaded.recogniser.recognise(waveform).embedding)
    return np.stack(embeddings), loaded.prior_mean()


def whitened(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Embeddings with mean 0 and covariance 1 (eigenvalues floored at 1 % of the largest)."""
    centred = embeddings - embeddings.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(centred.T))
    scale = 1 / np.sqrt(np.maximum(values, 0.01 * values.max()))
    white: NDArray[np.float32] = (centred @ vectors * scale).astype(np.float32)
    return white


def precision(
    embeddings: NDArray[np.float32],
    mean: NDArray[np.float32],
    labels: NDArray[np.str_],
    speakers: NDArray[np.str_],
) -> float:
    """Mean share of a clip's K nearest among other speakers that have its label."""
    ids = np.arange(1, len(embeddings) + 1)
    index = ExactIndex(embeddings.shape[1], mean)
    index.add(ids, embeddings)
    shares = []
    for number, query in enumerate(embeddings):
        others = ids[speakers != speakers[number]]
        [hits] = index.search(query[None], K, allowed=others)
        shares.append(np.mean(labels[hits.ids - 1] == labels[number]))
    return float(np.mean(shares))


def chance(labels: NDArray[np.str_], speakers: NDArray[np.str_]) -> float:
    return float(
        np.mean(
            [np.mean(labels[speakers != s] == e) for e, s in zip(labels, speakers, strict=True)]
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model_a", type=Path, help=f"never heard {', '.join(SPEAKERS_A)}")
    parser.add_argument("model_b", type=Path, help=f"never heard {', '.join(SPEAKERS_B)}")
    parser.add_argument("--emodb", type=Path, default=Path("../shared/data/emodb"))
    options = parser.parse_args()
    with (options.emodb / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    print(f"precision at {K} by emotion among other speakers")
    names = ("chance", "raw", "mean removed", "mean shrunk to prior", "whitened")
    print(f"{'measured speakers':22} clips  " + "  ".join(names))
    total = np.zeros(len(names))
    count = 0
    for model, heard in ((options.model_a, SPEAKERS_A), (options.model_b, SPEAKERS_B)):
        chosen = [row for row in rows if row["speaker"] in heard]
        labels = np.array([row["label"] for row in chosen])
        speakers = np.array([row["speaker"] for row in chosen])
        embeddings, prior = embed(model, [options.emodb / row["file"] for row in chosen])
        mean = embeddings.mean(axis=0)
        zero = np.zeros_like(mean)
        figures = np.array(
            [
                chance(labels, speakers),
                precision(embeddings, zero, labels, speakers),
                precision(embeddings, mean, labels, speakers),
                precision(embeddings, shrunk_mean(mean, len(embeddings), prior), labels, speakers),
                precision(whitened(embeddings), zero, labels, speakers),
            ]
        )
        total += figures * len(chosen)
        count += len(chosen)
        show(" ".join(heard), len(chosen), names, figures)
    show("both", count, names, total / count)


def show(who: str, count: int, names: tuple[str, ...], figures: Floats) -> None:
    columns = (f"{figure:>{len(name)}.3f}" for name, figure in zip(names, figures, strict=True))
    print(f"{who:22} {count:5}  " + "  ".join(columns))


if __name__ == "__main__":
    main()
