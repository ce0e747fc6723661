"""Synthesises the speech-like clips of tests/data, each a few seconds of babble.

A voice is a set of formants and a pitch, a mood bends pitch, rate, loudness and tilt. Vowels
are sums of harmonics under a formant envelope, consonants are filtered noise, silence or a
nasal murmur (source-filter synthesis, Fant 1960; formants after Peterson and Barney 1952).
Nobody's voice and nobody's recording is in them. The same seed gives the same samples. The
bytes of compressed files depend on the encoders' versions too; that of OGG Vorbis holds a random
serial number, that of float WAV the time.

    python scripts/make_test_audio.py [directory]
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import zlib

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]  # (N,) mono or (N, 2), full scale ±1
Curve = NDArray[np.float64]  # (N,) a value for each sample

RATE = 16_000  # Hz
_NOISE_FRAME = 256  # samples of noise shaped at once at 16 kHz

# First four formants in Hz of a grown man's vowels.
VOWELS = {
    "a": (730, 1090, 2440, 3400),
    "e": (530, 1840, 2480, 3500),
    "i": (270, 2290, 3010, 3600),
    "o": (570, 840, 2410, 3300),
    "u": (300, 870, 2240, 3200),
    "ə": (500, 1500, 2500, 3500),
}
# Centre and width in Hz of the noise, and its loudness against a vowel.
FRICATIVES = {"s": (5500, 1600, 0.16), "ʃ": (3200, 1300, 0.2), "f": (4200, 3500, 0.07)}
NASAL = (280, 1050, 2200, 3300)
CONSONANTS = ("s", "ʃ", "f", "m", "t", "")


@dataclasses.dataclass(frozen=True)
class Voice:
    """Whose throat: pitch in Hz, formants against a man's, breath against voice."""

    pitch: float
    formants: float
    breath: float


@dataclasses.dataclass(frozen=True)
class Mood:
    """How it is said. `slope` is the fall (below 0) or rise of a phrase in semitones."""

    pitch: float  # factor
    swing: float  # semitones of accents
    slope: float
    rate: float  # syllables a second
    loudness: float  # peak
    tilt: float  # dB an octave of the source, more is darker
    jitter: float = 0.01
    tremor: float = 0.0  # semitones at 6 Hz


VOICES = {
    "a": Voice(pitch=112, formants=1.0, breath=0.004),
    "b": Voice(pitch=205, formants=1.16, breath=0.006),
    "c": Voice(pitch=92, formants=0.94, breath=0.003),
    "d": Voice(pitch=268, formants=1.3, breath=0.008),
}
MOODS = {
    "calm": Mood(1.0, 1.5, -2, rate=4.2, loudness=0.3, tilt=11),
    "angry": Mood(1.35, 4, -5, rate=5.6, loudness=0.85, tilt=6, jitter=0.03),
    "happy": Mood(1.4, 6, 3, rate=5.2, loudness=0.55, tilt=8),
    "sad": Mood(0.88, 0.8, -4, rate=2.6, loudness=0.15, tilt=15),
    "fearful": Mood(1.5, 2, 1, rate=6.2, loudness=0.35, tilt=10, tremor=0.7),
}
# (mood, voice, seconds): the clips that are kept as 16 kHz FLAC
CLIPS = (
    ("calm", "a", 1.9),
    ("calm", "b", 1.6),
    ("angry", "a", 1.6),
    ("angry", "c", 1.5),
    ("happy", "b", 1.6),
    ("happy", "d", 1.5),
    ("sad", "c", 2.0),
    ("fearful", "d", 1.5),
)


def babble(mood: Mood, voice: Voice, seconds: float, seed: int, rate: int = RATE) -> Samples:
    """Speech-like sound without words, in phrases with pauses between."""
    rng = np.random.default_rng(seed)
    length = round(seconds * rate)
    centres, widths, voiced, noise = _articulate(mood, voice, length, rng, rate)
    pitch = _pitch(mood, voice, voiced, rng, rate)
    speech = _voice(pitch, centres, widths, mood.tilt, rate) * voiced
    speech *= 0.5 / max(1e-9, float(np.abs(speech).max()))
    breath = rng.standard_normal(length) * voice.breath * voiced
    speech += breath + _shaped_noise(noise, rng, rate)
    speech *= mood.loudness / float(np.abs(speech).max())
    room = 4e-5 * rng.standard_normal(length)
    return (speech + room).astype(np.float32)


