"""Model directories of any size in the published format, with seeded random weights.

The published weights cannot be shipped; speed, memory and agreement with FunASR do not need them.
Norms, ALiBi scales and extra tokens are moved away from their initial values, so that a network
that ignores one of them is found out, and the head is scaled so that half of the given clips get
a score above 0.9, as they do from a trained one.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from app.domain import Waveform
from app.recogniser.funasr_runtime import import_emotion2vec
from app.recogniser.model_dir import BUNDLED

TOKENS = ["生气/angry", "厌恶/disgusted", "恐惧/fearful", "开心/happy", "中立/neutral"]
TOKENS += ["其他/other", "难过/sad", "吃惊/surprised", "<unk>"]
STALE_TOKENS = ["生气/angry", "unuse_0", "unuse_1", "开心/happy", "中立/neutral", "unuse_2"]
STALE_TOKENS += ["难过/sad", "unuse_3", "<unk>"]

PUBLISHED_AUDIO = {
    "prenet_depth": 4,
    "num_extra_tokens": 10,
    "feature_encoder_spec": "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]",
    "conv_pos_width": 95,
    "conv_pos_groups": 16,
    "conv_pos_depth": 5,
    "model_depth": 8,
}
SIZES: dict[str, tuple[int, int]] = {"base": (768, 12), "large": (1024, 16)}  # D, heads


def model_conf(size: str) -> dict[str, Any]:
    """`model_conf` of config.yaml: small, bundled, base (and seed), or large."""
    conf: dict[str, Any] = copy.deepcopy(
        yaml.safe_load((BUNDLED / "config.yaml").read_text())["model_conf"]
    )
    if size == "small":  # the bundled one with embeddings of half the size
        conf["embed_dim"] //= 2
    if size in ("small", "bundled"):
        return conf
    dimension, heads = SIZES[size]
    conf.update(embed_dim=dimension, num_heads=heads, depth=8, mlp_ratio=4.0)
    conf["modalities"]["audio"].update(PUBLISHED_AUDIO, num_alibi_heads=heads)
    return conf


def write(
    directory: Path, size: str, *, clips: Sequence[Waveform], seed: int = 0, stale: bool = False
) -> Path:
    """Write a model directory that FunASR and this project both load; returns it.

    Args:
        clips: what the head's scale is fitted to.
        stale: with the token file of older copies, which names four labels unused.
    """
    conf = model_conf(size)
    torch.manual_seed(seed)
    model = import_emotion2vec()(model_conf=conf, vocab_size=len(TOKENS)).eval()
    with torch.inference_mode():
        _perturb(model)
        _scale_head(model, clips, STALE_TOKENS if stale else TOKENS)
    directory.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model.state_dict()}, directory / "model.pt")
    config = {"model": "Emotion2vec", "model_conf": conf, "tokenizer": "CharTokenizer"}
    config["tokenizer_conf"] = {"unk_symbol": "<unk>", "split_with_space": True}
    (directory / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    tokens = STALE_TOKENS if stale else TOKENS
    (directory / "tokens.txt").write_text("\n".join(tokens) + "\n", "utf-8")
    configuration = json.loads((BUNDLED / "configuration.json").read_text("utf-8"))
    (directory / "configuration.json").write_text(json.dumps(configuration), "utf-8")
    return directory


def _perturb(model: torch.nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if "alibi_scale" in name:
            parameter.uniform_(0.5, 1.5)
            parameter.view(-1)[0] = -0.5  # below zero means none
        elif "extra_tokens" in name:
            parameter.normal_()
        elif parameter.dim() == 1 and "norm" in name and name.endswith("weight"):
            parameter.uniform_(0.8, 1.2)
        elif parameter.dim() == 1 and name.endswith(("weight", "bias")):
            parameter.add_(torch.randn_like(parameter) * 0.05)


def _scale_head(model: Any, clips: Sequence[Waveform], tokens: list[str]) -> None:
    used = [i for i, token in enumerate(tokens) if not token.startswith("unuse")]
    logits = model.proj(torch.stack([_embedding(model, clip) for clip in clips]))[:, used]
    low, high = 1e-2, 1e6
    for _ in range(60):
        scale = float(np.sqrt(low * high))
        sure = float((torch.softmax(logits * scale, -1).amax(-1) > 0.9).float().mean())
        low, high = (low, scale) if sure >= 0.5 else (scale, high)
    model.proj.weight.mul_(high)
    model.proj.bias.mul_(high)


def _embedding(model: Any, clip: Waveform) -> torch.Tensor:
    source = torch.from_numpy(clip)
    source = torch.nn.functional.layer_norm(source, source.shape)
    found: torch.Tensor = model.extract_features(source[None])["x"][0].mean(0)
    return found
