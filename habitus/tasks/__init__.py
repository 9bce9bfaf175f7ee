"""Tasks: what is predicted. One file each: target, head, loss, decoding, default metrics."""

from habitus.tasks.answer import Answer
from habitus.tasks.answer_network import AnswerNetwork
from habitus.tasks.base import Task
from habitus.tasks.classify import Classify
from habitus.tasks.embed import Embed
from habitus.tasks.embed_network import EmbedNetwork
from habitus.tasks.forecast import Forecast
from habitus.tasks.forecast_network import ForecastNetwork
from habitus.tasks.generate import Generate, GenerateNetwork
from habitus.tasks.network import Backbone, Embedder, Inputs, SequenceNetwork
from habitus.tasks.next_event import NextEvent, NextEventNetwork
from habitus.tasks.regress import Regress
from habitus.tasks.sampling import Sampling
from habitus.tasks.tag import Tag
from habitus.tasks.tag_network import TagNetwork
from habitus.tasks.transcribe import SpeechNetwork, Transcribe

__all__ = [
    "Answer",
    "AnswerNetwork",
    "Backbone",
    "Classify",
    "Embed",
    "EmbedNetwork",
    "Embedder",
    "Forecast",
    "ForecastNetwork",
    "Generate",
    "GenerateNetwork",
    "Inputs",
    "NextEvent",
    "NextEventNetwork",
    "Regress",
    "Sampling",
    "SequenceNetwork",
    "SpeechNetwork",
    "Tag",
    "TagNetwork",
    "Task",
    "Transcribe",
]
