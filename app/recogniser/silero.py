"""Silero VAD: how likely it is that somebody speaks, every 32 ms.

The network of silero-vad 6 for 16 kHz with the weights that its wheel ships, after its own
`tinygrad_model.py` (https://github.com/snakers4/silero-vad, MIT). Its package is not imported:
that sets torch to one thread for the whole process, and runs one window at a time. Here the
windows of a block go through the convolutions together.
"""

from __future__ import annotations

import functools
import importlib.metadata
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from app.audio import blocks
from app.domain import Waveform

WINDOW = 512  # samples between two probabilities
CONTEXT = 64  # samples before its window that the network also sees
WINDOWS_AT_ONCE = 1024
WEIGHTS = "silero_vad/data/silero_vad.jit"  # the .safetensors beside it is an older model

# A weight here to its name in the wheel, where `_model.` is the network for 16 kHz.
NAMES = {
    "stft_conv.weight": "stft.forward_basis_buffer",
    **{
        f"conv{number + 1}.{kind}": f"encoder.{number}.reparam_conv.{kind}"
        for number in range(4)
        for kind in ("weight", "bias")
    },
    **{
        f"lstm_cell.{kind}": f"decoder.rnn.{kind}"
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    },
    "final_conv.weight": "decoder.decoder.2.weight",
    "final_conv.bias": "decoder.decoder.2.bias",
}

State = tuple[Tensor, Tensor]  # of the LSTM, (1, 128) each


class SileroVad(nn.Module):
    """Windows of one recording in order → probabilities of speech."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 2 * 129, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        # Not nn.LSTM: its threads meet at each step, and on a busy machine wait there for each
        # other, up to fifty times as long as the step takes.
        self.lstm_cell = nn.LSTMCell(128, 128)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, windows: Tensor, state: State | None) -> tuple[Tensor, State]:
        """(n, CONTEXT + WINDOW) samples → (n,) probabilities, and the state after them."""
        x = self.stft_conv(functional.pad(windows, (0, 64), "reflect").unsqueeze(1))
        x = (x[:, :129].square() + x[:, 129:].square()).sqrt()  # (n, 129, 4) magnitudes
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = conv(x).relu()  # at last (n, 128, 1)
        hidden = []
        for window in x.permute(0, 2, 1):
            state = self.lstm_cell(window, state)
            hidden.append(state[0])
        assert state is not None
        x = torch.stack(hidden, dim=-1).relu()  # (1, 128, n)
        return self.final_conv(x).sigmoid().flatten(), state


def path() -> Path:
    """The model file that the installed silero-vad ships."""
    return Path(str(importlib.metadata.distribution("silero-vad").locate_file(WEIGHTS)))


@functools.cache
def load() -> SileroVad:
    """The network with the weights of the installed silero-vad."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch prefers torch.export
        weights = torch.jit.load(str(path()), map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    network = SileroVad()
    network.load_state_dict({ours: weights[f"_model.{theirs}"] for ours, theirs in NAMES.items()})
    return network.eval()


def speech(waveform: Waveform, go_on: Callable[[], None] = lambda: None) -> NDArray[np.float32]:
    """(N,) samples → (⌈N / 512⌉,) probability of speech in each window of 512 samples.

    Args:
        go_on: called every few seconds of audio; what it raises ends the work.
    """
    network, state, found = load(), None, []
    # Of this thread; it would get as many as the encoder last had, and be slower by them.
    torch.set_num_threads(1)
    with torch.inference_mode():
        for windows in _windows(waveform):
            go_on()
            probabilities, state = network(torch.from_numpy(windows), state)
            found.append(probabilities.numpy())
    return np.concatenate(found)


def _windows(waveform: Waveform) -> Iterator[NDArray[np.float32]]:
    """(n, CONTEXT + WINDOW) of consecutive windows; silence before the first and behind the end."""
    before = np.zeros(CONTEXT, np.float32)
    for block in blocks(waveform, WINDOWS_AT_ONCE * WINDOW):
        samples = np.pad(np.concatenate([before, block]), (0, -len(block) % WINDOW))
        yield np.lib.stride_tricks.sliding_window_view(samples, CONTEXT + WINDOW)[::WINDOW].copy()
        before = samples[-CONTEXT:]
