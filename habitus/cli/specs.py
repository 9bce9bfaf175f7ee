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
    "regress": _LABELLED,
    "pretrain": TaskSpec(split="habitus.data.split:PretrainSplit", model="habitus.model.pretrain:PretrainModel"),
    "next-event": TaskSpec(split="habitus.data.next_split:NextSplit", model="habitus.model:NextEventModel"),
    "generate": TaskSpec(
        split="habitus.data.pairs.split:PairSplit",
        model="habitus.model.generate_pairs:GenerateModel",
        data="habitus.data.pairs.table:PairData",
    ),
    "forecast": TaskSpec(
        split="habitus.data.series.split:SeriesSplit",
        model="habitus.model.forecast:ForecastModel",
        data="habitus.data.series.table:SeriesData",
    ),
    "tag": TaskSpec(split="habitus.data.tags.split:TagSplit", model="habitus.model.tag:TagModel"),
    "embed": TaskSpec(split="habitus.data.split:Split", model="habitus.model.embed:EmbedModel"),
    "answer": TaskSpec(
        split="habitus.data.answer.split:AnswerSplit",
        model="habitus.model.answer:AnswerModel",
        data="habitus.data.answer.options:AnswerData",
    ),
    "transcribe": TaskSpec(
        split="habitus.data.speech_split:SpeechSplit",
        model="habitus.model.transcribe:TranscribeModel",
        data="habitus.data.utterances:SpeechData",
    ),
}
