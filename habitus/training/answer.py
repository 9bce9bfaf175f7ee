"""The study of answers: windows of questions and passages to learn from, token F1 of whole passages as judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from habitus.data.answer.rows import AnswerRows
from habitus.data.answer.windows import UNTOLD, AnswerWindows
from habitus.data.batch import Batch, SequenceTensors
from habitus.data.loader import padding_waste
from habitus.errors import DataError
from habitus.metrics.answer import AnswerTruth, answer_scores, best_threshold
from habitus.tasks.answer import Answer
from habitus.tasks.answer_decoding import Spans, best_spans
from habitus.tasks.answer_network import AnswerNetwork, Logits, span_loss, window_logits
from habitus.training.optim import Training
from habitus.training.study import sampled


class AnswerStudy:
    """Windows to learn from, and questions to judge by.

    Args:
        task: the longest answer, and the threshold where one is set.
        train_windows: with their targets.
        validation_rows, validation_windows: the questions, and their windows.
        knows_none: whether some training questions have no answer, so that the model may say so.
    """

    def __init__(
        self,
        task: Answer,
        train_windows: AnswerWindows,
        validation_rows: AnswerRows,
        validation_windows: AnswerWindows,
        knows_none: bool,
    ) -> None:
        self.task, self._rows, self._windows = task, validation_rows, validation_windows
        self._knows_none = knows_none
        targets = train_windows.encoded.labels
        learned = np.flatnonzero(targets[:, 0] != UNTOLD)
        if not (targets > 0).any():
            raise DataError("No training question has an answer in its passage; give some that have one.")
        self._train = SequenceTensors(train_windows.encoded.take(learned))
        self._tensors = SequenceTensors(validation_windows.encoded)
        self._lengths = train_windows.encoded.lengths[learned]
        self.n_rows = self.n_targets = len(learned)
        self.n_events = int(self._lengths.sum())

    def epoch_batches(
        self, epoch: int, training: Training, seed: int, process: int, n_processes: int
    ) -> list[np.ndarray]:
        """Return the windows of each batch, similar lengths together."""
        return sampled(self._lengths, epoch, training, seed, process, n_processes)

    def padding_waste(self, batches: list[np.ndarray]) -> float:
        """Return the share of slots that are padding, 0 to 1."""
        return padding_waste(self._lengths, batches)

    def gather(self, chosen: np.ndarray) -> Batch:
        """Return a batch as tensors."""
        return self._train.gather(chosen)

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """Return the loss summed over windows, and their number."""
        assert batch.target is not None, "a batch is gathered with its targets"
        return span_loss(network(batch), batch.target)

    def validate(self, network: nn.Module) -> Mapping[str, Any]:
        """Return the token F1 of the validation questions with the best threshold, and the loss a window."""
        assert isinstance(network, AnswerNetwork), type(network)
        logits = window_logits(network, self._tensors)
        _, metric = self._threshold(logits)
        return {"validation_loss": self._loss(logits), "validation_metric": metric, "monitor": self.task.monitor}

    def threshold(self, network: AnswerNetwork) -> float | None:
        """Return the task's threshold, or the best one on the validation questions; None: always answer."""
        return self._threshold(window_logits(network, self._tensors))[0]

    def _threshold(self, logits: Logits) -> tuple[float | None, float]:
        """Return the task's threshold, or the best one, and the mean token F1 with it."""
        spans = best_spans(self._windows, logits, self._rows.context_ids.lengths, self.task.max_answer_length)
        truth = truth_of(self._rows)
        scores = answer_scores(truth, span_texts(self._rows, spans))[1]
        has_answer = truth.has_answer
        if self.task.threshold is not None:
            declined = spans.declined(self.task.threshold)
            return self.task.threshold, float(np.where(declined, ~has_answer, scores).mean())
        if not self._knows_none:
            return None, float(scores.mean())
        if has_answer.all():  # nothing says what holding back gains
            return 0.0, float(np.where(spans.declined(0.0), 0.0, scores).mean())
        return best_threshold(np.where(has_answer, scores, 0.0), has_answer, spans.margin)

    def _loss(self, logits: Logits) -> float:
        targets = self._windows.encoded.labels
        known = [row for row, target in enumerate(targets[:, 0]) if target != UNTOLD]
        total = 0.0
        for row in known:
            scores, target = torch.from_numpy(logits[row]), torch.from_numpy(targets[row])
            total += float(span_loss(scores[None], target[None])[0])
        return total / max(len(known), 1)


def truth_of(rows: AnswerRows) -> AnswerTruth:
    """Return the true answers of questions, and which share a passage."""
    golds = [[text for text, _ in gold] for gold in rows.golds]
    return AnswerTruth(golds, rows.contexts.rank("dense").to_numpy().astype(np.int64))


def span_texts(rows: AnswerRows, spans: Spans) -> list[str]:
    """Return the texts of the best spans, without spaces around them; "" where there is none."""
    return [text for text, _, _ in located(rows, spans, 0)]


def located(rows: AnswerRows, spans: Spans, rank: int) -> list[tuple[str, int, int]]:
    """Return the text of each span, its first character and the one behind its last; "" and -1 where there is none."""
    found = []
    bounds = zip(spans.first[:, rank].tolist(), spans.last[:, rank].tolist(), strict=True)
    for passage, base, (first, last) in zip(rows.contexts, rows.context_ids.offsets.tolist(), bounds, strict=False):
        if first < 0:
            found.append(("", -1, -1))
            continue
        start, stop = int(rows.start.values[base + first]), int(rows.stop.values[base + last])
        text = passage[start:stop]
        start += len(text) - len(text.lstrip())
        found.append((text.strip(), start, start + len(text.strip())))
    return found
