"""Tasks: what is predicted. One file each: target, head, loss, decoding, default metrics."""

from habitus.tasks.base import Task
from habitus.tasks.classify import Classify
from habitus.tasks.network import Backbone, Embedder, Inputs, SequenceNetwork

__all__ = ["Backbone", "Classify", "Embedder", "Inputs", "SequenceNetwork", "Task"]
