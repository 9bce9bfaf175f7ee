"""When a single thing decides the target too well to be believed: the bars, stated once.

- A number (an amount, a count, a date): AUC of at least .95, with the low end of its 95 % interval above .9.
- Having something (a value in the history): the same bars for the AUC of having it, .5 + |share of true - share of
  others| / 2; or purity: of at least 20 examples that have it, nearly all have one answer, so that the low end of the
  95 % interval of that share is at least .9 and its odds are 20 times those of all examples.
Each class needs at least 20 examples. Knows nothing about logs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from habitus.audit.leak import counted
from habitus.metrics import auc_interval, wilson

MIN_CLASS = 20
_AUC, _AUC_LOW = 0.95, 0.9
_PURE, _ODDS, _RELATED = 0.9, 20.0, 4.0


@dataclass(frozen=True)
class Decides:
    """How well one thing decides one class.

    Args:
        label: the class, in words.
        auc: of the thing alone.
        n: examples judged.
        n_with: of these, how many have it (all of them for a number).
        rate_with, rate_without: share of the class with and without it; None for a number.
    """

    label: str
    auc: float
    n: int
    n_with: int
    rate_with: float | None = None
    rate_without: float | None = None

    def sentence(self, subject: str) -> str:
        """Say it of a subject, e.g. "the profile field 'x'"."""
        if self.rate_with is None or self.rate_without is None:
            return f"{subject} alone tells {self.label} with AUC {self.auc:.3f} (n = {self.n:,})."
        return (
            f"{subject}: {self.label} in {self.rate_with:.1%} of the {counted(self.n_with, 'example')} with it, in "
            f"{self.rate_without:.1%} of the {self.n - self.n_with:,} without (AUC of having it {self.auc:.3f})."
        )

    def numbers(self) -> dict[str, Any]:
        """Return the figures."""
        return asdict(self)


def judge_number(values: np.ndarray, truth: np.ndarray, label: str) -> Decides | None:
    """Return how well a number ranks a class, if it passes the bar; what is not finite is left out.

    >>> truth = np.arange(100) < 50
    >>> judge_number(np.arange(100.0), truth, "'risk' = 1").auc
    1.0
    """
    known = np.isfinite(values)
    values, truth = values[known], truth[known]
    if min(truth.sum(), (~truth).sum()) < MIN_CLASS or values.min() == values.max():
        return None
    auc = auc_interval(truth.astype(int), values.astype(float))
    if not auc.is_defined:
        return None
    high, low = max(auc.value, 1 - auc.value), max(auc.low, 1 - auc.high)
    return Decides(label, high, len(values), len(values)) if high >= _AUC and low > _AUC_LOW else None


def judge_having(n_with: int, k_with: int, n: int, k: int, label: str) -> Decides | None:
    """Return how well having something decides a class, if it passes a bar.

    Args:
        n_with: examples that have it.
        k_with: of these, how many are of the class.
        n: all examples.
        k: of these, how many are of the class.
        label: the class, in words.

    >>> judge_having(150, 142, 1000, 150, "'risk' = 1").n_with
    150
    >>> judge_having(150, 30, 1000, 150, "'risk' = 1")
    """
    if min(k, n - k) < MIN_CLASS or not 0 < n_with < n:
        return None
    of_class, of_others = wilson(k_with, k), wilson(n_with - k_with, n - k)
    auc = 0.5 + abs(of_class.value - of_others.value) / 2
    auc_low = 0.5 + max(of_class.low - of_others.high, of_others.low - of_class.high) / 2
    if (auc >= _AUC and auc_low > _AUC_LOW) or _is_pure(n_with, k_with, n, k):
        return Decides(label, auc, n, n_with, k_with / n_with, (k - k_with) / (n - n_with))
    return None


def judge_related(n_with: int, k_with: int, n: int, k: int, label: str) -> Decides | None:
    """Return how having something goes with a class, if it plainly does: odds 4 times as high or as low, beyond chance.

    A far lower bar than `judge_having`: for what is suspect already, for another reason.

    >>> judge_related(100, 40, 1000, 150, "'risk' = 1").rate_with
    0.4
    >>> judge_related(100, 20, 1000, 150, "'risk' = 1")
    """
    n_without, k_without = n - n_with, k - k_with
    if min(k, n - k) < MIN_CLASS or not n_with or not n_without:
        return None
    having, lacking = wilson(k_with, n_with), wilson(k_without, n_without)
    times = (k_with + 0.5) * (n_without - k_without + 0.5) / ((n_with - k_with + 0.5) * (k_without + 0.5))
    apart = having.low > lacking.high or having.high < lacking.low
    if not apart or 1 / _RELATED < times < _RELATED:
        return None
    auc = 0.5 + abs(k_with / k - (n_with - k_with) / (n - k)) / 2
    return Decides(label, auc, n, n_with, having.value, lacking.value)


def _is_pure(n_with: int, k_with: int, n: int, k: int) -> bool:
    if n_with < MIN_CLASS:
        return False
    for own, all_ in ((k_with, k), (n_with - k_with, n - k)):
        low = wilson(own, n_with).low
        if low >= _PURE and low * (n - all_) >= _ODDS * all_ * (1 - low):
            return True
    return False
