"""Models: a schema, a backbone, a task, and what was learned; with fit, evaluate, predict, save."""

from habitus.model.backbone_names import BACKBONES, backbone_from
from habitus.model.base import SequenceModel, load
from habitus.model.labelled import LabelledModel
from habitus.model.labelled_options import Options
from habitus.model.next_event import NextEventModel
from habitus.model.next_options import NextOptions
from habitus.model.registry import TASKS

__all__ = [
    "BACKBONES",
    "TASKS",
    "LabelledModel",
    "NextEventModel",
    "NextOptions",
    "Options",
    "SequenceModel",
    "backbone_from",
    "load",
]