def _articulate(
    mood: Mood, voice: Voice, length: int, rng: np.random.Generator, rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], Curve, NDArray[np.float64]]:
    """Formants (4, N) and bandwidths (4, N) in Hz, voicing (N,), noise (3, N) as FRICATIVES."""
    centres = np.tile(np.array(VOWELS["ə"], float)[:, None], length)
    voiced = np.zeros(length)
    noise = np.zeros((3, length))
    noise[:2] = np.array([[4000.0], [2000.0]])
    position, syllables = round(0.08 * rate), 0
    while position < length - round(0.15 * rate):
        syllable = round(rate / mood.rate * rng.uniform(0.8, 1.25))
        consonant = CONSONANTS[rng.integers(len(CONSONANTS))]
        vowel = tuple(VOWELS)[rng.integers(len(VOWELS))]
        split = position + (syllable // 3 if consonant else 0)
        end = min(position + syllable, length - round(0.05 * rate))
        if consonant in FRICATIVES:
            noise[:, position:split] = np.array(FRICATIVES[consonant])[:, None]
        elif consonant == "m":
            centres[:, position:split] = np.array(NASAL, float)[:, None]
            voiced[position:split] = 0.35
        elif consonant == "t":
            noise[:, max(position, split - round(0.012 * rate)) : split] = np.array(
                [[4500], [3000], [0.3]]
            )
        centres[:, split:end] = np.array(VOWELS[vowel], float)[:, None]
        voiced[split:end] = rng.uniform(0.7, 1.0)
        position, syllables = position + syllable, syllables + 1
        if syllables % 5 == 4:
            position += round(rate * rng.uniform(0.12, 0.25) * 4.2 / mood.rate)
    smooth = round(0.03 * rate)
    centres = np.stack([_smoothed(row, smooth) for row in centres]) * voice.formants
    noise[2] = _smoothed(noise[2], smooth // 3)
    widths = 60 + 0.04 * centres
    return centres, widths, _smoothed(voiced, smooth), noise


def _pitch(mood: Mood, voice: Voice, voiced: Curve, rng: np.random.Generator, rate: int) -> Curve:
    """Hz: a phrase's slope, accents, and the mood's tremor and jitter."""
    time = np.arange(len(voiced)) / rate
    knots = np.arange(0, time[-1] + 1, 0.9 / mood.rate)
    accents = _smoothed(
        np.interp(time, knots, rng.normal(0, mood.swing / 2, len(knots))), rate // 20
    )
    phrase = mood.slope * (time / time[-1] - 0.5)
    tremor = mood.tremor * np.sin(2 * np.pi * 6 * time)
    jitter = _smoothed(rng.standard_normal(len(time)), rate // 200) * 12 * mood.jitter
    semitones = accents + phrase + tremor + 3 * jitter
    return np.asarray(voice.pitch * mood.pitch * 2 ** (semitones / 12))


def _voice(
    pitch: Curve,
    centres: NDArray[np.float64],
    widths: NDArray[np.float64],
    tilt: float,
    rate: int,
) -> Curve:
    """Harmonics of `pitch` (Hz), each as loud as the formants are at its frequency."""
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = np.zeros(len(pitch))
    top = min(7_600.0, 0.475 * rate)
    for harmonic in range(1, int(top / pitch.min()) + 1):
        frequency = harmonic * pitch
        gain = np.power(harmonic, -tilt / 6.02) * (frequency < top)
        for centre, width in zip(centres, widths, strict=True):
            gain = gain * centre**2 / np.hypot(frequency**2 - centre**2, width * frequency)
        # radiation at the lips adds 6 dB an octave
        voice += gain * harmonic * np.sin(harmonic * phase)
    return voice


def _shaped_noise(noise: NDArray[np.float64], rng: np.random.Generator, rate: int) -> Curve:
    """White noise through a band that moves, by overlapping frames."""
    length = noise.shape[1]
    frame = _NOISE_FRAME * rate // RATE
    hop = frame // 2
    window = np.hanning(frame + 1)[:-1]
    frequencies = np.fft.rfftfreq(frame, 1 / rate)
    shaped = np.zeros(length + 2 * frame)
    for start in range(0, length, hop):
        centre, width, loudness = noise[:, min(start + hop, length - 1)]
        band = np.exp(-0.5 * ((frequencies - centre) / (width / 2)) ** 2)
        spectrum = np.fft.rfft(rng.standard_normal(frame) * window) * band
        shaped[start : start + frame] += loudness * np.fft.irfft(spectrum, frame)
    return shaped[:length]


def _smoothed(curve: Curve, width: int) -> Curve:
    kernel = np.hanning(max(3, width) + 2)
    padded = np.pad(curve, len(kernel), mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), "same")[len(kernel) : -len(kernel)]


def clip(mood: str, voice: str, seconds: float, rate: int = RATE) -> Samples:
    """A clip by name; its seed is made of the names, so that clips do not depend on others."""
    seed = zlib.crc32(f"{mood} {voice}".encode())
    return babble(MOODS[mood], VOICES[voice], seconds, seed, rate)


def write_flac(path: pathlib.Path, samples: Samples, rate: int) -> None:
    """16 bits, packed as tightly as FLAC can."""
    soundfile.write(path, samples, rate, subtype="PCM_16", compression_level=1.0)


def encode(
    path: pathlib.Path, form: str, codec: str, samples: Samples, rate: int, bits: int
) -> None:
    """Writes `samples` through FFmpeg's encoder `codec` at `bits` a second."""
    columns = samples.reshape(len(samples), -1)
    layout = "mono" if columns.shape[1] == 1 else "stereo"
    with av.open(str(path), "w", format=form, options=_MUXER_OPTIONS.get(form, {})) as opened:
        if form == "mp3":
            opened.metadata.update(title="calm voice a", comment="synthetic speech")
        stream = opened.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout, stream.bit_rate = layout, bits
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(columns.T, dtype=np.float32), format="fltp", layout=layout
        )
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(stream.format, layout, rate, stream.frame_size)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            opened.mux(stream.encode(piece))
        opened.mux(stream.encode(None))


# bitexact leaves the encoders' versions and the date out
_MUXER_OPTIONS = {
    "mp4": {"movflags": "+faststart", "fflags": "+bitexact"},
    "mp3": {"fflags": "+bitexact"},
    "ogg": {"fflags": "+bitexact"},
    "adts": {"fflags": "+bitexact"},
}


def main(directory: pathlib.Path) -> None:
    """Writes every clip; the sizes together stay below 500 kB."""
    directory.mkdir(parents=True, exist_ok=True)
    for mood, voice, seconds in CLIPS:
        path = directory / f"{mood}_voice_{voice}.flac"
        write_flac(path, clip(mood, voice, seconds), RATE)

    calm = clip("calm", "a", 1.9)
    to = {rate: soxr.resample(calm, RATE, rate, "VHQ") for rate in (8_000, 44_100, 48_000)}
    encode(directory / "calm_voice_a.mp3", "mp3", "libmp3lame", to[44_100], 44_100, 32_000)
    encode(directory / "calm_voice_a.opus.ogg", "ogg", "libopus", to[48_000], 48_000, 24_000)
    stereo = np.stack([to[44_100], 0.5 * to[44_100]], axis=1)
    encode(directory / "calm_voice_a.m4a", "mp4", "aac", stereo, 44_100, 48_000)
    encode(directory / "calm_voice_a.aac", "adts", "aac", to[44_100], 44_100, 32_000)
    soundfile.write(
        directory / "calm_voice_a.vorbis.ogg", calm, RATE, format="OGG", subtype="VORBIS"
    )

    call = to[8_000][: round(0.5 * 8_000)]
    for kind, subtype in (
        ("u8", "PCM_U8"),
        ("s16", "PCM_16"),
        ("s24", "PCM_24"),
        ("s32", "PCM_32"),
        ("f32", "FLOAT"),
        ("alaw", "ALAW"),
        ("mulaw", "ULAW"),
    ):
        soundfile.write(directory / f"short_call_8k_{kind}.wav", call, 8_000, subtype=subtype)

    agent, customer = clip("calm", "b", 1.1, 48_000), clip("angry", "c", 1.1, 48_000)
    sides = np.stack([agent, 0.6 * customer], axis=1)
    write_flac(directory / "stereo_call_48k.flac", sides, 48_000)


if __name__ == "__main__":
    default = pathlib.Path(__file__).parent.parent / "tests" / "data"
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default)
