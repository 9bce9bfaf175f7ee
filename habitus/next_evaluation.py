"""An evaluation of next-event models: ranks of the true items over the whole catalogue, beside counting rivals.

Knows ranks and predicted times, not models. Every figure carries its protocol, because the same model gives other
numbers under another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from habitus.metrics import Interval
from habitus.metrics.rank import accuracy, paired_rank_difference, rank_values, ranking_metrics, standard_error

COMPARED = ("ndcg@10", "hr@10", "mrr")
TIE_RULE = "events of equal time keep the order of the log; items of equal score rank by training frequency"


@dataclass(frozen=True)
class Answers:
    """What one model says to the questions of one target.

    Args:
        ranks: int64 (q,), of the true items.
        top_ids: int64 (q, 10), the best items.
        seconds: for all questions.
        more: further metrics of the model (times, other fields).
    """

    ranks: np.ndarray
    top_ids: np.ndarray
    seconds: float
    more: Mapping[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """The metrics of a model and of its rivals on the questions of one target.

    Args:
        n: questions.
        n_users: whose they are; questions of one user are averaged first.
        metrics: of the model.
        standard_errors: of the model's metrics that are means over users.
        baselines: of each rival, by name.
        differences: model minus rival, paired.
        ranks: int64 (q,), of the model's true items, for what needs more than metrics; not in `to_json`.
        rival_ranks: the same of each rival, by name.
    """

    n: int
    n_users: int
    metrics: Mapping[str, Interval]
    standard_errors: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, Interval]]
    differences: Mapping[str, Mapping[str, Interval]]
    ranks: np.ndarray | None = field(default=None, repr=False, compare=False)
    rival_ranks: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "n": self.n,
            "n_users": self.n_users,
            "metrics": _plain(self.metrics),
            "standard_errors": dict(self.standard_errors),
            "baselines": {name: _plain(metrics) for name, metrics in self.baselines.items()},
            "differences": {name: _plain(metrics) for name, metrics in self.differences.items()},
        }


@dataclass(frozen=True)
class NextEvaluation:
    """Metrics with 95 % intervals, by the target that is asked for.

    Args:
        item: what was predicted.
        split: which events judged.
        protocol: what a reader must know to compare the figures.
        targets: "last", and with a temporal split "successive"; where the query time can be told, "last, time told".
        notes: sentences to say aloud.
    """

    item: str
    split: str
    protocol: Mapping[str, Any]
    targets: Mapping[str, Judged]
    notes: Sequence[str] = ()

    @property
    def headline(self) -> Judged:
        """The target that the first table shows."""
        return next(iter(self.targets.values()))

    @property
    def metrics(self) -> Mapping[str, Interval]:
        """Of the headline target."""
        return self.headline.metrics

    @property
    def n(self) -> int:
        """Questions of the headline target."""
        return self.headline.n

    def to_json(self) -> dict[str, Any]:
        """Return plain data, as `habitus evaluate --json` prints it."""
        head = {"task": "next-event", "target": self.item, "split": self.split, "protocol": dict(self.protocol)}
        targets = {name: judged.to_json() for name, judged in self.targets.items()}
        return {**head, **self.headline.to_json(), "targets": targets, "notes": list(self.notes)}


def judge_next(
    model: Answers,
    rivals: Mapping[str, Answers],
    users: np.ndarray,
    popularity: np.ndarray,
) -> Judged:
    """Judge ranks of a model and of its rivals on the same questions.

    Args:
        model, rivals: their answers.
        users: (q,), whose question it is.
        popularity: (V,), training events of every id.
    """
    compared = {
        f"model - {name}": {
            metric: paired_rank_difference(model.ranks, answers.ranks, users, metric) for metric in COMPARED
        }
        for name, answers in rivals.items()
    }
    errors = {metric: standard_error(rank_values(model.ranks, metric), users) for metric in COMPARED}
    return Judged(
        n=len(users),
        n_users=len(np.unique(users)),
        metrics=_metrics(model, users, popularity),
        standard_errors=errors,
        baselines={name: _metrics(answers, users, popularity) for name, answers in rivals.items()},
        differences=compared,
        ranks=model.ranks,
        rival_ranks={name: answers.ranks for name, answers in rivals.items()},
    )


def _metrics(answers: Answers, users: np.ndarray, popularity: np.ndarray) -> dict[str, Interval]:
    found = ranking_metrics(
        answers.ranks,
        users=users,
        top_ids=answers.top_ids,
        popularity=popularity,
        catalogue_size=int((popularity > 0).sum()),
    )
    return {**found, "accuracy": accuracy(answers.ranks, users), **answers.more}


def _plain(metrics: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: interval.to_json() for name, interval in metrics.items()}
