"""`habitus fit transcribe` and `habitus compare transcribe`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from habitus.cli import options as opt
from habitus.cli.task_run import COMMON, SHARES, run_compare, run_fit

TRANSCRIBE = "transcribe"
Audio = Annotated[str, typer.Option(help="Folder of wav files (FLAC and Ogg with the extra `audio`).")]
Transcripts = Annotated[str, typer.Option(help="Table of file and text: CSV, TSV or Parquet.")]

_TASK = opt.group(
    "Options",
    decoder=(Literal["greedy", "beam", "words"], "task.decoder", "How texts are found.", "greedy"),
    stride=(int, "task.stride", "Frames that become one step; a text needs a step a character.", "2"),
)
_SPLITTING = opt.group(
    "Which utterances train and which judge",
    split_by=(str, "split.by", "file, or a column of the transcripts whose values stay together: speaker.", "file"),
    held_out=(list[str], "split.held_out", "Value of that column that judges; may be repeated.", "a random share"),
    **{name: (flag.kind, flag.key, flag.help, flag.default) for name, flag in SHARES.items()},
)
_READING = opt.group(
    "How the data is read",
    sample_rate=(int, "data.sample_rate", "Samples a second at which files are read.", "the commonest of the files"),
    n_mels=(int, "data.n_mels", "Mel bands of a frame.", "40"),
)
_SHARED = {**_TASK, **COMMON, **_SPLITTING, **_READING}
_FLAGS = {**opt.BACKBONE, **_SHARED}


@opt.fits(_FLAGS)
def fit_transcribe(
    audio: Audio,
    transcripts: Transcripts,
    run: opt.Run,
) -> None:
    """Train a model that writes down what is said, and judge it.

    Judged by word and character error rate beside the commonest transcript and the nearest training utterance. Writes
    the model, metrics.json and report.html into the folder.

    Example:

        habitus fit transcribe --audio recordings --transcripts transcripts.tsv --split-by speaker --out runs/speech
    """
    run_fit(TRANSCRIBE, run, {"audio": audio, "transcripts": transcripts})


@opt.compares(_SHARED)
def compare_transcribe(
    audio: Audio,
    transcripts: Transcripts,
    run: opt.Run,
) -> None:
    """Train several transcribers on the same utterances.

    Says which has the lowest word error rate, rivals included, or that it is a tie. Writes compare.json and
    report.html.

    Example:

        habitus compare transcribe --audio recordings --transcripts transcripts.tsv --out runs/compared
    """
    run_compare(TRANSCRIBE, run, {"audio": audio, "transcripts": transcripts})
