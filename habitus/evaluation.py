"""An evaluation: the metrics of a model beside its rivals on the same rows, with paired differences.

Knows answers and targets, not models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from habitus.metrics import Interval
from habitus.tasks.base import Task
from habitus.tasks.judged import JudgedTask


@dataclass(frozen=True)
class Evaluation:
    """Metrics with 95 % intervals on n examples.

    Args:
        task, target: what was predicted.
        n: examples judged.
        split: which examples ("test", or "given").
        metrics: of the model.
        baselines: of each rival, by name.
        differences: model minus rival, paired, for a few metrics.
        notes: sentences to say aloud.
        scores: entity, cutoff, target, and the answers of model and rivals (not in the JSON).
        unit: what `n` counts.
        primary: the metric that says who is better.
        protocol: what a reader must know to compare the figures, where there is more than the split.
        panels: pictures and tables for the report, as plain data (not in the JSON).
    """

    task: str
    target: str | Sequence[str]
    n: int
    split: str
    metrics: Mapping[str, Interval]
    baselines: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    differences: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    scores: pl.DataFrame = field(default_factory=pl.DataFrame)
    unit: str = "examples"
    primary: str = ""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    panels: Sequence[Mapping[str, Any]] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data, as `habitus evaluate --json` prints it."""
        return {
            "task": self.task,
            "target": self.target if isinstance(self.target, str) else list(self.target),
            "n": self.n,
            "unit": self.unit,
            "split": self.split,
            "primary": self.primary,
            **({"protocol": dict(self.protocol)} if self.protocol else {}),
            "metrics": _plain(self.metrics),
            "baselines": {name: _plain(metrics) for name, metrics in self.baselines.items()},
            "differences": {name: _plain(metrics) for name, metrics in self.differences.items()},
            "notes": list(self.notes),
        }


def judge(
    task: Task,
    target: np.ndarray,
    answer: np.ndarray,
    rivals: Mapping[str, np.ndarray],
    *,
    split: str,
    notes: Sequence[str] = (),
    who: pl.DataFrame | None = None,
) -> Evaluation:
    """Judge answers of a model and of its rivals on the same rows.

    `who` holds the entity, cutoff and target of each row; the answers are joined to it.
    """
    columns = task.score_columns(task.score_name, answer)
    for name, rival in rivals.items():
        columns += task.score_columns(name, rival)
    return Evaluation(
        task=task.name,
        target=task.target,
        n=len(target),
        split=split,
        metrics=task.metrics(target, answer),
        baselines={name: task.metrics(target, rival) for name, rival in rivals.items()},
        differences={f"model - {name}": task.differences(target, answer, rival) for name, rival in rivals.items()},
        primary=task.monitor,
        notes=notes,
        scores=(pl.DataFrame() if who is None else who).with_columns(*columns),
    )


def judge_answers(
    task: JudgedTask,
    truth: Any,
    answer: Any,
    rivals: Mapping[str, Any],
    *,
    n: int,
    split: str,
    notes: Sequence[str] = (),
    panels: Sequence[Mapping[str, Any]] = (),
) -> Evaluation:
    """Judge the answers of a model and of its rivals to the same n units, whatever a task's answers are."""
    return Evaluation(
        task=task.name,
        target=task.target,
        n=n,
        split=split,
        metrics=task.metrics(truth, answer),
        baselines={name: task.metrics(truth, rival) for name, rival in rivals.items()},
        differences={f"model - {name}": task.differences(truth, answer, rival) for name, rival in rivals.items()},
        notes=notes,
        unit=task.unit,
        primary=task.monitor,
        protocol=task.protocol(),
        panels=panels,
    )


def _plain(metrics: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: interval.to_json() for name, interval in metrics.items()}
