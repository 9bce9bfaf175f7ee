"""The study of transcripts: utterances of similar length together, sped up or slowed down a little in training.

The speed of every utterance is a function of seed and epoch, drawn where the batches are, so that a resumed run hears
the same. It changes the number of frames by straight lines between frames, and never below what the text needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor, nn

from habitus.data.loader import length_batches, padding_waste
from habitus.data.speech_encoder import SpeechEncoder
from habitus.data.utterances import Utterances, stretched
from habitus.metrics.speech import speech_metrics
from habitus.tasks.ctc import steps_needed
from habitus.tasks.hearing import heard, speech_batch
from habitus.tasks.transcribe import SpeechBatch, SpeechNetwork, Transcribe, transcript_loss
from habitus.training.optim import Training

_TIE = 1e-3  # share of the loss in the validation metric: an order for epochs of the same error rate


@dataclass(frozen=True)
class SpeechStudy:
    """Utterances to learn from and to judge by; frames are scaled already.

    Args:
        task: stride, speed and how texts are found.
        encoder: numbers of the characters.
        train_rows: every text fits its frames.
        validation_rows: any.
    """

    task: Transcribe
    encoder: SpeechEncoder
    train_rows: Utterances
    validation_rows: Utterances

    @property
    def n_rows(self) -> int:
        """Utterances of an epoch."""
        return len(self.train_rows)

    @property
    def n_targets(self) -> int:
        """Characters of an epoch."""
        return sum(len(ids) for ids in self._ids)

    @property
    def n_events(self) -> int:
        """Frames read in an epoch."""
        return len(self.train_rows.frames)

    def epoch_batches(
        self, epoch: int, training: Training, seed: int, process: int, n_processes: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return rows and their speeds, batch by batch."""
        rng = np.random.default_rng([seed, epoch])
        lengths = self.train_rows.lengths
        sizes = {"batch_tokens": training.batch_tokens, "batch_rows": training.batch_rows}
        batches = length_batches(lengths, rng=rng, by_length=training.by_length, **sizes)
        speeds = rng.uniform(1 - self.task.speed, 1 + self.task.speed, len(lengths))
        n_each = -(-len(batches) // n_processes)
        chosen = [batches[i % len(batches)] for i in range(process, n_each * n_processes, n_processes)]
        return [(rows, speeds[rows]) for rows in chosen]

    def padding_waste(self, batches: list[tuple[np.ndarray, np.ndarray]]) -> float:
        """Return the share of slots that are padding, 0 to 1."""
        return padding_waste(self.train_rows.lengths, [rows for rows, _ in batches])

    def gather(self, chosen: tuple[np.ndarray, np.ndarray]) -> Any:
        """Return utterances at their speeds, with their texts."""
        rows, speeds = chosen
        texts = [self._ids[row] for row in rows]
        lengths = np.maximum(np.round(self.train_rows.lengths[rows] / speeds).astype(np.int64), self._fewest[rows])
        frames = [stretched(self.train_rows.of(row), length) for row, length in zip(rows, lengths, strict=True)]
        return speech_batch(frames, texts)

    def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, int]:
        """Return the loss summed over utterances, and the number of characters."""
        assert isinstance(batch, SpeechBatch), type(batch)
        assert batch.text_lengths is not None, "a training batch has texts"
        log_probs_BTC, n_steps_B = network(batch)
        return transcript_loss(log_probs_BTC, n_steps_B, batch).sum(), int(batch.text_lengths.sum())

    def validate(self, network: nn.Module) -> Mapping[str, Any]:
        """Return the character error rate, negative, where ties go to the smaller loss; the loss is per character."""
        assert isinstance(network, SpeechNetwork), type(network)
        rows = self.validation_rows
        texts, found = heard(network, rows, self.encoder)
        cer = speech_metrics(rows.texts, texts, n_bootstrap=0)["cer"].value
        fitting = np.isfinite(found)
        n_characters = sum(len(rows.texts[row]) for row in np.flatnonzero(fitting))
        loss = float(found[fitting].sum() / max(n_characters, 1))
        return {"validation_loss": loss, "validation_metric": -cer - _TIE * min(loss, 10.0), "monitor": "negative cer"}

    @cached_property
    def _ids(self) -> list[list[int]]:
        return [self.encoder.ids(text) for text in self.train_rows.texts]

    @cached_property
    def _fewest(self) -> np.ndarray:
        """Frames below which a text does not fit, int64 (n,)."""
        return np.array([(steps_needed(ids) - 1) * self.task.stride + 1 for ids in self._ids], dtype=np.int64)


def fits(encoder: SpeechEncoder, rows: Utterances, stride: int) -> np.ndarray:
    """Return whether each transcript fits its recording: a step a character, and one between two of the same."""
    needed = np.array([steps_needed(encoder.ids(text)) for text in rows.texts], dtype=np.int64)
    return needed <= (rows.lengths + stride - 1) // stride
