"""What a task is: target, head, loss, decoding, default metrics.

The training loop and the model know tasks only through this interface, so that a new task is one new file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import polars as pl
from torch import Tensor, nn

from habitus.backbones.dropout import Dropout
from habitus.data.encode import EncodedSequences
from habitus.metrics import Interval

_HEAD_DROPOUT = 0.1
_LINEAR_DROPOUT = 0.3  # before an output layer alone


class AnswerMap(Protocol):
    """A map of answers that is learned on validation rows after training, such as a calibration."""

    @property
    def kind(self) -> str:
        """Its name, "none" where it changes nothing."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""


class Task(ABC):
    """What is predicted from a sequence.

    A task is configured by its constructor and learns what it must know of the target in `fit_target`.
    """

    name: ClassVar[str]
    unit: ClassVar[str] = "examples"  # what `n` counts
    monitor: str  # the metric that chooses the best epoch and says who wins
    lower_is_better: bool = False  # of the monitor
    headlines: Sequence[str]  # the few metrics that cards and tables of comparisons show
    score_name: ClassVar[str]  # how columns of the model's answers begin
    reads_totals: ClassVar[bool] = False  # whether the wide path reads sums of numbers
    log: bool = False  # whether a logarithm of the target is learned
    rivals: ClassVar[Mapping[str, Any]]  # kinds of counting rivals, by name

    @property
    @abstractmethod
    def target(self) -> str | Sequence[str]:
        """Column (or columns) of the examples table to predict."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Width of the head."""

    @abstractmethod
    def fit_target(self, values: pl.DataFrame) -> None:
        """Learn from the target columns of the training examples (classes, weights, scale)."""

    @abstractmethod
    def encode_target(self, values: pl.DataFrame) -> np.ndarray:
        """Return what the loss reads, (n, ...)."""

    def build_head(self, width: int, hidden: bool = True) -> nn.Sequential:
        """Return the module from the pooled state (B, width) to outputs (B, n_outputs).

        Hidden layer, GELU, dropout and the output layer, which starts at zero; without `hidden` more dropout and the
        output layer.
        """
        output = nn.Linear(width, self.n_outputs)
        nn.init.zeros_(output.weight)
        if not hidden:
            return nn.Sequential(Dropout(_LINEAR_DROPOUT), output)
        return nn.Sequential(nn.Linear(width, width), nn.GELU(), Dropout(_HEAD_DROPOUT), output)

    @abstractmethod
    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row, (B,)."""

    @abstractmethod
    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Return probabilities (or other answers) of raw outputs (n, n_outputs)."""

    @abstractmethod
    def metrics(self, target: np.ndarray, answer: np.ndarray, *, n_bootstrap: int = 500) -> Mapping[str, Interval]:
        """Return the default metrics of decoded answers, each with its interval."""

    @abstractmethod
    def monitor_value(self, target: np.ndarray, answer: np.ndarray) -> float:
        """Return the monitor of decoded answers, NaN where it has no value."""

    @abstractmethod
    def differences(self, target: np.ndarray, answer: np.ndarray, other: np.ndarray) -> Mapping[str, Interval]:
        """Return paired differences, answer minus other, in the metrics that rank models; the monitor is one."""

    # -- what stands beside the network

    @abstractmethod
    def fit_linear(
        self, x: Any, target: np.ndarray, x_validation: Any, target_validation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fit the wide path: return coefficients (n_outputs, F) and bias (n_outputs,), on the scale of the outputs."""

    @abstractmethod
    def fit_rival(
        self, name: str, train: EncodedSequences, validation: EncodedSequences, sizes: Mapping[str, int]
    ) -> Any:
        """Return the counting rival of a name, fitted on rows with targets; `sizes` are ids of every category."""

    @abstractmethod
    def rival_answer(self, rival: Any, encoded: EncodedSequences) -> np.ndarray:
        """Return a rival's answers, of the shape that `decode` gives."""

    # -- after training

    @abstractmethod
    def check_calibration(self, kind: str) -> None:
        """Refuse before training a calibration that could only fail after it."""

    @abstractmethod
    def fit_calibration(self, kind: str, target: np.ndarray, answer: np.ndarray) -> AnswerMap:
        """Learn from decoded answers to validation rows how to map answers."""

    @abstractmethod
    def calibrated(self, fitted: Any, answer: np.ndarray) -> np.ndarray:
        """Apply what `fit_calibration` returned."""

    @abstractmethod
    def calibration_from_json(self, data: Mapping[str, Any]) -> AnswerMap:
        """Restore what `fit_calibration` returned."""

    # -- what people see

    @abstractmethod
    def answer_columns(self, answer: np.ndarray) -> list[pl.Series]:
        """Return what a prediction shows."""

    @abstractmethod
    def score_columns(self, name: str, answer: np.ndarray) -> list[pl.Series]:
        """Return answers as columns of numbers for the file of test scores; `name` says whose they are."""

    @abstractmethod
    def report_facts(self, scores: pl.DataFrame) -> dict[str, Any]:
        """Return what metrics.json holds besides metrics, given the file of test scores."""

    def positive_code(self) -> int | None:
        """Return the encoded target whose rate reports show; None where there is none."""
        return None

    @abstractmethod
    def answers_words(self) -> str:
        """Say for a model card what is answered, as in "the probabilities of 2 classes (0, 1)"."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle: options and what was learned."""
