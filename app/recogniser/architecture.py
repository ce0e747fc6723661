"""config.yaml's `model_conf` → the sizes of an emotion2vec network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from app.errors import ModelError
from app.recogniser.model_dir import ConvSpec, ModelDirectory

# What emotion2vec's configurations could say and no published model does.
_FIXED = {"layer_norm_first": False, "norm_affine": True}
_FIXED_AUDIO = {
    "extractor_mode": "layer_norm",
    "learned_alibi": False,
    "learned_alibi_scale_per_layer": False,
    "conv_pos_pre_ln": False,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of one emotion2vec network; D is `dimension`, E is `extra_tokens`."""

    dimension: int
    heads: int
    hidden: int  # of the feed-forward layers
    prenet_depth: int  # blocks of the context encoder
    depth: int  # blocks after it
    norm_eps: float
    normalize: bool  # layer norm over each waveform
    extra_tokens: int
    alibi_heads: int  # 0: attention has no positional bias
    alibi_scales: int  # learned ones: one a head, one for all, or 0
    convolutions: ConvSpec
    position_kernel: int  # frames
    position_groups: int
    position_depth: int
    outputs: int  # logits of the head

    @classmethod
    def of(cls, directory: ModelDirectory) -> Architecture:
        """Raises ModelError, naming the key, for a configuration that is no emotion2vec."""
        conf, audio = directory.conf, directory.conf["modalities"]["audio"]
        _require(conf, _FIXED)
        _require(audio, _FIXED_AUDIO)
        dimension = directory.dimension
        heads = _size(conf, "num_heads", dimension)
        groups = _size(audio, "conv_pos_groups", dimension)
        for key, parts in (("num_heads", heads), ("conv_pos_groups", groups)):
            if dimension % parts:
                raise ModelError(f"config.yaml: embed_dim {dimension} is not divisible by {key}.")
        alibi_heads = (
            _size(audio, "num_alibi_heads", heads) if audio.get("use_alibi_encoder") else 0
        )
        position_depth = _size(audio, "conv_pos_depth", 64)
        return cls(
            dimension=dimension,
            heads=heads,
            hidden=int(dimension * _number(conf, "mlp_ratio")),
            prenet_depth=_size(audio, "prenet_depth", 256, least=0),
            depth=_size(conf, "depth", 256, least=0),
            norm_eps=_number(conf, "norm_eps"),
            normalize=bool(conf.get("normalize", False)),
            extra_tokens=_size(audio, "num_extra_tokens", 4096, least=0),
            alibi_heads=alibi_heads,
            alibi_scales=alibi_heads if audio.get("learned_alibi_scale_per_head") else 1,
            convolutions=directory.conv_spec,
            position_kernel=max(3, _size(audio, "conv_pos_width", 65_536) // position_depth),
            position_groups=groups,
            position_depth=position_depth,
            outputs=len(directory.columns),
        )


def _require(conf: dict[str, Any], fixed: Mapping[str, object]) -> None:
    for key, value in fixed.items():
        if conf.get(key, value) != value:
            raise ModelError(f"config.yaml: {key} is {conf[key]!r}; emotion2vec has {value!r}.")


def _size(conf: dict[str, Any], key: str, most: int, *, least: int = 1) -> int:
    found = conf.get(key)
    if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
        raise ModelError(f"config.yaml: {key} is {found!r}, not a number from {least} to {most}.")
    return found


def _number(conf: dict[str, Any], key: str) -> float:
    found = conf.get(key)
    if not isinstance(found, int | float) or isinstance(found, bool) or not 0 < found < 1e3:
        raise ModelError(f"config.yaml: {key} is {found!r}, not a positive number.")
    return float(found)
