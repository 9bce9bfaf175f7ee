"""Utterances: recordings with their transcripts, as rows that a task learns from.

    folder of sound + table of transcripts -> recordings and texts joined by name -> `Utterances`

The table is CSV or TSV (or anything that a log may be) with the columns `file` and `text`, and others such as
`speaker` by which `SpeechSplit` can divide. Recordings without a transcript and transcripts without a recording are
counted. Knows nothing about torch.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from habitus.data.audio import Recordings, read_recordings, recording_name
from habitus.data.inference import find_column
from habitus.data.mel import Audio
from habitus.data.rejects import MAX_SAMPLES, Reject, Rejects, printed
from habitus.data.slices import offsets_of, positions
from habitus.data.sources import open_source, readable
from habitus.errors import DataError


@dataclass(frozen=True)
class Utterances:
    """Frames and texts of n utterances, F frames in all.

    Args:
        frames: float32 (F, M).
        offsets: int64 (n+1), utterance i owns frames offsets[i]:offsets[i+1].
        names: of the recordings, (n,).
        texts: what is said, (n,); "" where it is not known.
    """

    frames: np.ndarray
    offsets: np.ndarray
    names: tuple[str, ...]
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each utterance, int64 (n,)."""
        return np.diff(self.offsets)

    def of(self, row: int) -> np.ndarray:
        """Return the frames of one utterance, (T, M)."""
        return self.frames[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: np.ndarray) -> Utterances:
        """Return the given utterances, in the given order."""
        rows, lengths = np.asarray(rows), self.lengths
        start = self.offsets[rows] if len(rows) else np.zeros(0, np.int64)
        return Utterances(
            self.frames[positions(start, start + lengths[rows])],
            offsets_of(lengths[rows]),
            tuple(self.names[row] for row in rows),
            tuple(self.texts[row] for row in rows),
        )

    def arrays(self) -> Iterable[np.ndarray]:
        """Return everything that a fingerprint must cover."""
        texts = "\0".join((*self.names, *self.texts)).encode()
        return self.frames, self.offsets, np.frombuffer(texts, np.uint8)


@dataclass(frozen=True)
class SpeechData:
    """How recordings and transcripts are read.

    Args:
        file: column of the transcripts that names the recording: its path below the folder, ending or not.
        text: column of what is said.
        lower: read transcripts in lower case.
        sample_rate: at which every file is read; None takes the commonest of the files.
        n_mels: bands of a frame.
        window_ms: length of a frame.
        hop_ms: from one frame to the next.

    >>> SpeechData(n_mels=80).audio.n_mels
    80
    """

    file: str = "file"
    text: str = "text"
    lower: bool = True
    sample_rate: int | None = None
    n_mels: int = 40
    window_ms: float = 25.0
    hop_ms: float = 10.0

    def __post_init__(self) -> None:
        self.audio  # noqa: B018 - refuses what cannot be

    @property
    def audio(self) -> Audio:
        """How sound becomes frames."""
        return Audio(self.sample_rate, self.n_mels, self.window_ms, self.hop_ms)

    def plain(self, text: str) -> str:
        """Return a transcript as it is learned: NFC, single spaces, lower case if asked for.

        >>> SpeechData().plain("  Zwei   Drei ")
        'zwei drei'
        """
        text = " ".join(unicodedata.normalize("NFC", text).split())
        return text.lower() if self.lower else text


@dataclass(frozen=True)
class Transcribed:
    """Utterances, the table's rows beside them, and what was left out."""

    rows: Utterances
    table: pl.DataFrame
    recordings: Recordings
    rejects: Rejects
    notes: tuple[str, ...]


