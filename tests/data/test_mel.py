import numpy as np
import pytest
import torch

from habitus.data.mel import FLOOR, Audio, fft_size, hann, log_mel, mel_of, mel_weights
from habitus.errors import ConfigError
from tests.tones import RATE, tone


def slow_log_mel(samples, rate, audio):
    """Frame by frame, bin by bin, from the definition of the discrete Fourier transform."""
    window, hop = round(audio.window_ms * rate / 1000), round(audio.hop_ms * rate / 1000)
    n_fft = fft_size(window)
    corners = [700 * (10 ** (m / 2595) - 1) for m in np.linspace(mel_of(20.0), mel_of(rate / 2), audio.n_mels + 2)]
    w = [0.5 - 0.5 * np.cos(2 * np.pi * n / window) for n in range(window)]
    frames = []
    for start in range(0, len(samples) - window + 1, hop):
        part = samples[start : start + window] * w
        power = []
        for k in range(n_fft // 2 + 1):
            turn = np.exp(-2j * np.pi * k * np.arange(window) / n_fft)
            power.append(abs((part * turn).sum()) ** 2 / sum(v * v for v in w))
        bands = []
        for low, middle, high in zip(corners, corners[1:], corners[2:], strict=False):
            hz = [k * rate / n_fft for k in range(n_fft // 2 + 1)]
            height = [max(0.0, min((f - low) / (middle - low), (high - f) / (high - middle))) for f in hz]
            bands.append(np.log(np.dot(height, power) / sum(height) + FLOOR))
        frames.append(bands)
    return np.array(frames)


def test_frames_are_those_of_the_definition():
    samples = np.random.default_rng(0).normal(0, 0.1, 500)
    audio = Audio(n_mels=12)
    np.testing.assert_allclose(log_mel(samples, RATE, audio), slow_log_mel(samples, RATE, audio), rtol=1e-4, atol=1e-4)


def test_frames_are_those_of_torch():
    samples = np.random.default_rng(1).normal(0, 0.1, 4000)
    window, n_fft = 200, 512
    aside = (n_fft - window) // 2  # torch puts the window in the middle of its frame
    padded = torch.from_numpy(np.pad(samples, aside))
    found = torch.stft(
        padded, n_fft, 80, window, torch.hann_window(window, dtype=torch.float64), center=False, return_complex=True
    )
    power = found.abs().numpy() ** 2 / (hann(window) ** 2).sum()
    expected = np.log(mel_weights(40, n_fft, RATE) @ power + FLOOR).T
    np.testing.assert_allclose(log_mel(samples, RATE), expected, rtol=1e-4, atol=1e-4)


def test_a_tone_stands_in_its_band():
    weights = mel_weights(40, 512, RATE)
    for hz in (300.0, 1000.0, 2500.0):
        loudest = log_mel(tone(hz, 0.5), RATE).mean(0).argmax()
        heard = (weights[loudest] * np.arange(257) * RATE / 512).sum()
        assert abs(mel_of(heard) - mel_of(hz)) < 60


def test_triangles_are_those_of_torchaudio_up_to_their_area():
    """HTK: 1000 mel are 1000 Hz; every weight is a share."""
    weights = mel_weights(40, 512, RATE)
    np.testing.assert_allclose(weights.sum(1), 1.0)
    assert (np.diff(weights.argmax(1)) >= 0).all()


@pytest.mark.parametrize(("n", "frames"), [(199, 0), (200, 1), (279, 1), (280, 2), (8000, 98)])
def test_a_frame_lies_within_the_recording(n, frames):
    assert log_mel(np.zeros(n), RATE).shape == (frames, 40)


def test_louder_is_the_same_shape_and_silence_is_the_floor():
    samples = np.random.default_rng(2).normal(0, 0.1, 2000)
    louder = log_mel(samples * 2, RATE) - log_mel(samples, RATE)
    np.testing.assert_allclose(louder, np.log(4), atol=1e-3)
    np.testing.assert_allclose(log_mel(np.zeros(2000), RATE), np.log(FLOOR), rtol=1e-6)


def test_options_that_cannot_be_are_refused():
    for options, words in (
        ({"sample_rate": 8}, "samples a second"),
        ({"n_mels": 0}, "leaves no band"),
        ({"hop_ms": 30.0}, "at most window_ms"),
    ):
        with pytest.raises(ConfigError, match=words):
            Audio(**options)
    with pytest.raises(ConfigError, match="finer than a window resolves"):
        mel_weights(400, 512, RATE)
