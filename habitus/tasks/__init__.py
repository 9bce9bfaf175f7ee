"""Tasks: what is predicted. One file each: target, head, loss, decoding, default metrics."""

from habitus.tasks.base import Task
from habitus.tasks.classify import Classify
from habitus.tasks.network import Backbone, Embedder, Inputs, SequenceNetwork
from habitus.tasks.next_event import NextEvent, NextEventNetwork
from habitus.tasks.sampling import Sampling

__all__ = [
    "Backbone",
    "Classify",
    "Embedder",
    "Inputs",
    "NextEvent",
    "NextEventNetwork",
    "Sampling",
    "SequenceNetwork",
    "Task",
]
