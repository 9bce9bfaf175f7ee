"""Recordings: the log-mel frames of a folder of sound files, read once, and what became of each file.

A recording is called by its path below the folder, without the ending. Of each recording the quietest parts are raised
to 35 dB below its loud ones, so that rooms of different noise look alike. Files that cannot be read are rejects with a
reason; nothing is dropped in silence. Knows nothing about transcripts, labels or normalisation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from habitus.data.mel import Audio, log_mel
from habitus.data.rejects import MAX_SAMPLES, Reject, Rejects
from habitus.data.slices import offsets_of
from habitus.data.wav import ENDINGS, BadSound, Sound, read_sound, resampled
from habitus.errors import DataError

_FIELD = "sound"  # what a reject calls the content of a file
_LOUD, _RANGE = 0.99, 8.0  # quieter by more than 8 (35 dB) than the loudest hundredth: the room's noise, not speech


@dataclass(frozen=True)
class Recordings:
    """Frames of n recordings, F in all.

    Args:
        names: path below the folder without the ending, (n,).
        frames: log-mel, float32 (F, M).
        offsets: int64 (n+1), recording i owns frames offsets[i]:offsets[i+1].
        seconds: float64 (n,), length of each recording.
        audio: how they were read; its rate is the one that was used.
        folder: where they came from, for people.
        rejects: files left out, by reason.
        notes: sentences to say aloud.
    """

    names: tuple[str, ...]
    frames: np.ndarray
    offsets: np.ndarray
    seconds: np.ndarray
    audio: Audio
    folder: str
    rejects: Rejects
    notes: tuple[str, ...] = ()


def find_sounds(source: str | Path) -> list[Path]:
    """Return the sound files of a folder and its subfolders in order, or the one file that was named.

    Raises:
        DataError: if there is none.
    """
    path = Path(source)
    found = [path] if path.is_file() else sorted(path.rglob("*")) if path.is_dir() else []
    found = [file for file in found if file.is_file() and file.suffix.lower() in ENDINGS]
    found = [file for file in found if not file.name.startswith(".")]
    if not found:
        what = "holds no sound file" if path.exists() else "is neither a file nor a folder"
        raise DataError(f"'{source}' {what}; give a folder of {', '.join(ENDINGS)} files.")
    return found


def recording_name(text: str) -> str:
    """Return what a recording is called: a path without the ending of a sound file.

    >>> recording_name("calls/7.WAV"), recording_name("version 1.2")
    ('calls/7', 'version 1.2')
    """
    ending = next((ending for ending in ENDINGS if text.lower().endswith(ending)), "")
    return text[: len(text) - len(ending)] if ending else text


def read_recordings(source: str | Path, audio: Audio | None = None, only: Sequence[str] | None = None) -> Recordings:
    """Read the frames of a folder of sound files.

    Args:
        source: the folder, or one file.
        audio: window, hop and bands; None takes the defaults. Without a rate the commonest of the files is taken;
            others are resampled.
        only: names of recordings to read; None reads all of them.

    Raises:
        DataError: if no file can be read.
    """
    audio = audio or Audio()
    root, paths = Path(source), find_sounds(source)
    named = {
        path: recording_name((path.relative_to(root) if root.is_dir() else Path(path.name)).as_posix())
        for path in paths
    }
    wanted = None if only is None else set(only)
    sounds, bad = _read_all([path for path in paths if wanted is None or named[path] in wanted], named)
    rates = Counter(sound.rate for sound in sounds.values())
    if rates and audio.sample_rate is None:
        audio = replace(audio, sample_rate=rates.most_common(1)[0][0])
    frames = {path: _frames(sound, audio) for path, sound in sounds.items()}
    least = f"is shorter than one window ({audio.window_ms:g} ms)"
    bad += [(path, least) for path, found in frames.items() if not len(found)]
    good = [path for path, found in frames.items() if len(found)]
    rejects = _rejects(bad, len(bad) + len(good))
    if not good:
        what = rejects.samples[0].sentence() if bad else "none of its files is named in the table"
        raise DataError(f"No recording of '{source}' can be used: {what}. Give PCM wav files, or mend these.")
    return Recordings(
        names=tuple(named[path] for path in good),
        frames=np.concatenate([frames[path] for path in good]),
        offsets=offsets_of(np.array([len(frames[path]) for path in good])),
        seconds=np.array([len(sounds[path].samples) / sounds[path].rate for path in good]),
        audio=audio,
        folder=str(source),
        rejects=rejects,
        notes=_notes([sounds[path] for path in good], audio),
    )


def _read_all(paths: Sequence[Path], named: dict[Path, str]) -> tuple[dict[Path, Sound], list[tuple[Path, str]]]:
    """Return the sounds that can be read, and the others with the reason."""
    sounds: dict[Path, Sound] = {}
    bad: list[tuple[Path, str]] = []
    taken: dict[str, Path] = {}
    for path in paths:
        first = taken.setdefault(named[path], path)
        if first is not path:
            bad.append((path, f"has the name of {first.name}, which is read"))
            continue
        try:
            sounds[path] = read_sound(path)
        except BadSound as error:
            bad.append((path, str(error)))
    return sounds, bad


def _frames(sound: Sound, audio: Audio) -> np.ndarray:
    assert audio.sample_rate is not None, "the commonest rate was taken"
    found = log_mel(resampled(sound, audio.sample_rate).samples, audio.sample_rate, audio)
    return np.maximum(found, np.quantile(found, _LOUD) - _RANGE).astype(np.float32) if len(found) else found


def _rejects(bad: Sequence[tuple[Path, str]], n_files: int) -> Rejects:
    counts = Counter(f"the file {reason}" for _, reason in bad)
    samples = [Reject(str(path), 1, _FIELD, path.suffix, f"cannot be used: it {reason}") for path, reason in bad]
    return Rejects(n_files, dict(counts), samples[:MAX_SAMPLES])


def _notes(sounds: Sequence[Sound], audio: Audio) -> tuple[str, ...]:
    other = [sound.rate for sound in sounds if sound.rate != audio.sample_rate]
    several = sum(sound.n_channels > 1 for sound in sounds)
    said = []
    if other:
        rates = ", ".join(f"{rate:,}" for rate in sorted(set(other)))
        said.append(f"{len(other):,} of {len(sounds):,} files at {rates} Hz are resampled to {audio.sample_rate:,} Hz.")
    if several:
        said.append(f"{several:,} of {len(sounds):,} files have several channels; their mean is read.")
    return tuple(said)
