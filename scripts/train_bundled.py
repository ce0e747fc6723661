"""Train the bundled model: `python -m scripts.train_bundled --out app/recogniser/bundled`.

Needs EmoDB (535 FLAC clips with manifest.csv) and nothing else: no other recordings, no weights.
With OMP_NUM_THREADS=1 a seed gives the same weights again on the same machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from funasr.models.emotion2vec.model import Emotion2vec
from numpy.typing import NDArray
from torch import Tensor

from scripts.bundled_training import corpus, evaluate, network
from scripts.bundled_training.card import model_card
from scripts.bundled_training.finetune import Recipe, finetune, recognise
from scripts.bundled_training.pretrain import Ears, pretrain, synthesised

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Effort:
    """How much of everything. The defaults are what the bundled model had."""

    made: int = 5000  # synthesised clips
    hearing_steps: int = 3000  # of pretraining on them, 16 clips each
    voices: int = 6  # other voices made of each clip
    recipe: Recipe = field(default_factory=Recipe)


@dataclass(frozen=True)
class Listener:
    """A network that can hear and knows no emotion yet. Speech of no speaker went into it."""

    model: dict[str, Tensor]
    ears: dict[str, Tensor]


def listener(effort: Effort, seed: int, cache: Path | None) -> Listener:
    """Pretrain on synthesised speech, or read what an earlier run left in `cache`."""
    kept = cache / f"listener-{effort.made}-{effort.hearing_steps}-{seed}.pt" if cache else None
    if kept is not None and kept.exists():
        return Listener(**torch.load(kept, weights_only=True))
    model = network.build(seed)
    ears = pretrain(
        model, synthesised(effort.made, seed), effort.hearing_steps, batch=16, seed=seed
    )
    made = Listener(model.state_dict(), ears.state_dict())
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"model": made.model, "ears": made.ears}, kept)
    return made


def learn(
    start: Listener, heard: Sequence[corpus.Lesson], recipe: Recipe, seed: int
) -> Emotion2vec:
    """A network that has learnt emotion from these lessons, and from no other speech."""
    model, ears = network.build(seed), Ears()
    fresh = {name: value for name, value in model.state_dict().items() if name.startswith("proj.")}
    model.load_state_dict(start.model | fresh)
    ears.load_state_dict(start.ears)
    finetune(model, ears, heard, recipe, seed)
    return model


def fold(
    start: Listener, heard: Sequence[corpus.Lesson], speaker: str, recipe: Recipe, seed: int
) -> NDArray[np.int64]:
    """The answers for one speaker's clips of a network that never heard this speaker."""
    torch.set_num_threads(1)
    model = learn(start, corpus.without(heard, {speaker}), recipe, seed)
    _, scores = recognise(
        model, [lesson.takes[0].waveform for lesson in heard if lesson.speaker == speaker]
    )
    answers: NDArray[np.int64] = np.argmax(scores, axis=1)
    truth = np.array([lesson.label for lesson in heard if lesson.speaker == speaker])
    recall = evaluate.unweighted_recall(truth, answers)
    print(f"unheard speaker {speaker}: UAR {recall:.3f}", flush=True)
    return answers


def leave_one_speaker_out(
    start: Listener, heard: Sequence[corpus.Lesson], recipe: Recipe, seed: int, jobs: int
) -> evaluate.Outcome:
    """Every speaker's clips, answered by a network trained on the others."""
    speakers = np.array([lesson.speaker for lesson in heard])
    truth = np.array([lesson.label for lesson in heard], dtype=np.int64)
    answers = np.zeros_like(truth)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = {
            name: pool.submit(fold, start, heard, name, recipe, seed)
            for name in sorted(set(speakers))
        }
        for name, answer in waiting.items():
            answers[speakers == name] = answer.result()
    return evaluate.outcome(list(speakers), truth, answers)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--emodb",
        type=Path,
        default=ROOT.parent / "shared/data/emodb",
        help="folder of manifest.csv",
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "app/recogniser/bundled", help="model directory to write"
    )
    parser.add_argument(
        "--exclude-speakers", default="", help="comma-separated speakers that are never heard"
    )
    parser.add_argument(
        "--evaluate-loso",
        action="store_true",
        help="train ten folds and score them; writes no model",
    )
    parser.add_argument(
        "--report",
        type=Path,
        default=Path("loso.json"),
        help="where --evaluate-loso writes figures",
    )
    parser.add_argument(
        "--figures", type=Path, help="the JSON of an earlier --evaluate-loso, for the model card"
    )
    parser.add_argument("--cache", type=Path, help="keep the pretrained network here between runs")
    parser.add_argument(
        "--jobs", type=int, default=1, help="folds trained at the same time, one core each"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clips", type=int, help="use only so many clips (for a trial)")
    parser.add_argument("--steps", type=int, help="steps of both stages (for a trial)")
    parser.add_argument("--made", type=int, help="synthesised clips (for a trial)")
    return parser.parse_args(argv)


def effort_of(options: argparse.Namespace) -> Effort:
    """The default effort, or less of it."""
    effort = Effort()
    if options.steps is None and options.made is None:
        return effort
    return Effort(
        made=options.made or effort.made,
        hearing_steps=options.steps or effort.hearing_steps,
        voices=1 if options.steps else effort.voices,
        recipe=Recipe(steps=options.steps or effort.recipe.steps),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Train a model directory, or evaluate the recipe."""
    options = arguments(argv)
    torch.set_num_threads(1)
    effort = effort_of(options)
    began = time.monotonic()
    figures = json.loads(options.figures.read_text(encoding="utf-8")) if options.figures else None
    clips = corpus.read(options.emodb, options.clips)
    excluded = {name for name in options.exclude_speakers.split(",") if name}
    unknown = excluded - {clip.speaker for clip in clips}
    if unknown:
        raise SystemExit(f"no such speakers: {', '.join(sorted(unknown))}")
    clips = [clip for clip in clips if clip.speaker not in excluded]
    start = listener(effort, options.seed, options.cache)
    heard = corpus.lessons(clips, effort.voices, options.seed)
    if options.evaluate_loso:
        result = leave_one_speaker_out(start, heard, effort.recipe, options.seed, options.jobs)
        outcomes = {"network": result} | evaluate.baselines(heard)
        for name, found in outcomes.items():
            print(f"{name}: {evaluate.table(found)}\n")
        report = json.dumps(evaluate.as_json(outcomes), indent=1) + "\n"
        options.report.write_text(report, encoding="utf-8")
        return
    model = learn(start, heard, effort.recipe, options.seed)
    embeddings, _ = recognise(model, [clip.waveform for clip in clips])
    command = f"OMP_NUM_THREADS=1 python -m scripts.train_bundled --seed {options.seed}"
    if excluded:
        command += f" --exclude-speakers {','.join(sorted(excluded))}"
    parameters = sum(parameter.numel() for parameter in model.parameters())
    card = model_card(
        sorted({clip.speaker for clip in clips}), len(clips), parameters, figures, command
    )
    network.write(options.out, model.state_dict(), embeddings.mean(axis=0), card)
    print(f"{options.out} written after {(time.monotonic() - began) / 60.0:.0f} minutes")


if __name__ == "__main__":
    main()
