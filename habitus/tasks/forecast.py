"""Forecast: the next K values of series, with what may happen around them.

Target: the values of all variables from an origin on. Head (`forecast_network.py`): all steps of the horizon at once.
Loss: "quantile" (pinball over the quantiles, Koenker & Bassett 1978, https://doi.org/10.2307/1913643), "mse" (the mean)
or "mae" (the median alone), over the values that the log has, on the scale of the training part. Decoding: the median
is the prediction; quantiles cannot cross, because the network adds their distances up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from habitus.config import check_choice
from habitus.data.series.forecasts import DECILES, Answer, Truth
from habitus.errors import ConfigError
from habitus.metrics import Interval
from habitus.metrics.forecast import forecast_differences, forecast_metrics
from habitus.tasks.judged import JudgedTask


@dataclass(frozen=True)
class Forecast(JudgedTask):
    """Predict the next values of series.

    Args:
        value: columns to forecast; none takes every column of numbers.
        horizon: steps to predict, K.
        context: steps that are read before the origin, T; None: 14 seasons or 3 horizons, the longer, and at most
            half of training.
        loss: "quantile", "mse" or "mae".
        quantiles: with the loss "quantile"; rising, 0.5 among them.
        variables: "independent" reads each variable alone with the same weights (Nie et al. 2023, arXiv:2211.14730,
            section 3.1), "joint" reads all of them together.
        normalise: each window by its own mean and deviation ("window"; Kim et al. 2022,
            https://openreview.net/forum?id=cGDAkQo1C0p, without their learned affine map), by its last value ("last";
            Zeng et al. 2023, arXiv:2205.13504, NLinear), or not at all beyond the training scale ("series").
        patch: steps that become one step vector; None: 16, or less so that there are at least 8 of them.
        linear: add a linear map from the context to the horizon (Zeng et al. 2023; without their decomposition into
            trend and rest, which is linear itself).
        calendar: read the calendar of past and future steps.

    >>> Forecast(("load",), horizon=96).monitor
    'mase'
    """

    name: ClassVar[str] = "forecast"
    monitor: ClassVar[str] = "mase"
    lower_is_better: ClassVar[bool] = True
    unit: ClassVar[str] = "origins"

    value: tuple[str, ...] = ()
    horizon: int = 24
    context: int | None = None
    loss: Literal["quantile", "mse", "mae"] = "quantile"
    quantiles: tuple[float, ...] = DECILES
    variables: Literal["independent", "joint"] = "independent"
    normalise: Literal["window", "last", "series"] = "window"
    patch: int | None = None
    linear: bool = True
    calendar: bool = True

    def __post_init__(self) -> None:
        check_choice("loss", self.loss, ("quantile", "mse", "mae"))
        check_choice("variables", self.variables, ("independent", "joint"))
        check_choice("normalise", self.normalise, ("window", "last", "series"))
        for name in ("horizon", "context", "patch"):
            found = getattr(self, name)
            if found is not None and found < 1:
                raise ConfigError(f"{name}={found} is no number of steps; use 1 or more.")
        levels = self.quantiles
        if 0.5 not in levels or not all(0 < level < 1 for level in levels) or list(levels) != sorted(set(levels)):
            raise ConfigError(
                f"quantiles={list(levels)} must rise within 0 to 1 and hold 0.5, the median, which is the prediction; "
                "such as [0.1, 0.5, 0.9]."
            )

    @property
    def target(self) -> str:  # type: ignore[override]
        """What titles of tables print."""
        shown = ", ".join(self.value) if self.value else "every column of numbers"
        return f"{shown}, {self.horizon} steps ahead"

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles that the network answers with; none where it answers with one number."""
        return tuple(self.quantiles) if self.loss == "quantile" else ()

    def metrics(self, truth: Truth, answer: Answer) -> Mapping[str, Interval]:
        """Return all metrics; see `habitus.metrics.forecast`."""
        return forecast_metrics(truth, answer)

    def differences(self, truth: Truth, answer: Answer, other: Answer) -> Mapping[str, Interval]:
        """Return paired differences on the origins that both answered."""
        return forecast_differences(truth, answer, other)

    def protocol(self) -> Mapping[str, Any]:
        """Return what a reader must know to compare the figures."""
        return {
            "horizon": self.horizon,
            "scale": "mse, mae and crps: (value - mean) / standard deviation of the training part; *_own: own unit",
            "crps": "2 x mean pinball loss over the quantiles; the absolute error of a forecast without quantiles",
            "intervals": "moving blocks of origins within series; series where there are 20 or more",
        }

    def losses(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each value, (...), from outputs (..., R) on the scale of the target (...)."""
        if self.loss == "quantile":
            return pinball(output, target, output.new_tensor(self.quantiles))
        error = output[..., 0] - target
        return error.square() if self.loss == "mse" else error.abs()


def pinball(quantiles: Tensor, target: Tensor, levels: Tensor) -> Tensor:
    """Return the pinball loss summed over quantiles (..., Q) of targets (...), divided by Q.

    Expects levels (Q,). Its mean times 2 is the CRPS that is reported; its neighbour is the absolute error, which is
    twice the loss of the median alone.

    >>> import torch
    >>> pinball(torch.tensor([[1.0, 4.0]]), torch.tensor([3.0]), torch.tensor([0.5, 0.9])).item()
    0.550000011920929
    """
    over = target[..., None] - quantiles
    return (levels * over + F.relu(-over)).mean(dim=-1)
