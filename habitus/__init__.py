"""Habitus turns logs of what people do into predictions.

The public names below are loaded when they are first used, so that `import habitus` (and `habitus --help`) stays
quick and needs no torch. This table is the one exception to the rule that an `__init__.py` only imports.

>>> import habitus as hb
>>> hb.Category(min_count=5).min_count
5
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from habitus.errors import (
    BundleError,
    ConfigError,
    DataError,
    HabitusError,
    MissingExtraError,
    TrainingError,
    did_you_mean,
)

if TYPE_CHECKING:
    from habitus.backbones import GRU, LSTM, RNN, Transformer
    from habitus.data.next_split import NextSplit
    from habitus.data.options import Data
    from habitus.data.simulate import simulate_installs
    from habitus.data.split import Split
    from habitus.fields import Category, Number, Schema
    from habitus.model import NextOptions, Options, SequenceModel, load
    from habitus.tasks import Classify, NextEvent, Sampling
    from habitus.tasks.rules import After, Never, NoImmediateRepeat, Once, Only
    from habitus.training import Training

__version__ = "0.1.0"

__all__ = [
    "SequenceModel",
    "load",
    "Classify",
    "NextEvent",
    "RNN",
    "LSTM",
    "GRU",
    "Transformer",
    "Training",
    "Split",
    "NextSplit",
    "Data",
    "Options",
    "NextOptions",
    "Sampling",
    "After",
    "Never",
    "NoImmediateRepeat",
    "Once",
    "Only",
    "Category",
    "Number",
    "Schema",
    "simulate_installs",
    "HabitusError",
    "BundleError",
    "ConfigError",
    "DataError",
    "MissingExtraError",
    "TrainingError",
]

_HOMES = {
    "SequenceModel": "habitus.model",
    "load": "habitus.model",
    "Classify": "habitus.tasks",
    "NextEvent": "habitus.tasks",
    "Sampling": "habitus.tasks",
    "After": "habitus.tasks.rules",
    "Never": "habitus.tasks.rules",
    "NoImmediateRepeat": "habitus.tasks.rules",
    "Once": "habitus.tasks.rules",
    "Only": "habitus.tasks.rules",
    "NextSplit": "habitus.data.next_split",
    "Data": "habitus.data.options",
    "Options": "habitus.model",
    "NextOptions": "habitus.model",
    "RNN": "habitus.backbones",
    "LSTM": "habitus.backbones",
    "GRU": "habitus.backbones",
    "Transformer": "habitus.backbones",
    "Training": "habitus.training",
    "Split": "habitus.data.split",
    "Category": "habitus.fields",
    "Number": "habitus.fields",
    "Schema": "habitus.fields",
    "simulate_installs": "habitus.data.simulate",
}
_TRAIN_PACKAGES = ("torch", "accelerate", "sklearn")  # brought by the extra `train`


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'habitus' has no attribute '{name}'; {did_you_mean(name, __all__)}")
    try:
        value = getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if error.name not in _TRAIN_PACKAGES:
            raise
        raise MissingExtraError(
            f"habitus.{name} needs the package '{error.name}', which is not installed. "
            "Install it with: pip install 'habitus[train]'"
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
