"""All tasks by name, each with a model that knows it; importing the leaves is what registers them."""

from habitus.model.answer import AnswerModel
from habitus.model.base import SequenceModel
from habitus.model.embed import EmbedModel
from habitus.model.forecast import ForecastModel
from habitus.model.generate_pairs import GenerateModel
from habitus.model.labelled import LabelledModel
from habitus.model.next_event import NextEventModel
from habitus.model.pretrain import PretrainModel
from habitus.model.tag import TagModel
from habitus.model.transcribe import TranscribeModel

TASKS = SequenceModel.task_kinds

__all__ = [
    "TASKS",
    "AnswerModel",
    "EmbedModel",
    "ForecastModel",
    "GenerateModel",
    "LabelledModel",
    "NextEventModel",
    "PretrainModel",
    "TagModel",
    "TranscribeModel",
]
