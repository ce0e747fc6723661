"""The network that is trained: FunASR's Emotion2vec with a small configuration.

Nothing of the architecture is written here. `build` hands a configuration to FunASR's own class, so
that what is trained is what FunASR, and our encoder, will run.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from funasr.models.emotion2vec.model import Emotion2vec
from numpy.typing import NDArray
from omegaconf import OmegaConf
from torch import Tensor
from torch.nn import functional

from app.domain import HOP, SAMPLE_RATE, WINDOW

EMBED_DIM = 192
FIRST_CHANNELS = 480
SECOND_CHANNELS = 256

# The lines of tokens.txt. A model directory promises this order.
TOKENS = (
    "生气/angry",
    "厌恶/disgusted",
    "恐惧/fearful",
    "开心/happy",
    "中立/neutral",
    "其他/other",
    "难过/sad",
    "吃惊/surprised",
    "<unk>",
)

AUDIO: dict[str, Any] = {
    "type": "AUDIO",
    "prenet_depth": 1,
    "prenet_layerdrop": 0.0,
    "prenet_dropout": 0.1,
    "start_drop_path_rate": 0.0,
    "end_drop_path_rate": 0.0,
    "num_extra_tokens": 4,
    "init_extra_token_zero": True,
    "mask_noise_std": 0.01,
    "mask_prob_min": None,
    "mask_prob": 0.5,
    "inverse_mask": False,
    "mask_prob_adjust": 0.05,
    "keep_masked_pct": 0.0,
    "mask_length": 5,
    "add_masks": False,
    "remove_masks": False,
    "mask_dropout": 0.0,
    "encoder_zero_mask": True,
    "mask_channel_prob": 0.0,
    "mask_channel_length": 64,
    "ema_local_encoder": False,
    "local_grad_mult": 1.0,
    "use_alibi_encoder": True,
    "alibi_scale": 1.0,
    "learned_alibi": False,
    "alibi_max_pos": None,
    "learned_alibi_scale": True,
    "learned_alibi_scale_per_head": True,
    "learned_alibi_scale_per_layer": False,
    "num_alibi_heads": 4,
    "model_depth": 3,
    "decoder": None,
    "extractor_mode": "layer_norm",
    "feature_encoder_spec": f"[({FIRST_CHANNELS}, {WINDOW}, {HOP}), ({SECOND_CHANNELS}, 1, 1)]",
    "conv_pos_width": 33,
    "conv_pos_groups": 8,
    "conv_pos_depth": 3,
    "conv_pos_pre_ln": False,
}

MODEL_CONF: dict[str, Any] = {
    "loss_beta": 0.0,
    "loss_scale": None,
    "depth": 3,
    "start_drop_path_rate": 0.0,
    "end_drop_path_rate": 0.0,
    "num_heads": 4,
    "norm_eps": 1e-5,
    "norm_affine": True,
    "encoder_dropout": 0.1,
    "post_mlp_drop": 0.1,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "dropout_input": 0.0,
    "layerdrop": 0.0,
    "embed_dim": EMBED_DIM,
    "mlp_ratio": 2.0,
    "layer_norm_first": False,
    "average_top_k_layers": 3,
    "end_of_block_targets": False,
    "clone_batch": 1,
    "log_norms": False,
    "normalize": True,
    "supported_modality": "AUDIO",
    "modalities": {"audio": AUDIO},
}


def build(seed: int) -> Emotion2vec:
    """A network with random blocks and an analytic first layer (see `filterbank`)."""
    torch.manual_seed(seed)
    model = Emotion2vec(model_conf=MODEL_CONF, vocab_size=len(TOKENS))
    _initialise(model)
    return model


def _initialise(model: Emotion2vec) -> None:
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "proj":
            torch.nn.init.trunc_normal_(module.weight, std=0.05)
            torch.nn.init.zeros_(module.bias)
    first, second = model.modality_encoders["AUDIO"].local_encoder.conv_layers
    filters, bands = filterbank()
    with torch.no_grad():
        first[0].weight.copy_(torch.from_numpy(filters[:, None, :]))
        # Twice the normalised amplitude: GELU then bends where speech has its energy.
        first[2][1].weight.fill_(2.0)
        second[0].weight.mul_(0.5)
        rows = min(len(bands), SECOND_CHANNELS)
        second[0].weight[:rows, :, 0] += 0.1 * torch.from_numpy(bands[:rows])
        model.proj.weight.mul_(0.1)
        model.proj.bias.zero_()


def filterbank() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The first convolution, (channels, WINDOW), and which channels make a band, (bands, channels).

    Each band has a cosine and a sine under a window, both with both signs: GELU(a) + GELU(-a) is
    even in a, near a² for small a and |a| for large, so a sum over the four reads the band's
    strength whatever its phase. Half of the bands lie 20 Hz apart from 60 Hz up, where a voice has
    its harmonics; the others are spread evenly on the mel scale up to 7.6 kHz.
    """
    bands = FIRST_CHANNELS // 4
    low = 60.0 + 20.0 * np.arange(bands // 2)
    mel = np.linspace(hertz_to_mel(200.0), hertz_to_mel(7600.0), bands - len(low))
    centres = np.concatenate([low, mel_to_hertz(mel)])
    widths = np.concatenate([np.full(len(low), 40.0), np.gradient(mel_to_hertz(mel))])
    time = (np.arange(WINDOW) - (WINDOW - 1) / 2) / SAMPLE_RATE
    filters = np.empty((4 * bands, WINDOW))
    for band, (centre, width) in enumerate(zip(centres, widths, strict=True)):
        # A Hann window of length L passes about 1.44 / L hertz to half power.
        length = np.clip(1.44 / max(width, 1.0), 0.008, WINDOW / SAMPLE_RATE)
        window = np.where(
            np.abs(time) <= length / 2, 0.5 + 0.5 * np.cos(2 * np.pi * time / length), 0.0
        )
        # Speech falls by about 6 dB an octave: raise the high bands by as much, from 300 Hz up.
        gain = max(centre / 300.0, 1.0) ** 0.8 / np.sqrt(np.sum(window**2))
        wave = gain * window * np.exp(2j * np.pi * centre * time)
        filters[4 * band : 4 * band + 4] = [wave.real, -wave.real, wave.imag, -wave.imag]
    # The layer norm that follows has eps 1e-5: at this size a frame of mean loudness lies near it,
    # and quiet frames stay small where a larger scale would make every frame equally loud.
    filters *= 4e-3
    members = np.kron(np.eye(bands), np.ones((1, 4)))
    return filters.astype(np.float32), members.astype(np.float32)


def hertz_to_mel(hertz: NDArray[np.float64] | float) -> Any:
    """O'Shaughnessy's mel scale: 2595 log10(1 + f / 700)."""
    return 2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0)


