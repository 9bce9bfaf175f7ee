"""Which classes a task's settings build; named by their homes, so that a command loads only those of its own task."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class TaskSpec:
    """The classes of a task, each as "module:Class". The parts before `model` load no torch.

    Args:
        split: which units train, choose and judge.
        model: the kind of model; it knows its task's class, its options' and its backbones'.
        data: how sources are read.
    """

    split: str
    model: str
    data: str = "habitus.data.options:Data"

    def load(self, part: str) -> Any:
        """Return one of the classes."""
        module, _, name = getattr(self, part).partition(":")
        return getattr(import_module(module), name)


_LABELLED = TaskSpec(split="habitus.data.split:Split", model="habitus.model:LabelledModel")

SPECS = {
    "classify": _LABELLED,
    "next-event": TaskSpec(split="habitus.data.next_split:NextSplit", model="habitus.model:NextEventModel"),
}
