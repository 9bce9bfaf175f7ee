"""Regress: a number for a whole sequence: what will this customer spend, how many days until they come back?

Target: a column of numbers, scaled by what training saw (`baselines/regress/aim.py`: mean and deviation for squared
error, median and interquartile range for the others), or its logarithm.
Head: one hidden layer. Loss: squared, absolute or Huber's error, or the pinball loss of several quantiles, which
cannot cross: the network gives the median and the steps from one quantile to the next, each made positive by a softplus
(as in Gasthaus et al. 2019, http://proceedings.mlr.press/v89/gasthaus19a.html, where knots are summed up).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from habitus.baselines.regress import (
    NUMBER_BASELINES,
    Aim,
    MeanFactor,
    NumberBaseline,
    choose_ridge,
    mean_factor,
    with_factor,
)
from habitus.config import check_choice
from habitus.data.encode import EncodedSequences
from habitus.errors import ConfigError, DataError
from habitus.metrics import Interval
from habitus.metrics.regress import point_of, regression_differences, regression_metrics
from habitus.tasks.base import Task

LOSSES = ("squared", "absolute", "huber", "quantile")
_QUANTILES = (0.1, 0.5, 0.9)
_MONITORS = {"squared": "r2", "absolute": "mae", "huber": "mae", "quantile": "pinball"}
_MEANINGS = {"squared": "the mean", "absolute": "the median", "huber": "about the median"}
_FEW_DIGITS = 1e-5  # a spread this small beside the centre is lost in float32


class Regress(Task):
    """Predict a number of each sequence.

    Args:
        target: column of the examples table.
        loss: "squared" predicts the mean, "absolute" the median, "huber" between them (large errors count in
            proportion), "quantile" the median and other quantiles.
        log: learn log(1 + target), for amounts of 0 or more whose tail is long. Answers are in the target's unit: a
            median or quantile as it is, a mean by one factor that is learned on validation rows.
        quantiles: levels for the loss "quantile", 0.5 among them; default: 0.1, 0.5 and 0.9.
        huber_delta: error, in spreads of the target, from which Huber's loss grows in proportion.

    >>> task = Regress("amount", loss="absolute")
    >>> task.fit_target(pl.DataFrame({"amount": [1.0, 2.0, 6.0]}))
    >>> task.monitor, task.decode(np.zeros((1, 1), np.float32)).tolist()
    ('mae', [[2.0]])
    """

    name: ClassVar[str] = "regress"
    score_name: ClassVar[str] = "prediction"
    reads_totals: ClassVar[bool] = True
    rivals: ClassVar[Mapping[str, type[NumberBaseline]]] = NUMBER_BASELINES

    def __init__(
        self,
        target: str,
        loss: Literal["squared", "absolute", "huber", "quantile"] = "squared",
        log: bool = False,
        quantiles: Sequence[float] | None = None,
        huber_delta: float = 1.0,
    ) -> None:
        if not isinstance(target, str):
            raise ConfigError(f"target={target!r}; Regress predicts one column, so give one name.")
        check_choice("loss", loss, LOSSES)
        if not isinstance(log, bool):
            raise ConfigError(f"log={log!r} is of the wrong type; say true or false.")
        if not isinstance(huber_delta, int | float) or huber_delta <= 0:
            raise ConfigError(f"huber_delta={huber_delta} is no error to bend at; give a number above 0.")
        self._target, self.loss_name, self.log, self.huber_delta = target, loss, log, huber_delta
        self.levels = _levels(loss, quantiles)
        self.monitor = _MONITORS[loss]
        self.lower_is_better = self.monitor != "r2"
        self.headlines = tuple(dict.fromkeys((self.monitor, "mae", "rmse", "r2")))
        self.aim_ = Aim(loss, self.levels, log, huber_delta=huber_delta)
        self.start_ = [0.0] * self.n_outputs

    @property
    def target(self) -> str:
        """Column of the examples table to predict."""
        return self._target

    @property
    def n_outputs(self) -> int:
        """Number of quantiles, or 1."""
        return max(len(self.levels), 1)

    # -- learning

    def fit_target(self, values: pl.DataFrame) -> None:
        """Learn the scale from the target column of the training examples.

        Raises:
            DataError: if all targets are equal, or so far from 0 that their differences would be lost.
        """
        target = self.encode_target(values).astype(np.float64)
        if len(target) == 0 or target.min() == target.max():
            raise DataError(
                f"The target '{self._target}' has {len(np.unique(target))} different values in training; Regress needs "
                "numbers that differ."
            )
        self.aim_ = Aim.fit(target, self.loss_name, self.levels, log=self.log, huber_delta=self.huber_delta)
        if self.aim_.spread < _FEW_DIGITS * abs(self.aim_.center):
            raise DataError(
                f"The target '{self._target}' lies around {self.aim_.center:g} but spreads over {self.aim_.spread:g} "
                "only, which seven digits cannot hold; subtract a constant from it (from a time, the cutoff)."
            )
        scaled = self.aim_.to_scale(target)
        self.start_ = [float(one) for one in np.quantile(scaled, self.levels)] if self.levels else [0.0]

    def encode_target(self, values: pl.DataFrame) -> np.ndarray:
        """Return the targets in their unit, float32 (n,).

        Raises:
            DataError: for text, and for amounts below 0 where logarithms are learned.
        """
        column = values[self._target]
        if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
            raise DataError(
                f"The target '{self._target}' holds {column.dtype}, such as {column.head(1).to_list()}; Regress needs "
                "numbers. For names of classes, use the task Classify."
            )
        target = column.cast(pl.Float64).to_numpy()
        if self.log and (target < 0).any():
            raise DataError(
                f"The target '{self._target}' holds {target.min():g}, and log=True is for amounts of 0 or more; leave "
                "log out, or predict what was taken and what was given apart."
            )
        return target.astype(np.float32)

    def build_head(self, width: int, hidden: bool = True) -> nn.Sequential:
        """Return hidden layer and output layer, which starts at the median and the quantiles of training."""
        head = super().build_head(width, hidden)
        start = torch.tensor(self.start_)
        point = point_of(self.levels)
        steps = torch.log(torch.expm1(start.diff().clamp_min(1e-2)))  # softplus turned around
        output = head[-1]
        assert isinstance(output, nn.Linear), output
        with torch.no_grad():
            output.bias.copy_(torch.cat([steps[:point], start[point : point + 1], steps[point:]]))
        return head

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each row, (B,), on the scale of the aim."""
        aim = self.aim_
        shaped = torch.log1p(target) if aim.log else target
        error_BQ = ((shaped - aim.center) / aim.spread).to(outputs.dtype)[:, None] - self._ascending(outputs)
        if self.loss_name == "quantile":
            level_Q = torch.tensor(self.levels, dtype=outputs.dtype, device=outputs.device)
            return torch.maximum(level_Q * error_BQ, (level_Q - 1) * error_BQ).mean(-1)
        error_B = error_BQ[:, 0]
        if self.loss_name == "huber":
            return F.huber_loss(error_B, torch.zeros_like(error_B), reduction="none", delta=self.huber_delta)
        return error_B.abs() if self.loss_name == "absolute" else error_B.square()

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Return answers in the target's unit, float64 (n, Q); quantiles ascend."""
        return self.aim_.to_unit(self._ascending(torch.from_numpy(outputs).double()).numpy())

    def _ascending(self, outputs: Tensor) -> Tensor:
        """Return quantiles (B, Q) that ascend, of a median and steps away from it."""
        point = point_of(self.levels)
        median, steps = outputs[:, point : point + 1], F.softplus(outputs)
        below = median - steps[:, :point].flip(1).cumsum(1).flip(1)
        return torch.cat([below, median, median + steps[:, point + 1 :].cumsum(1)], dim=1)

    # -- judging

    def metrics(self, target: np.ndarray, answer: np.ndarray, *, n_bootstrap: int = 500) -> Mapping[str, Interval]:
        """Return MAE, RMSE, R2, median absolute error and bias; for quantiles also pinball loss and coverage."""
        return regression_metrics(target, answer, levels=self.levels, n_bootstrap=n_bootstrap)

    def monitor_value(self, target: np.ndarray, answer: np.ndarray) -> float:
        """Return R2 for squared error (of answers brought to the mean), pinball loss for quantiles, else MAE."""
        answer = with_factor(answer, mean_factor(self.aim_, target, answer))
        return self.metrics(target, answer, n_bootstrap=0)[self.monitor].value

    def differences(self, target: np.ndarray, answer: np.ndarray, other: np.ndarray) -> Mapping[str, Interval]:
        """Return paired differences in the same metrics, but for bias and coverage."""
        return regression_differences(target, answer, other, levels=self.levels)

    # -- what stands beside the network

    def fit_linear(
        self, x: Any, target: np.ndarray, x_validation: Any, target_validation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fit a ridge regression of the scaled target: it moves the centre and leaves the steps between quantiles."""
        coef, bias = np.zeros((self.n_outputs, x.shape[1])), np.zeros(self.n_outputs)
        scaled, scaled_validation = (self.aim_.to_scale(one.astype(np.float64)) for one in (target, target_validation))
        point = point_of(self.levels)
        coef[point], bias[point] = choose_ridge(x, scaled, x_validation, scaled_validation)
        return coef, bias

    def fit_rival(
        self, name: str, train: EncodedSequences, validation: EncodedSequences, sizes: Mapping[str, int]
    ) -> NumberBaseline:
        """Return the counting rival of a name, fitted for the same aim."""
        return NUMBER_BASELINES[name]().fit(train, validation, dict(sizes), self.aim_)

    def rival_answer(self, rival: NumberBaseline, encoded: EncodedSequences) -> np.ndarray:
        """Return a rival's answers (n, Q)."""
        return rival.predict(encoded)

    # -- after training

    def check_calibration(self, kind: str) -> None:
        """Refuse a calibration, which is of probabilities."""
        if kind != "none":
            raise ConfigError(f"calibration={kind!r} maps probabilities of classes; leave it out for numbers.")

    def fit_calibration(self, kind: str, target: np.ndarray, answer: np.ndarray) -> MeanFactor:
        """Learn the factor from logarithms to means; 1 where nothing is to do."""
        return MeanFactor(mean_factor(self.aim_, target, answer))

    def calibrated(self, fitted: MeanFactor, answer: np.ndarray) -> np.ndarray:
        """Return answers times the factor."""
        return with_factor(answer, fitted.factor)

    def calibration_from_json(self, data: Mapping[str, Any]) -> MeanFactor:
        """Restore the factor."""
        return MeanFactor(float(data["parameters"]["factor"]))

    # -- what people see

    def answer_columns(self, answer: np.ndarray) -> list[pl.Series]:
        """Return `prediction`, and for quantiles `prediction_q10` and so on."""
        point = pl.Series("prediction", answer[:, point_of(self.levels)])
        return [point, *(pl.Series(f"prediction_{name}", answer[:, k]) for k, name in enumerate(self._names()))]

    def score_columns(self, name: str, answer: np.ndarray) -> list[pl.Series]:
        """Return answers as one column, or one a quantile."""
        names = [f"{name}_{level}" for level in self._names()] or [name]
        return [pl.Series(one, answer[:, k]) for k, one in enumerate(names)]

    def report_facts(self, scores: pl.DataFrame) -> dict[str, Any]:
        """Return what an answer means, and the quantiles by the ends of their columns' names."""
        return {"meaning": self.answers_words(), "quantiles": dict(zip(self._names(), self.levels, strict=True))}

    def answers_words(self) -> str:
        """Say which number."""
        if self.levels:
            return f"the quantiles {', '.join(f'{level:g}' for level in self.levels)} of `{self._target}`"
        return f"{_MEANINGS[self.loss_name]} of `{self._target}`"

    def _names(self) -> list[str]:
        return [f"q{100 * level:.4g}" for level in self.levels]

    # -- saving

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""
        options = {
            "target": self._target,
            "loss": self.loss_name,
            "log": self.log,
            "quantiles": list(self.levels) or None,
            "huber_delta": self.huber_delta,
        }
        return {"name": self.name, "options": options, "aim": self.aim_.to_json(), "start": self.start_}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Regress:
        """Build from `to_json` data."""
        task = cls(**data["options"])
        task.aim_, task.start_ = Aim.from_json(data["aim"]), list(data["start"])
        return task


def _levels(loss: str, quantiles: Sequence[float] | None) -> tuple[float, ...]:
    """Return the levels of quantiles, ascending, checked; none for the other losses."""
    if loss != "quantile":
        if quantiles:
            raise ConfigError(f"quantiles={quantiles!r} are of the loss 'quantile', but loss={loss!r}.")
        return ()
    given = quantiles or _QUANTILES
    if isinstance(given, str) or not all(isinstance(one, int | float) for one in given):
        raise ConfigError(f"quantiles={given!r} are of the wrong type; give a list of numbers.")
    levels = tuple(sorted(set(given)))
    if levels[0] <= 0 or levels[-1] >= 1:
        raise ConfigError(f"quantiles={list(levels)} are shares; each must lie above 0 and below 1.")
    if 0.5 not in levels:
        raise ConfigError(f"quantiles={list(levels)} hold no 0.5; add it: the median is the prediction.")
    return levels
