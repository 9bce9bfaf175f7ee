"""All rivals for forecasts by name, the simplest first."""

from __future__ import annotations

from habitus.baselines.forecast.ets import ETS
from habitus.baselines.forecast.linear import Linear
from habitus.baselines.forecast.naive import LastValue, SeasonalNaive
from habitus.baselines.rival import Rival

FORECAST_RIVALS: dict[str, type[Rival]] = {kind.name: kind for kind in (LastValue, SeasonalNaive, Linear, ETS)}
