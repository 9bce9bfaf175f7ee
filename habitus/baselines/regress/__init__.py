"""Rivals by counting for numbers, fitted beside every model of a regression."""

from habitus.baselines.regress.aim import Aim, MeanFactor, mean_factor, with_factor
from habitus.baselines.regress.base import NumberBaseline
from habitus.baselines.regress.boosting import BagLightGBMNumbers
from habitus.baselines.regress.constant import Constant
from habitus.baselines.regress.registry import NUMBER_BASELINES
from habitus.baselines.regress.ridge import BagRidge, choose_ridge

__all__ = [
    "NUMBER_BASELINES",
    "Aim",
    "BagLightGBMNumbers",
    "BagRidge",
    "Constant",
    "MeanFactor",
    "NumberBaseline",
    "choose_ridge",
    "mean_factor",
    "with_factor",
]
