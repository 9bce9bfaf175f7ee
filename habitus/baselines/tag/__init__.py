"""Rivals for tags: by counting, and by a linear model over a window of values."""

from habitus.baselines.tag.frequent import FrequentTag
from habitus.baselines.tag.registry import TAG_BASELINES
from habitus.baselines.tag.running import RunningRates
from habitus.baselines.tag.window import WindowLogistic

__all__ = ["TAG_BASELINES", "FrequentTag", "RunningRates", "WindowLogistic"]
