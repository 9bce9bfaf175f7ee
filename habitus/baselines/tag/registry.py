"""The rivals for tags by name, in the order in which tables show them."""

from habitus.baselines.rival import Rival
from habitus.baselines.tag.frequent import FrequentTag
from habitus.baselines.tag.running import RunningRates
from habitus.baselines.tag.window import WindowLogistic

TAG_BASELINES: dict[str, type[Rival]] = {rival.name: rival for rival in (RunningRates, FrequentTag, WindowLogistic)}