def mel_to_hertz(mel: NDArray[np.float64] | float) -> Any:
    """The inverse of `hertz_to_mel`."""
    return 700.0 * (10.0 ** (np.asarray(mel) / 2595.0) - 1.0)


def frames_of(model: Emotion2vec, waveforms: Tensor) -> Tensor:
    """(B, N) samples at 16 kHz, equally long and unpadded → (B, T, EMBED_DIM)."""
    normal = functional.layer_norm(waveforms, waveforms.shape[-1:])
    features: Tensor = model(normal, mask=False, features_only=True)["x"]
    return features


def write(
    directory: Path, state: dict[str, Tensor], prior_mean: NDArray[np.float32], card: str
) -> None:
    """Write a FunASR model directory, every file renamed into place when it is whole."""
    directory.mkdir(parents=True, exist_ok=True)
    config = {
        "model": "Emotion2vec",
        "model_conf": MODEL_CONF,
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
    }
    metas = {
        "init_param": "model.pt",
        "tokenizer_conf": {"token_list": "tokens.txt"},
        "config": "config.yaml",
    }
    configuration = {
        "framework": "pytorch",
        "task": "emotion-recognition",
        "model": {"type": "funasr"},
        "pipeline": {"type": "funasr-pipeline"},
        "file_path_metas": metas,
    }

    def place(name: str, save: Any) -> None:
        beside = directory / f".{name}.part"
        save(beside)
        os.replace(beside, directory / name)

    place("config.yaml", lambda path: OmegaConf.save(OmegaConf.create(config), path))
    place(
        "configuration.json",
        lambda path: path.write_text(json.dumps(configuration, indent=2) + "\n"),
    )
    place("tokens.txt", lambda path: path.write_text("\n".join(TOKENS) + "\n", encoding="utf-8"))
    place("MODEL_CARD.md", lambda path: path.write_text(card, encoding="utf-8"))
    place("model.pt", lambda path: torch.save({k: v.contiguous() for k, v in state.items()}, path))

    def save_mean(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, prior_mean.astype(np.float32))

    place("prior_mean.npy", save_mean)
