"""The text of MODEL_CARD.md, written beside the weights it describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scripts.bundled_training.evaluate import Outcome, table
from scripts.bundled_training.network import AUDIO, MODEL_CONF


def model_card(
    speakers: Sequence[str],
    clips: int,
    parameters: int,
    figures: Mapping[str, Any] | None,
    command: str,
) -> str:
    """The card of a model trained on `clips` clips of these speakers."""
    sections = [
        _what(parameters),
        _data(speakers, clips),
        _training(),
        _quality(figures),
        _limits(),
    ]
    return "\n".join([*sections, _again(command)])


def _what(parameters: int) -> str:
    width = AUDIO["conv_pos_width"] // AUDIO["conv_pos_depth"]
    return f"""# The bundled emotion model

A small speech emotion model that comes with this project, so that the service works on a machine
that cannot download one. It has the architecture of emotion2vec (Ma et al., 2023, arXiv:2312.15185)
as FunASR implements it, in a small size, and weights of its own: none of emotion2vec's went in.
Production should use emotion2vec+ large; this one lets everything run and gives a first idea.

|   |   |
|---|---|
| input | mono speech at 16 kHz, at least 400 samples |
| output | {MODEL_CONF["embed_dim"]}-d frames, 50 a second; their mean, the embedding; 9 scores |
| front end | `{AUDIO["feature_encoder_spec"]}`, layer norm and GELU after each |
| positions | {AUDIO["conv_pos_depth"]} grouped convolutions, {width} frames wide; \
ALiBi with a learnt scale for each of {MODEL_CONF["num_heads"]} heads |
| blocks | {AUDIO["prenet_depth"]} + {MODEL_CONF["depth"]}, post-norm, \
MLP ratio {MODEL_CONF["mlp_ratio"]:g}, {AUDIO["num_extra_tokens"]} extra tokens |
| parameters | {parameters:,} (fp32, {parameters * 4 / 1e6:.1f} MB) |
| licence of the weights | Apache-2.0 |

`prior_mean.npy` is the mean embedding of the training clips. The index subtracts a mean before it
compares embeddings, and leans on this one while a library is too small to have its own.
"""


def _data(speakers: Sequence[str], clips: int) -> str:
    return f"""## Data

- EmoDB, the Berlin Database of Emotional Speech (Burkhardt et al., 2005), released as CC0-1.0:
  {clips} clips of {len(speakers)} actors ({", ".join(speakers)}),
  German, recorded in a quiet room. Its seven emotions are this model's labels, boredom as `other`;
  it holds no `surprised` clip.
- Speech-like signals synthesised by `scripts/bundled_training/synthesis.py`: pulses and noise
  through moving resonances. No recording went into them.

No other recordings and no other weights were used.
"""


def _training() -> str:
    return """## Training

1. The first convolution starts as a bank of cosine and sine filters, half of them at the
   harmonics of voices and half on the mel scale.
2. The network learns to hear on synthesised signals: it predicts the log-mel spectrum, the pitch
   and the voicing of every frame, and statistics of pitch, rhythm, loudness and spectrum from the
   embedding of the clip. Noise and coloured lines are added on the way.
3. It learns emotion on EmoDB, where each clip is also heard in other voices (pitch, vocal tract and
   tempo moved a little): cross entropy with smoothed labels and mixup of embeddings, together with
   the targets of step 2 and a supervised contrastive term. The weights are a running mean.

Stage 2 hears nobody, so one pretrained network serves every fold; stage 3 of a fold never hears the
speaker that the fold is scored on.
"""


def _quality(figures: Mapping[str, Any] | None) -> str:
    if figures is None:
        return "## Quality\n\nNot measured for these weights.\n"
    network, reference, statistics = (
        Outcome(**figures[name]) for name in ("network", "log_mel_ridge", "statistics_ridge")
    )
    return f"""## Quality on unheard speakers

EmoDB, leave one speaker out: ten networks, each scored on the one speaker it never heard. UAR is
the mean of the seven labels' recalls over all 535 clips, WA the share of clips that are right;
chance is 0.14. A fold's column is its own UAR. These are figures of the recipe: the bundled weights
have heard all ten speakers, so EmoDB has no honest figure for them. Steps and augmentation were
compared on the folds of 03, 08, 09, 12, 15 and 16; the network's answers on 10, 11, 13 and 14 were
first seen in this table. Which statistics to teach was settled with a ridge over all ten.

{table(network)}

The baseline, ridge regression on the mean and deviation of 40 log-mel bands over the same folds:

{table(reference)}

The same ridge on all 277 statistics that the network is taught in step 2, pitch and rhythm among
them: UAR {statistics.recall:.3f}, WA {statistics.accuracy:.3f}. Hand-made features come close to so
small a network.
"""


def _limits() -> str:
    return """## What it is not good for

- Its speech is acted, German, and read by ten people in a quiet room. Expect much less on
  spontaneous speech, other languages, telephone lines, children, and several voices at once.
- Seven labels were taught. `surprised` and `unknown` are there because the format has them, and
  practically never win.
- A third of the acted happiness is heard as anger, and only a little more than half of the fear is
  recognised; the rest is heard as happiness, sadness or neutral.
- Scores are shares of a softmax that was trained with smoothed labels. They are not probabilities
  that a person feels something, and nothing about a person should be decided by them.
"""


def _again(command: str) -> str:
    return f"""## To make it again

    {command}

with EmoDB at `../shared/data/emodb`, or wherever `--emodb` says. On one core with AVX-512 bf16 the
hearing takes about 15 minutes and the emotion 6. The same machine gives the same weights; another
one, or more threads, may differ in the last digits and so, a little, in the figures.
`python -m scripts.train_bundled --evaluate-loso --jobs 2` measures the table above in
three quarters of an hour.
"""
