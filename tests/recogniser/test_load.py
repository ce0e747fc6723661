"""What is loaded, in which arithmetic, and which configurations are refused."""

from __future__ import annotations

import copy
import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from app.domain import ModelInfo
from app.errors import ModelError, SettingsError
from app.recogniser import load
from app.recogniser.architecture import Architecture
from app.recogniser.load import _device
from app.recogniser.model_dir import BUNDLED, read
from app.settings import load_settings


def loaded(decided: str | None, **overrides: Any) -> str:
    """The arithmetic of the bundled model in a database that was decided for `decided`."""
    info = (
        ModelInfo("emoseek/bundled", read(BUNDLED).digest(decided), 192, True) if decided else None
    )
    recogniser = load(load_settings(model="bundled", **overrides), info).recogniser
    recogniser.close()
    assert recogniser.info.digest == read(BUNDLED).digest(recogniser.dtype)
    return recogniser.dtype


@pytest.mark.parametrize("decided", ["fp32", "bf16", "int8"])
def test_auto_keeps_the_arithmetic_of_the_database(decided: str) -> None:
    assert loaded(decided) == decided


def test_a_small_model_is_fp32_in_a_new_database() -> None:
    assert loaded(None) == "fp32"


def test_a_setting_wins() -> None:
    assert loaded("bf16", dtype="fp32") == "fp32"


@pytest.mark.parametrize(("decided", "dtype"), [(None, "int8"), ("int8", "auto")])
def test_funasr_has_no_int8(decided: str | None, dtype: str) -> None:
    with pytest.raises(SettingsError, match="EMOSEEK_RUNTIME=fast"):
        loaded(decided, runtime="funasr", dtype=dtype)


@pytest.mark.parametrize(
    ("gpus", "setting", "device"),
    [(0, "auto", "cpu"), (2, "auto", "cuda"), (2, "cpu", "cpu"), (2, "cuda:1", "cuda:1")],
)
def test_the_device(monkeypatch: pytest.MonkeyPatch, gpus: int, setting: str, device: str) -> None:
    there_are(gpus, monkeypatch)
    assert _device(setting) == device


@pytest.mark.parametrize(
    ("gpus", "setting", "told"),
    [
        (0, "cuda", "no CUDA device"),
        (0, "cuda:0", "no CUDA device"),
        (2, "cuda:2", "the last one is cuda:1"),
        (2, "cuda:99", "the last one is cuda:1"),
    ],
)
def test_a_device_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, gpus: int, setting: str, told: str
) -> None:
    there_are(gpus, monkeypatch)
    with pytest.raises(SettingsError, match=f"EMOSEEK_DEVICE is {setting}, .*{told}"):
        load(load_settings(model="bundled", device=setting), None)


def there_are(gpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)


@pytest.mark.parametrize("device", ["cuda:x", "tpu", "cuda:", "cuda:-1", "cuda:01", "cuda:٣", ""])
def test_what_is_no_device(device: str) -> None:
    with pytest.raises(SettingsError, match=r"EMOSEEK_DEVICE: .* is none of: auto, cpu, cuda or"):
        load_settings(device=device)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        (None, "layer_norm_first", True),
        (None, "norm_affine", False),
        (None, "num_heads", 5),
        (None, "depth", -1),
        (None, "mlp_ratio", "4"),
        ("audio", "extractor_mode", "default"),
        ("audio", "learned_alibi", True),
        ("audio", "learned_alibi_scale_per_layer", True),
        ("audio", "conv_pos_pre_ln", True),
        ("audio", "conv_pos_groups", 7),
        ("audio", "num_extra_tokens", 1.5),
        ("audio", "num_alibi_heads", 99),
    ],
)
def test_a_network_that_is_no_emotion2vec(part: str | None, key: str, value: object) -> None:
    directory = read(BUNDLED)
    Architecture.of(directory)
    conf = copy.deepcopy(directory.conf)
    (conf["modalities"]["audio"] if part else conf)[key] = value
    with pytest.raises(ModelError, match=key):
        Architecture.of(dataclasses.replace(directory, conf=conf))


@pytest.mark.parametrize("damage", ["truncated", "unreadable"])
@pytest.mark.parametrize("runtime", ["fast", "funasr"])
def test_damaged_weights_are_named_and_where_to_get_others(
    tmp_path: Path, damage: str, runtime: str
) -> None:
    weights = Path(shutil.copytree(BUNDLED, tmp_path / "model")) / "model.pt"
    content = weights.read_bytes()
    if damage == "truncated":
        weights.write_bytes(content[: len(content) // 2])
    else:
        weights.unlink()
        weights.symlink_to("/proc/self/mem")  # a file whose first byte nobody can read
    with pytest.raises(ModelError, match=f"{re.escape(str(weights))}.*emoseek models pull"):
        load(load_settings(model=str(weights.parent), runtime=runtime), None)
