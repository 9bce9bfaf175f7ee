"""All counting baselines for classes, by name, the weakest first."""

from __future__ import annotations

from habitus.baselines.base import Baseline
from habitus.baselines.boosting import BagLightGBM
from habitus.baselines.logistic import BagLogistic
from habitus.baselines.prior import MostFrequent

BASELINES: dict[str, type[Baseline]] = {
    baseline.name: baseline for baseline in (MostFrequent, BagLogistic, BagLightGBM)
}
