"""All counting baselines for numbers, by name, the weakest first."""

from __future__ import annotations

from habitus.baselines.regress.base import NumberBaseline
from habitus.baselines.regress.boosting import BagLightGBMNumbers
from habitus.baselines.regress.constant import Constant
from habitus.baselines.regress.ridge import BagRidge

NUMBER_BASELINES: dict[str, type[NumberBaseline]] = {
    baseline.name: baseline for baseline in (Constant, BagRidge, BagLightGBMNumbers)
}
