"""Speech of a toy language for tests: every letter is a tone of its own, written as wav by the standard library."""

import wave

import numpy as np

RATE = 8000
TONES = {"a": 400.0, "b": 900.0, "c": 1600.0, "d": 2600.0}


def tone(hz, seconds=0.12, rate=RATE):
    """One letter: a tone that swells and fades."""
    n = round(seconds * rate)
    return np.sin(2 * np.pi * hz * np.arange(n) / rate) * np.hanning(n)


def spoken(text, rng, rate=RATE):
    """A text as samples between -1 and 1; a space is a pause; speed and loudness vary."""
    parts = []
    for letter in text:
        seconds = rng.uniform(0.1, 0.15)
        parts.append(np.zeros(round(seconds * rate)) if letter == " " else tone(TONES[letter], seconds, rate))
    sound = np.concatenate([np.zeros(rate // 50), *parts, np.zeros(rate // 50)])
    return rng.uniform(0.3, 0.9) * sound + rng.normal(0, 0.002, len(sound))


def write_wav(path, samples, rate=RATE, width=2):
    """Write samples between -1 and 1 as PCM of 1 to 4 bytes; (n, channels) has several channels."""
    samples = np.clip(np.asarray(samples, float), -1, 1 - 2.0**-23)
    whole = np.round(samples * 2.0 ** (8 * width - 1)).astype(np.int64)
    whole = np.minimum(whole, 2 ** (8 * width - 1) - 1)
    raw = (whole + 128).astype(np.uint8).tobytes() if width == 1 else _bytes(whole, width)
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw)


def _bytes(whole, width):
    return whole.astype("<i8").view(np.uint8).reshape(*whole.shape, 8)[..., :width].tobytes()


def write_corpus(folder, n=60, seed=0):
    """Write n utterances of one or two words and a table of file, text, speaker and letters; return its path."""
    rng = np.random.default_rng(seed)
    lines = ["file\ttext\tspeaker"]
    for number in range(n):
        words = ["".join(rng.choice(list(TONES), rng.integers(1, 4))) for _ in range(rng.integers(1, 3))]
        text = " ".join(words)
        write_wav(folder / "sound" / f"u{number:03d}.wav", spoken(text, rng))
        lines.append(f"u{number:03d}.wav\t{text}\tspeaker {number % 5}")
    (folder / "transcripts.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder / "transcripts.tsv"