def read_transcribed(audio: Any, transcripts: Any, data: SpeechData, known: Audio | None = None) -> Transcribed:
    """Read a folder of sound with its transcripts.

    Args:
        audio: the folder.
        transcripts: a table of file and text, in every form that a log may have.
        data: how to read them.
        known: a fitted model's way to frames, instead of the data's own.

    Raises:
        DataError: if a column is missing, or no recording meets a transcript.
    """
    table, refused, n_rows = _read_table(transcripts, data)
    recordings = read_recordings(audio, known or data.audio, only=table["_name"].to_list())
    place = {name: number for number, name in enumerate(recordings.names)}
    here = table.filter(pl.col("_name").is_in(recordings.names))
    absent = table.filter(~pl.col("_name").is_in(recordings.names))
    bad_names = {recording_name(sample.file.rpartition("/")[2]) for sample in recordings.rejects.samples}
    lost = absent.filter(~pl.col("_name").str.split("/").list.last().is_in(list(bad_names)))
    label = str(transcripts) if isinstance(transcripts, str) else "the transcripts"
    refused += [
        Reject(label, row + 1, data.file, printed(name), "names no file")
        for row, name in lost.select("_row", "_name").iter_rows()
    ]
    rows = np.array([place[name] for name in here["_name"]], dtype=np.int64)
    whole = from_recordings(recordings).take(rows)
    rows_out = replace(whole, texts=tuple(data.plain(text) for text in here[data.text]))
    rejects = _joined(recordings.rejects, refused, n_rows)
    return Transcribed(rows_out, here.drop("_name", "_row"), recordings, rejects, recordings.notes)


def from_recordings(recordings: Recordings) -> Utterances:
    """Return recordings as utterances whose texts are not known."""
    return Utterances(recordings.frames, recordings.offsets, recordings.names, ("",) * len(recordings.names))


def stretched(frames_TM: np.ndarray, length: int) -> np.ndarray:
    """Return frames at another length, float32 (length, M), by straight lines between neighbours.

    >>> stretched(np.array([[0.0], [2.0]]), 3).tolist()
    [[0.0], [1.0], [2.0]]
    """
    if length == len(frames_TM):
        return frames_TM
    at = np.linspace(0, len(frames_TM) - 1, length)
    low = np.minimum(at.astype(np.int64), max(len(frames_TM) - 2, 0))
    share = (at - low)[:, None].astype(np.float32)
    high = np.minimum(low + 1, len(frames_TM) - 1)
    return (frames_TM[low] * (1 - share) + frames_TM[high] * share).astype(np.float32)


def _read_table(transcripts: Any, data: SpeechData) -> tuple[pl.DataFrame, list[Reject], int]:
    source = open_source(transcripts)
    for name in (data.file, data.text):
        find_column(source, name)
    with readable(source.label):
        table = source.frame.collect()
    n_rows = table.height
    table = table.with_columns(
        pl.col(data.file).cast(pl.String).map_elements(recording_name, return_dtype=pl.String).alias("_name"),
        pl.col(data.text).cast(pl.String),
    )
    refused: list[Reject] = []
    checks = (
        (data.file, pl.col("_name").is_null() | (pl.col("_name") == ""), "is missing"),
        (data.text, pl.col(data.text).is_null() | (pl.col(data.text).str.strip_chars() == ""), "is missing"),
        (data.file, ~pl.col("_name").is_first_distinct(), "has a transcript already"),
    )
    for name, is_bad, reason in checks:
        for row, value in table.filter(is_bad).select("_row", name).iter_rows():
            file, number = source.locate(row)
            refused.append(Reject(file, number, name, printed(value), reason))
        table = table.filter(~is_bad)
    if not table.height:
        raise DataError(
            f"{source.label} holds no usable transcript (of {n_rows:,} rows); give the columns '{data.file}' (the "
            f"recording) and '{data.text}' (what is said)."
        )
    return table, refused, n_rows


def _joined(files: Rejects, refused: Sequence[Reject], n_rows: int) -> Rejects:
    counts = dict(files.counts)
    for reject in refused:
        reason = f"'{reject.field}' {reject.reason}"
        counts[reason] = counts.get(reason, 0) + 1
    return Rejects(n_rows, counts, [*files.samples, *refused][:MAX_SAMPLES])
