"""Hyper-parameter search by optuna. Needs: pip install 'habitus[tune]'.

`space` says what is searched, `trials` does one trial, `search` runs them, `report` shows what mattered.
"""

from habitus.tune.search import Search, tune
from habitus.tune.space import Range, default_space, read_space

__all__ = ["Range", "Search", "default_space", "read_space", "tune"]
