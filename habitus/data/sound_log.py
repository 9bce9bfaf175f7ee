"""Sound as a log: every recording of a folder is an entity, every frame of it an event, every mel band a number.

`file` is the path below the folder without the ending, `timestamp` 2000-01-01 plus the start of the frame, `mel_00`
and so on are the bands, one group of numbers that a network reads together. The name of the group keeps the sampling
rate, so that a fitted model reads other recordings at the rate of its training. A frame every 20 ms: half as many steps
as a transcriber hears, which is enough to tell words and voices apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from habitus.data.audio import read_recordings
from habitus.data.mel import Audio
from habitus.data.rejects import Rejects
from habitus.data.wav import ENDINGS
from habitus.errors import DataError
from habitus.fields.number import Number
from habitus.fields.schema import Schema

FILE, TIME = "file", "timestamp"
SOUND_ENDING = r"(?i)\.(wav|flac|ogg)$"
_GROUP = re.compile(r"mel (\d+) Hz")
_TABLES = (".parquet", ".pq", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".arrow", ".feather", ".ipc")
_AUDIO = Audio(hop_ms=20.0)
_BEGIN_US = 946_684_800_000_000  # 2000-01-01, because logs begin after 1970-01-01


@dataclass(frozen=True)
class SoundLog:
    """The frames of a folder of sound as a table, what its columns mean, and what became of the files."""

    frame: pl.DataFrame
    fields: Mapping[str, Number]
    rejects: Rejects
    notes: tuple[str, ...]


def is_sound(source: str | Path) -> bool:
    """Say whether a path is a sound file, or a folder that holds sound.

    Raises:
        DataError: for a folder that holds sound and tables: which is the log?
    """
    path = Path(source)
    if path.is_file():
        return path.suffix.lower() in ENDINGS
    if not path.is_dir():
        return False
    names = [file.name.lower() for file in path.rglob("*") if not file.name.startswith((".", "_"))]
    tables = [name for name in names if name.endswith(_TABLES)]
    n_sounds = sum(name.endswith(ENDINGS) for name in names)
    if n_sounds and tables:
        raise DataError(
            f"'{source}' holds sound ({n_sounds:,} files) and tables ({', '.join(sorted(tables)[:3])}); put the tables "
            "elsewhere, or name one of them."
        )
    return n_sounds > 0


def sound_log(source: str | Path, audio: Audio | None = None) -> SoundLog:
    """Read the frames of a folder of sound.

    Args:
        source: the folder, or one file.
        audio: as `audio_of` gives it for a fitted model; None reads 40 bands at the commonest rate of the files.

    Raises:
        DataError: if no file can be read.
    """
    recordings = read_recordings(source, audio or _AUDIO)
    lengths = np.diff(recordings.offsets)
    step = np.arange(len(recordings.frames)) - np.repeat(recordings.offsets[:-1], lengths)
    time_us = _BEGIN_US + np.round(step * recordings.audio.hop_ms * 1000).astype(np.int64)
    names = [f"mel_{band:02d}" for band in range(recordings.audio.n_mels)]
    columns = {
        FILE: pl.Series(np.array(recordings.names, dtype=object), dtype=pl.String).gather(
            np.repeat(np.arange(len(lengths)), lengths)
        ),
        TIME: pl.Series(time_us).cast(pl.Datetime("us", "UTC")),
        **{name: recordings.frames[:, band] for band, name in enumerate(names)},
    }
    field = Number(log=False, group=f"mel {recordings.audio.sample_rate} Hz")
    return SoundLog(pl.DataFrame(columns), dict.fromkeys(names, field), recordings.rejects, recordings.notes)


def audio_of(schema: Schema) -> Audio | None:
    """Return how the sound of a fitted model is read, or None where its log is no sound.

    >>> audio_of(Schema(fields={"mel_00": Number(group="mel 8000 Hz")})).sample_rate
    8000
    """
    groups = [spec.group for spec in schema.fields.values() if isinstance(spec, Number) and spec.group is not None]
    rates = [found.group(1) for group in groups if (found := _GROUP.fullmatch(group))]
    return replace(_AUDIO, sample_rate=int(rates[0]), n_mels=len(rates)) if rates else None
