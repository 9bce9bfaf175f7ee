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
    from habitus.backbones import CNN, GRU, LSTM, RNN, EncoderDecoder, Transformer
    from habitus.backbones.pretrained import Pretrained
    from habitus.data.answer.options import AnswerData
    from habitus.data.answer.split import AnswerSplit
    from habitus.data.next_split import NextSplit
    from habitus.data.options import Data
    from habitus.data.pairs.split import PairSplit
    from habitus.data.pairs.table import PairData
    from habitus.data.series.split import SeriesSplit
    from habitus.data.series.table import SeriesData
    from habitus.data.simulate import simulate_installs
    from habitus.data.speech_split import SpeechSplit
    from habitus.data.split import PretrainSplit, Split
    from habitus.data.tags.split import TagSplit
    from habitus.data.utterances import SpeechData
    from habitus.fields import Category, Number, Schema
    from habitus.model import NextOptions, Options, SequenceModel, load
    from habitus.model.answer_options import AnswerOptions
    from habitus.model.embed import EmbedOptions
    from habitus.model.forecast import ForecastOptions
    from habitus.model.generate_pairs import GenerateOptions
    from habitus.model.pretrain_options import PretrainOptions
    from habitus.model.tag import TagOptions
    from habitus.model.text_search import TextIndex
    from habitus.model.transcribe import SpeechOptions
    from habitus.tasks import Answer, Classify, Embed, Forecast, Generate, NextEvent, Regress, Sampling, Tag, Transcribe
    from habitus.tasks.pretrain import Pretrain
    from habitus.tasks.rules import After, Never, NoImmediateRepeat, Once, Only
    from habitus.training import Training

__version__ = "0.1.0"

__all__ = [
    "SequenceModel",
    "load",
    "Classify",
    "Regress",
    "NextEvent",
    "Tag",
    "Generate",
    "Forecast",
    "Embed",
    "Answer",
    "RNN",
    "LSTM",
    "GRU",
    "CNN",
    "Transformer",
    "EncoderDecoder",
    "Pretrained",
    "Training",
    "Split",
    "NextSplit",
    "Data",
    "Options",
    "NextOptions",
    "TagSplit",
    "TagOptions",
    "Pretrain",
    "PretrainSplit",
    "PretrainOptions",
    "Transcribe",
    "SpeechData",
    "SpeechSplit",
    "SpeechOptions",
    "EmbedOptions",
    "TextIndex",
    "AnswerData",
    "AnswerSplit",
    "AnswerOptions",
    "PairSplit",
    "PairData",
    "GenerateOptions",
    "SeriesSplit",
    "SeriesData",
    "ForecastOptions",
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
    "Regress": "habitus.tasks",
    "NextEvent": "habitus.tasks",
    "Generate": "habitus.tasks",
    "Forecast": "habitus.tasks",
    "Embed": "habitus.tasks",
    "Answer": "habitus.tasks",
    "AnswerData": "habitus.data.answer.options",
    "AnswerSplit": "habitus.data.answer.split",
    "AnswerOptions": "habitus.model.answer_options",
    "EmbedOptions": "habitus.model.embed",
    "TextIndex": "habitus.model.text_search",
    "Sampling": "habitus.tasks",
    "Tag": "habitus.tasks",
    "TagSplit": "habitus.data.tags.split",
    "TagOptions": "habitus.model.tag",
    "Pretrain": "habitus.tasks.pretrain",
    "PretrainSplit": "habitus.data.split",
    "PretrainOptions": "habitus.model.pretrain_options",
    "Transcribe": "habitus.tasks",
    "SpeechData": "habitus.data.utterances",
    "SpeechSplit": "habitus.data.speech_split",
    "SpeechOptions": "habitus.model.transcribe",
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
    "CNN": "habitus.backbones",
    "Transformer": "habitus.backbones",
    "EncoderDecoder": "habitus.backbones",
    "Pretrained": "habitus.backbones.pretrained",
    "PairSplit": "habitus.data.pairs.split",
    "PairData": "habitus.data.pairs.table",
    "GenerateOptions": "habitus.model.generate_pairs",
    "SeriesSplit": "habitus.data.series.split",
    "SeriesData": "habitus.data.series.table",
    "ForecastOptions": "habitus.model.forecast",
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
