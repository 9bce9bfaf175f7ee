"""`TranscribeModel`: a folder of recordings and a table of transcripts -> a model that writes down what is said.

    sound -> log-mel frames --+-- split, learn characters and scales -> train (CTC) -> rivals -> judge
    transcripts --------------+

A transcript that is too long for its recording (a step a character) cannot be learned: it is left out and counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from habitus.baselines.transcribe import SPEECH_RIVALS
from habitus.data.audio import read_recordings
from habitus.data.rejects import Rejects
from habitus.data.speech_encoder import SpeechEncoder
from habitus.data.speech_split import SpeechSplit
from habitus.data.utterances import SpeechData, Utterances, from_recordings, read_transcribed
from habitus.errors import ConfigError, did_you_mean
from habitus.metrics.speech import edit_distance
from habitus.model.task_model import TaskModel
from habitus.prepared_task import PreparedTask
from habitus.tasks.hearing import transcribed
from habitus.tasks.transcribe import SpeechNetwork, Transcribe
from habitus.training import Study
from habitus.training.transcribe import SpeechStudy, fits

_SHOWN = 12  # utterances in the report


@dataclass(frozen=True)
class SpeechOptions:
    """Which rivals stand beside a transcriber.

    Args:
        baselines: "commonest transcript" and "nearest by time warping"; the second keeps frames of training utterances
            in the saved model.

    >>> SpeechOptions(baselines=("commonest transcript",)).baselines
    ('commonest transcript',)
    """

    baselines: tuple[str, ...] = tuple(SPEECH_RIVALS)

    def __post_init__(self) -> None:
        for name in self.baselines:
            if name not in SPEECH_RIVALS:
                raise ConfigError(f"There is no rival '{name}' here; {did_you_mean(name, SPEECH_RIVALS)}")


class TranscribeModel(TaskModel, tasks=(Transcribe,)):
    """A `SequenceModel` that transcribes speech; see there for the arguments."""

    sources = ("audio", "transcripts")
    predict_sources = ("audio",)
    split_kind = SpeechSplit
    options_kind = SpeechOptions
    data_kind = SpeechData
    encoder_kind = SpeechEncoder
    rival_kinds = SPEECH_RIVALS

    task: Transcribe
    data: SpeechData
    split: SpeechSplit
    options: SpeechOptions
    encoder_: SpeechEncoder
    network_: SpeechNetwork
    rejects_: Rejects
    notes_: Sequence[str]

    @classmethod
    def default_backbone(cls) -> Any:
        """Return a Transformer that sees the whole utterance."""
        return cls.backbone_from({"name": "transformer", **cls.backbone_defaults(None, "transformer")})

    @classmethod
    def backbone_defaults(cls, task: Any, name: str, data: Any = None) -> Mapping[str, Any]:
        """Return what speech wants: both sides of a step are heard, and the clock says nothing."""
        if name == "transformer":
            return {"causal": False, "time_aware": False}
        return {"bidirectional": True}

    # -- reading

    def prepare(self, audio: Any, transcripts: Any) -> PreparedTask:
        """Read recordings and transcripts, split them, and learn characters and scales from the training part.

        Args:
            audio: a folder of wav files.
            transcripts: a table with the columns `file` and `text` (CSV, TSV, Parquet, a polars or pandas table).
        """
        found = read_transcribed(audio, transcripts, self.data)
        part = self.split.assign(found.table)
        is_train = np.flatnonzero(part == "train")
        encoder = SpeechEncoder.fit(found.rows.take(is_train), found.recordings.audio)
        too_long = ~fits(encoder, found.rows, self.task.stride) & (part == "train")
        part = np.where(too_long, "left-out", part)
        judged = found.rows.take(np.flatnonzero(np.isin(part, ["validation", "test"])))
        notes = [*found.notes, *_left_out(int(too_long.sum())), *self._unknown(encoder, judged)]
        return PreparedTask(
            source=f"{found.recordings.folder}",
            encoder=encoder,
            rows=encoder.encode(found.rows),
            part=part,
            keys=_keys(found.rows),
            facts={
                "n_utterances": len(found.rows),
                "n_frames": int(found.rows.offsets[-1]),
                "minutes": float(found.recordings.seconds.sum() / 60),
                "sample_rate": encoder.audio.sample_rate,
                "n_mels": encoder.audio.n_mels,
                "characters": encoder.characters,
                "split": self.split.sentence(),
            },
            notes=tuple(notes),
            rejects=found.rejects,
        )

    def read(self, audio: Any, transcripts: Any | None = None) -> PreparedTask:
        """Read recordings as the fitted model does; without transcripts the texts are empty."""
        encoder = self.encoder_
        if transcripts is None:
            recordings = read_recordings(audio, encoder.audio)
            rows, rejects, notes = from_recordings(recordings), recordings.rejects, recordings.notes
        else:
            found = read_transcribed(audio, transcripts, self.data, encoder.audio)
            rows, rejects, notes = found.rows, found.rejects, (*found.notes, *self._unknown(encoder, found.rows))
        part = np.full(len(rows), "given")
        return PreparedTask(
            str(audio), encoder, encoder.encode(rows), part, _keys(rows), notes=tuple(notes), rejects=rejects
        )

    # -- learning and answering

    def predict(self, audio: Any) -> pl.DataFrame:
        """Transcribe a folder of recordings.

        Returns:
            A frame of `file` (the path below the folder, without the ending), `prediction`, and `log_probability`:
            the mean logarithm of the share of its characters, 0 at best.
        """
        self._require_fitted()
        prepared = self.read(audio)
        self.rejects_, self.notes_ = prepared.rejects or Rejects(), prepared.notes
        texts, scores = transcribed(self.network_, prepared.rows, self.encoder_, self.task)
        columns = {"file": list(prepared.rows.names), "prediction": texts, "log_probability": scores}
        return pl.DataFrame(columns, schema_overrides={"file": pl.String, "prediction": pl.String})

    def truth(self, rows: Utterances) -> list[str]:
        """Return what was said."""
        return list(rows.texts)

    def answer(self, rows: Utterances) -> list[str]:
        """Return what the model hears."""
        return transcribed(self.network_, rows, self.encoder_, self.task)[0]

    def panels(self, rows: Utterances, truth: Sequence[str], answers: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return a table of utterances beside what was heard, from the worst to the best."""
        heard = answers["model"]
        wrong = [edit_distance(one, two) / max(len(one), 1) for one, two in zip(truth, heard, strict=True)]
        order = np.argsort(-np.array(wrong), kind="stable")
        shown = order[np.unique(np.linspace(0, len(order) - 1, min(_SHOWN, len(order))).astype(int))]
        return [
            {
                "kind": "table",
                "title": "What was said, and what was heard",
                "caption": f"{len(shown)} of {len(rows):,} utterances, evenly spread from the worst to the best.",
                "columns": ["file", "said", "heard", "wrong characters"],
                "rows": [[rows.names[i], truth[i], heard[i], f"{wrong[i]:.0%}"] for i in shown],
            }
        ]

    # -- inside

    def _build_network(self) -> SpeechNetwork:
        encoder = self.encoder_
        step_s = encoder.audio.hop_ms / 1000 * self.task.stride
        return SpeechNetwork(encoder.audio.n_mels, len(encoder.characters), self.backbone, self.task, step_s)

    def _study(self, train_rows: Utterances, validation_rows: Utterances) -> Study:
        return SpeechStudy(self.task, self.encoder_, train_rows, validation_rows)

    def _unknown(self, encoder: SpeechEncoder, judged: Utterances) -> list[str]:
        """Say what of the transcripts that judge cannot be written."""
        counts = {"characters": encoder.unknown(judged.texts)}
        if self.task.decoder == "words":
            counts["words"] = encoder.unknown_words(judged.texts)
        return [
            f"{n:,} {name} of the transcripts that judge were never seen in training; they count as errors."
            for name, n in counts.items()
            if n
        ]

    def _check(self) -> None:
        if getattr(self.backbone, "pooling", "") == "cls":
            raise ConfigError("pooling='cls' adds a step that has no frame; a transcriber pools nothing: leave it out.")


def _keys(rows: Utterances) -> pl.Series:
    """Return a hash of each recording's frames: the same sound under another name is known again."""
    digests = [hashlib.sha256(np.ascontiguousarray(rows.of(row)).data).hexdigest() for row in range(len(rows))]
    return pl.Series(digests, dtype=pl.String)


def _left_out(n_too_long: int) -> list[str]:
    if not n_too_long:
        return []
    return [
        f"{n_too_long:,} training utterances are left out: their transcript has more characters than the recording "
        "has steps. A smaller stride ([task] stride) has more."
    ]
