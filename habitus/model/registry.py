"""All tasks by name, each with a model that knows it; importing the leaves is what registers them."""

from habitus.model.base import SequenceModel
from habitus.model.labelled import LabelledModel
from habitus.model.next_event import NextEventModel

TASKS = SequenceModel.task_kinds

__all__ = ["TASKS", "LabelledModel", "NextEventModel"]
