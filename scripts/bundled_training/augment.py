"""Ways in which the same clip could have reached us: other voices, other tempo, other lines, noise.

Functions on one waveform, (N,) float32 at 16 kHz, change its length or its voice and are run once,
before training; `degrade` works on a batch and is drawn anew at every step.
"""

from __future__ import annotations

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.domain import SAMPLE_RATE

Array = NDArray[np.float32]

FFT = 512
BLOCK = 512  # samples, 32 ms
STEP = 128


def resample(waveform: Array, factor: float) -> Array:
    """Play `factor` times faster: shorter, and pitch and formants higher by that factor."""
    return np.asarray(soxr.resample(waveform, SAMPLE_RATE * factor, SAMPLE_RATE), dtype=np.float32)


def stretch(waveform: Array, factor: float) -> Array:
    """Speak `factor` times faster at the same pitch: WSOLA (Verhelst and Roelands, 1993)."""
    hop, search = BLOCK // 2, 128
    window = np.hanning(BLOCK + 1)[:BLOCK].astype(np.float32)
    count = max(2, int((len(waveform) - BLOCK) / (hop * factor)) + 1)
    padded = np.pad(waveform, (search, BLOCK + 2 * search + hop))
    out = np.zeros(hop * (count - 1) + BLOCK, dtype=np.float32)
    place = search
    for k in range(count):
        out[k * hop : k * hop + BLOCK] += window * padded[place : place + BLOCK]
        follows = padded[place + hop : place + hop + BLOCK]
        wanted = search + int((k + 1) * hop * factor)
        wanted = min(wanted, len(padded) - BLOCK - hop - search)
        around = padded[wanted - search : wanted + search + BLOCK]
        likeness = np.correlate(around, follows, mode="valid")
        place = wanted - search + int(np.argmax(likeness))
    return out


def warp_formants(waveform: Array, factor: float) -> Array:
    """Move the formants by `factor` and leave pitch and tempo: another length of vocal tract.

    The smooth envelope of each block's spectrum (its first 24 cepstral coefficients) is replaced by
    the same envelope on a stretched frequency axis.
    """
    window = np.sqrt(np.hanning(BLOCK + 1)[:BLOCK])
    padded = np.pad(waveform, (BLOCK, 2 * BLOCK))
    blocks = np.lib.stride_tricks.sliding_window_view(padded, BLOCK)[::STEP]
    spectrum = np.fft.rfft(blocks * window)
    cepstrum = np.fft.irfft(np.log(np.abs(spectrum) + 1e-4))
    cepstrum[:, 24:-23] = 0.0
    envelope = np.fft.rfft(cepstrum).real
    bins = np.arange(envelope.shape[1])
    at = np.minimum(bins / factor, bins[-1])
    low = np.minimum(at.astype(np.int64), bins[-1] - 1)
    part = at - low
    moved = envelope[:, low] * (1 - part) + envelope[:, low + 1] * part
    gain = np.exp(np.clip(moved - envelope, -5.0, 5.0))
    shaped = np.fft.irfft(spectrum * gain) * window
    out = np.zeros(len(padded) + BLOCK)
    weight = np.zeros_like(out)
    for k, block in enumerate(shaped):
        out[k * STEP : k * STEP + BLOCK] += block
        weight[k * STEP : k * STEP + BLOCK] += window**2
    body = slice(BLOCK, BLOCK + len(waveform))
    return np.asarray(out[body] / (weight[body] + 1e-6), dtype=np.float32)


def another_voice(waveform: Array, rng: np.random.Generator) -> Array:
    """Another speaker in the same mood: pitch, vocal tract and tempo moved a little."""
    pitch = 2 ** rng.uniform(-0.28, 0.28)
    tract = pitch**0.4 * 2 ** rng.uniform(-0.12, 0.12)
    tempo = 2 ** rng.uniform(-0.18, 0.18)
    # Resampling moves pitch and tract together; the other two undo what was not wanted.
    voice = resample(waveform, pitch)
    voice = stretch(voice, tempo / pitch)
    return warp_formants(voice, tract / pitch)


def degrade(waveforms: Tensor, generator: torch.Generator, chance: float = 0.5) -> Tensor:
    """Noise, a coloured line, or a telephone band, each on some clips of a (B, N) batch."""
    batch, samples = waveforms.shape

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, 1, generator=generator)

    def some(share: float) -> Tensor:
        return torch.rand(batch, 1, generator=generator) < share * chance

    size = 1 << (samples - 1).bit_length()
    spectrum = torch.fft.rfft(waveforms, size)
    hertz = torch.linspace(0.0, SAMPLE_RATE / 2, spectrum.shape[1])
    log_hertz = torch.log2(hertz + 100.0)
    # A slope of up to 3 dB an octave and a wave over the octaves: microphones and rooms.
    tilt = uniform(-0.5, 0.5) * (log_hertz - 10.0)
    wave = uniform(0.0, 0.4) * torch.sin(uniform(0.5, 2.0) * log_hertz + uniform(0.0, 6.3))
    spectrum = spectrum * torch.exp(torch.where(some(0.6), 0.6 * (tilt + wave), 0.0))
    top = torch.where(some(0.3), uniform(3400.0, 7000.0), 9000.0)
    bottom = torch.where(some(0.15), uniform(100.0, 300.0), 0.0)
    spectrum = (
        spectrum
        * torch.sigmoid((top - hertz) / 100.0)
        * torch.sigmoid((hertz - bottom) / 30.0 + 5.0 * (bottom == 0))
    )
    heard = torch.fft.irfft(spectrum, size)[:, :samples]

    colour = torch.exp(-uniform(0.0, 0.7) * (log_hertz - 10.0))
    noise = torch.fft.irfft(
        torch.fft.rfft(torch.randn(batch, samples, generator=generator), size) * colour, size
    )
    noise = noise[:, :samples] / noise[:, :samples].std(dim=1, keepdim=True)
    ratio = torch.where(some(0.8), uniform(8.0, 45.0), 90.0)  # dB
    level = heard.std(dim=1, keepdim=True) * 10 ** (-ratio / 20)
    degraded: Tensor = heard + level * noise
    return degraded
