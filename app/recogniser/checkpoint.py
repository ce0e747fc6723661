"""model.pt → named tensors, checked against the shapes that config.yaml and tokens.txt imply."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from app.errors import ModelError
from app.recogniser.model_dir import PULL_AGAIN

NESTINGS = ("state_dict", "model_state_dict", "model")  # where checkpoints keep their weights
PREFIXES = ("", "d2v_model.", "module.")


class Weights:
    """The tensors of one checkpoint, by name; what is not asked for is never read from disk.

    `taken` has the number of parameters of each tensor that was asked for, here or below.
    """

    def __init__(self, tensors: Mapping[str, object]) -> None:
        self._tensors = tensors
        self._within = ""
        self.taken: dict[str, int] = {}

    def __getitem__(self, name: str) -> Weights:
        """The tensors below `name`."""
        below = Weights(self._tensors)
        below._within = f"{self._within}{name}."
        below.taken = self.taken
        return below

    def take(self, name: str, *shape: int) -> torch.Tensor:
        """The tensor `name` of this shape, on the CPU, as it is stored.

        Raises:
            ModelError: it is missing, of another shape, or holds no numbers.
        """
        full = self._within + name
        tensor = next(
            (self._tensors[p + full] for p in PREFIXES if p + full in self._tensors), None
        )
        if not isinstance(tensor, torch.Tensor):
            raise ModelError(f"model.pt has no weight {full}.")
        if tuple(tensor.shape) != shape:
            raise ModelError(
                f"model.pt: {full} is {tuple(tensor.shape)}, config.yaml and tokens.txt say "
                f"{shape}."
            )
        if not tensor.is_floating_point():
            raise ModelError(f"model.pt: {full} holds {tensor.dtype}, not floating-point numbers.")
        self.taken[full] = tensor.numel()
        return tensor


def read_weights(path: Path) -> Weights:
    """Map a checkpoint into memory; only plain tensors and containers are accepted.

    Raises:
        ModelError: the file is no such checkpoint.
    """
    found = _load(path)
    for nesting in NESTINGS:
        if isinstance(found, dict) and isinstance(found.get(nesting), dict):
            found = found[nesting]
    if not isinstance(found, dict):
        raise ModelError("model.pt holds no weights.")
    return Weights({name: value for name, value in found.items() if isinstance(name, str)})


def _load(path: Path) -> object:
    try:
        with path.open("rb") as file:
            mapped = file.read(2) == b"PK"  # files of torch before 1.6 cannot be mapped
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as exc:  # torch raises many kinds for a file that is not a checkpoint
        raise ModelError(
            f"{path} is not a checkpoint of plain tensors, or is damaged. {PULL_AGAIN}"
        ) from exc
