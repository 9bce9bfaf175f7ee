"""Rivals by counting, fitted beside every model."""

from habitus.baselines.bag import BagFeatures
from habitus.baselines.base import Baseline
from habitus.baselines.boosting import BagLightGBM
from habitus.baselines.logistic import BagLogistic
from habitus.baselines.prior import MostFrequent
from habitus.baselines.registry import BASELINES

__all__ = ["BASELINES", "BagFeatures", "BagLightGBM", "BagLogistic", "Baseline", "MostFrequent"]
