"""A FunASR-format emotion2vec directory, read and checked before anything of it is run."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from pathlib import Path
from typing import Any

import yaml

from app.domain import HOP, LABELS, WINDOW
from app.errors import ModelError

BUNDLED = Path(__file__).parent / "bundled"
ARITHMETICS = ("fp32", "bf16", "int8")  # each has embeddings, and so a digest, of its own
PULL_AGAIN = "If it was downloaded, `emoseek models pull ID` fetches it anew."
UNUSED_PREFIX = "unuse"  # stale token files name labels so; their logits do not count

ConvSpec = tuple[tuple[int, int, int], ...]  # (channels, kernel, stride) of each layer

_TUPLE = r"\(\s*(\d{1,5})\s*,\s*(\d{1,5})\s*,\s*(\d{1,5})\s*,?\s*\)"
_TERM = re.compile(rf"\s*\[\s*({_TUPLE}(?:\s*,\s*{_TUPLE})*)\s*,?\s*\]\s*(?:\*\s*(\d{{1,2}})\s*)?")


@dataclasses.dataclass(frozen=True, slots=True)
class ModelDirectory:
    """What a directory declares. `columns[i]` is the LABELS position of logit i, or None where
    the token file has it unused."""

    path: Path
    conf: dict[str, Any]  # model_conf of config.yaml, front-end spec in canonical form
    conv_spec: ConvSpec
    columns: tuple[int | None, ...]
    dimension: int
    contents: bytes  # SHA-256 of the weights, the config and the tokens

    @property
    def weights(self) -> Path:
        return self.path / "model.pt"

    def digest(self, dtype: str) -> str:
        """SHA-256 over weights, config, tokens and the dtype class."""
        return hashlib.sha256(dtype.encode() + self.contents).hexdigest()


def read(path: Path) -> ModelDirectory:
    """Read and check a model directory; the weights are not loaded.

    Raises:
        ModelError: a file is missing or does not fit; the message says which and why.
    """
    if not path.is_dir():
        raise ModelError(f"The model directory {path} does not exist.")
    for name in ("config.yaml", "model.pt", "tokens.txt"):
        if not (path / name).is_file():
            raise ModelError(f"The model directory {path} has no {name}.")
    conf = _read_conf(path / "config.yaml")
    audio = _mapping(_mapping(conf, "modalities"), "audio")
    spec = parse_conv_spec(audio.get("feature_encoder_spec"))
    hop = math.prod(stride for _, _, stride in spec)
    if (hop, receptive_field(spec)) != (HOP, WINDOW):
        raise ModelError(
            f"feature_encoder_spec sees {receptive_field(spec)} samples every {hop}; "
            f"emotion2vec sees {WINDOW} every {HOP}."
        )
    dimension = conf.get("embed_dim")
    if not isinstance(dimension, int) or not 1 <= dimension <= 65_536:
        raise ModelError("config.yaml: embed_dim is not a size.")
    # FunASR passes this string to eval(); what it gets is written by us.
    audio["feature_encoder_spec"] = repr(list(spec))
    columns = _read_tokens(path / "tokens.txt")
    return ModelDirectory(path, conf, spec, columns, dimension, _contents(path))


def _contents(path: Path) -> bytes:
    digests = []
    for name in ("model.pt", "config.yaml", "tokens.txt"):
        try:
            with (path / name).open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").digest())
        except OSError as exc:
            raise ModelError(
                f"{path / name} cannot be read ({exc.strerror}). {PULL_AGAIN}"
            ) from exc
    return b"".join(digests)


def parse_conv_spec(text: object) -> ConvSpec:
    """Parse a front-end spec such as `[(512, 10, 5)] + [(512, 3, 2)] * 4`.

    Raises:
        ModelError: it is anything but lists of integer triples, added and repeated.
    """
    problem = ModelError("config.yaml: feature_encoder_spec is not a list of convolutions.")
    if not isinstance(text, str) or len(text) > 1000:
        raise problem
    layers: list[tuple[int, int, int]] = []
    position = 0
    while True:
        term = _TERM.match(text, position)
        if term is None:
            raise problem
        triples = [(int(c), int(k), int(s)) for c, k, s in re.findall(_TUPLE, term.group(1))]
        layers += triples * int(term.group(8) or 1)
        position = term.end()
        if position == len(text):
            break
        if text[position] != "+":
            raise problem
        position += 1
    if not 1 <= len(layers) <= 32 or any(min(layer) < 1 for layer in layers):
        raise problem
    return tuple(layers)


def receptive_field(spec: ConvSpec) -> int:
    """Samples that one output of the stack of convolutions sees."""
    field = 1
    for _, kernel, stride in reversed(spec):
        field = (field - 1) * stride + kernel
    return field


def _read_conf(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise ModelError("config.yaml is not YAML.") from exc
    if not isinstance(config, dict) or config.get("model") != "Emotion2vec":
        raise ModelError("config.yaml does not describe an Emotion2vec model.")
    return _mapping(config, "model_conf")


def _mapping(parent: dict[str, Any], key: str) -> dict[str, Any]:
    found = parent.get(key)
    if not isinstance(found, dict):
        raise ModelError(f"config.yaml: {key} is missing.")
    return found


def _read_tokens(path: Path) -> tuple[int | None, ...]:
    columns: list[int | None] = []
    try:
        lines = path.read_text("utf-8").split()
    except UnicodeDecodeError as exc:
        raise ModelError("tokens.txt is not text.") from exc
    for line in lines:
        name = "unknown" if line == "<unk>" else line.rpartition("/")[2]
        if name.startswith(UNUSED_PREFIX):
            columns.append(None)
        elif name in LABELS and LABELS.index(name) not in columns:
            columns.append(LABELS.index(name))
        else:
            raise ModelError(f"tokens.txt: {line[:40]!r} is not a label, or appears twice.")
    if all(column is None for column in columns):
        raise ModelError("tokens.txt names no label.")
    return tuple(columns)
