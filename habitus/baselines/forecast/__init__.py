"""Rivals for forecasts, fitted beside every model: repeating, a straight line, and exponential smoothing."""

from habitus.baselines.forecast.ets import ETS, has_statsforecast
from habitus.baselines.forecast.linear import Linear, ridge
from habitus.baselines.forecast.naive import LastValue, SeasonalNaive
from habitus.baselines.forecast.registry import FORECAST_RIVALS

__all__ = ["ETS", "FORECAST_RIVALS", "LastValue", "Linear", "SeasonalNaive", "has_statsforecast", "ridge"]
