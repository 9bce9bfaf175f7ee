"""Log-mel frames: what the ear keeps of a sound, some forty numbers every hundredth of a second.

    samples --windows (25 ms, every 10 ms)--> Hann --> |FFT|^2 --> triangles on the mel scale --> log

The mel scale is HTK's, 2595 log10(1 + f / 700) (O'Shaughnessy 1987; Young et al., The HTK Book, section 5.4), not
Slaney's. A band is the weighted mean of the power in its triangle, so that neither the rate nor the length of the FFT
changes its level, and the logarithm has a floor. No padding: a frame lies within the recording. NumPy only.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from habitus.errors import ConfigError

FLOOR = 1e-9  # power below 16-bit quantisation noise is silence
_LOWEST_HZ = 20.0


@dataclass(frozen=True)
class Audio:
    """How sound becomes frames.

    Args:
        sample_rate: samples a second at which every file is read; None takes the commonest of the training files.
        n_mels: bands between 20 Hz and half the rate.
        window_ms: length of a frame.
        hop_ms: from one frame to the next.

    >>> Audio(n_mels=80).hop_ms
    10.0
    """

    sample_rate: int | None = None
    n_mels: int = 40
    window_ms: float = 25.0
    hop_ms: float = 10.0

    def __post_init__(self) -> None:
        if self.sample_rate is not None and self.sample_rate < 1000:
            raise ConfigError(f"sample_rate={self.sample_rate} is in samples a second; use for example 8000 or 16000.")
        if self.n_mels < 1:
            raise ConfigError(f"n_mels={self.n_mels} leaves no band; use for example 40.")
        if not 0 < self.hop_ms <= self.window_ms:
            raise ConfigError(
                f"hop_ms={self.hop_ms} must be above 0 and at most window_ms={self.window_ms}; use 10 and 25."
            )


def log_mel(samples: np.ndarray, rate: int, audio: Audio | None = None) -> np.ndarray:
    """Return log-mel frames, float32 (T, n_mels); T is 0 for a sound shorter than a window.

    Args:
        samples: float (n,), between -1 and 1.
        rate: samples a second.
        audio: window, hop and number of bands; None takes the defaults. Its own rate is not read here.

    >>> log_mel(np.zeros(8000), 8000).shape  # 1 + (8000 - 200) // 80
    (98, 40)
    """
    audio = audio or Audio()
    window, hop = round(audio.window_ms * rate / 1000), max(1, round(audio.hop_ms * rate / 1000))
    if len(samples) < window:
        return np.zeros((0, audio.n_mels), np.float32)
    windows_TW = np.lib.stride_tricks.sliding_window_view(np.asarray(samples, np.float64), window)[::hop]
    n_fft = fft_size(window)
    power_TF = np.abs(np.fft.rfft(windows_TW * hann(window), n_fft)) ** 2 / (hann(window) ** 2).sum()
    return np.log(power_TF @ mel_weights(audio.n_mels, n_fft, rate).T + FLOOR).astype(np.float32)


def fft_size(window: int) -> int:
    """Return a power of two of at least twice the window, so that the lowest band holds a bin.

    >>> fft_size(200)
    512
    """
    return int(1 << (2 * window - 1).bit_length())


def hann(window: int) -> np.ndarray:
    """Return the periodic Hann window, float64 (window,).

    >>> hann(4).round(9).tolist()
    [0.0, 0.5, 1.0, 0.5]
    """
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)


def mel_of(hz: float | np.ndarray) -> np.ndarray:
    """Return the HTK mel value of a frequency.

    >>> round(float(mel_of(1000.0)))
    1000
    """
    return 2595.0 * np.log10(1.0 + np.asarray(hz) / 700.0)


def hz_of(mel: float | np.ndarray) -> np.ndarray:
    """Return the frequency of a mel value: the inverse of `mel_of`."""
    return 700.0 * (10.0 ** (np.asarray(mel) / 2595.0) - 1.0)


@functools.lru_cache(maxsize=16)
def mel_weights(n_mels: int, n_fft: int, rate: int) -> np.ndarray:
    """Return the triangles, float64 (n_mels, n_fft // 2 + 1), each with weights that sum to 1.

    Their corners are spaced evenly in mel between 20 Hz and half the rate.

    Raises:
        ConfigError: if a band is narrower than the FFT resolves.
    """
    corners = hz_of(np.linspace(mel_of(_LOWEST_HZ), mel_of(rate / 2), n_mels + 2))
    bins = np.arange(n_fft // 2 + 1) * rate / n_fft
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    triangles = np.maximum(0.0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)))
    total = triangles.sum(1, keepdims=True)
    if (total == 0).any():
        raise ConfigError(f"n_mels={n_mels} bands are finer than a window resolves at {rate} Hz; use fewer, e.g. 40.")
    return triangles / total
