"""Sound files: from a path to samples between -1 and 1, one channel.

PCM wav (8, 16, 24 or 32 bits) is read by the standard library; other forms of wav, and FLAC and Ogg, by soundfile
(extra `audio`), and another sampling rate by soxr (the same extra). What cannot be read raises `BadSound` with a
reason that completes "the file ...": the caller counts it. Knows nothing about frames.
"""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from habitus.errors import MissingExtraError, require

ENDINGS = (".wav", ".flac", ".ogg")
_EXTRA = "audio"


class BadSound(ValueError):
    """A file that cannot be read as sound; the message completes "the file ..."."""


@dataclass(frozen=True)
class Sound:
    """Samples of one recording.

    Args:
        samples: float32 (n,), between -1 and 1; several channels are averaged.
        rate: samples a second.
        n_channels: of the file.
    """

    samples: np.ndarray
    rate: int
    n_channels: int = 1


def read_sound(path: str | Path) -> Sound:
    """Read a sound file.

    Raises:
        BadSound: if it is empty, cut off, or no sound.
        MissingExtraError: if it is sound that only soundfile reads, and that is not installed.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise BadSound("is empty (0 bytes)")
        if path.suffix.lower() == ".wav":
            return _read_pcm(path)
    except OSError as error:
        raise BadSound(f"cannot be opened ({error.strerror})") from error
    except EOFError as error:
        raise BadSound("ends within its header") from error
    except wave.Error as error:
        if "file does not start with RIFF" in str(error):
            raise BadSound("is not a wav file") from error
    return _read_by_soundfile(path)


def resampled(sound: Sound, rate: int) -> Sound:
    """Return the sound at another sampling rate (soxr, high quality, extra `audio`); as it is if the rate is its own.

    >>> resampled(Sound(np.zeros(3, np.float32), 8000), 8000).rate
    8000
    """
    if sound.rate == rate:
        return sound
    soxr = require("soxr", _EXTRA)
    samples = soxr.resample(sound.samples, sound.rate, rate)
    return Sound(np.asarray(samples, np.float32), rate, sound.n_channels)


def _read_pcm(path: Path) -> Sound:
    with wave.open(str(path), "rb") as file:
        n_samples, n_channels, width = file.getnframes(), file.getnchannels(), file.getsampwidth()
        rate, raw = file.getframerate(), file.readframes(file.getnframes())
    if n_samples == 0:
        raise BadSound("holds no samples")
    if len(raw) < n_samples * n_channels * width:
        raise BadSound(f"is cut off: {len(raw) // (n_channels * width):,} of {n_samples:,} samples are there")
    return Sound(_as_floats(raw, width).reshape(-1, n_channels).mean(1, dtype=np.float32), rate, n_channels)


def _as_floats(raw: bytes, width: int) -> np.ndarray:
    """Return samples of 1 (unsigned), 2, 3 or 4 bytes as float32 between -1 and 1.

    >>> _as_floats(b"\\x00\\x80", 2).tolist(), _as_floats(b"\\x00\\x00\\xc0", 3).tolist()
    ([-1.0], [-0.5])
    """
    if width == 1:
        return (np.frombuffer(raw, np.uint8).astype(np.float32) - 128) / 128
    if width == 3:
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        return (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    kind = "<i2" if width == 2 else "<i4"
    return (np.frombuffer(raw, kind) / 2.0 ** (8 * width - 1)).astype(np.float32)


def _read_by_soundfile(path: Path) -> Sound:
    try:
        soundfile = require("soundfile", _EXTRA)
    except MissingExtraError as error:
        kind = "wav other than PCM" if path.suffix.lower() == ".wav" else path.suffix[1:].upper()
        raise MissingExtraError(f"'{path}' is {kind}. {error}") from error
    try:
        samples, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise BadSound("is not sound that can be read") from error
    if len(samples) == 0:
        raise BadSound("holds no samples")
    if not np.isfinite(samples).all():
        raise BadSound("holds samples that are not finite numbers")
    return Sound(samples.mean(1, dtype=np.float32), int(rate), samples.shape[1])
