"""Tag: a label for every event: right or wrong, a slot, an entity, a kind of payment.

Target: a column of the log itself. Head: one linear layer a step, or a linear-chain CRF over the whole row.
An event's own label is never its input; with `label_history` the labels of earlier events are, as they are known when
the event happens (was the last answer right?). Loss: cross-entropy over labelled events, or the CRF's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from habitus.config import check_choice
from habitus.data.tags.tagged import Tagged, Tags
from habitus.errors import ConfigError, DataError
from habitus.metrics import Interval
from habitus.metrics.tag import (
    Statistic,
    binary_statistic,
    differences,
    entity_statistic,
    intervals,
    label_statistic,
    value_of,
)
from habitus.tasks.judged import JudgedTask

_BIO_STARTS = ("B-", "I-")


@dataclass(frozen=True)
class Tag(JudgedTask):
    """Predict the label of every event.

    Args:
        target: column of the log that holds each event's label; empty where an event has none.
        label_history: read the labels of earlier events. They must be known when an event is tagged.
        direction: "past" tags an event by itself and what came before; "both" reads later events as well (text).
        scheme: "plain", or "bio" for tags such as B-name, I-name and O, which are judged as whole entities.
        crf: score all tags of a row together.
        labels: in their order, the last of two being the positive one; empty takes those of the training part, sorted.

    >>> Tag("correct", label_history=True).direction, Tag("tag", scheme="bio").monitor
    ('past', 'f1')
    """

    name: ClassVar[str] = "tag"
    unit: ClassVar[str] = "sequences"

    target: str
    label_history: bool = False
    direction: Literal["past", "both"] = "past"
    scheme: Literal["plain", "bio"] = "plain"
    crf: bool = False
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choice("direction", self.direction, ("past", "both"))
        check_choice("scheme", self.scheme, ("plain", "bio"))
        if self.label_history and self.direction == "both":
            raise ConfigError(
                "label_history=true reads the labels of earlier events, and direction='both' reads later events, which "
                "know an event's own label; use one of the two."
            )
        if self.crf and self.direction == "past":
            raise ConfigError(
                "crf=true chooses the tags of a whole row together, later events included; use direction='both', or "
                "leave crf out."
            )
        if len(set(self.labels)) < len(self.labels):
            raise ConfigError(f"labels={list(self.labels)} names one twice; name each once.")
        if self.labels:
            self.refuse_wrong_labels()

    @property
    def monitor(self) -> str:  # type: ignore[override]
        """The metric that says who is best: entity F1, the AUC of two labels, or macro-F1."""
        if self.scheme == "bio":
            return "f1"
        return "macro_f1" if len(self.labels) > 2 else "auc"

    def learned(self, labels: tuple[str, ...]) -> Tag:
        """Return the task with the labels that training saw."""
        return replace(self, labels=labels)

    def refuse_wrong_labels(self) -> None:
        """Refuse labels that are no BIO tags where the scheme says so."""
        for label in self.labels if self.scheme == "bio" else ():
            if label != "O" and not label.startswith(_BIO_STARTS):
                raise DataError(
                    f"scheme='bio' needs tags such as B-name, I-name and O; '{self.target}' holds {label!r}. Use "
                    "scheme='plain'."
                )

    def metrics(self, truth: Tagged, answer: Tags) -> Mapping[str, Interval]:
        """Return the metrics of the labelled events, with intervals by a bootstrap over sequences."""
        return intervals(self._statistic(truth, answer), len(truth))

    def differences(self, truth: Tagged, answer: Tags, other: Tags) -> Mapping[str, Interval]:
        """Return paired differences, answer minus other."""
        return differences(self._statistic(truth, answer), self._statistic(truth, other), len(truth))

    def monitor_value(self, truth: Tagged, answer: Tags) -> float:
        """Return the monitor alone, for choosing the best epoch."""
        return value_of(self._statistic(truth, answer), self.monitor, len(truth))

    def protocol(self) -> Mapping[str, Any]:
        """Say what was read."""
        read = "the event itself and all events before it"
        if self.direction == "both":
            read = "all events of the sequence"
        if self.label_history:
            read += ", with the true labels of those before it"
        return {"read for an event's tag": read}

    def _statistic(self, truth: Tagged, answer: Tags) -> Statistic:
        judged = np.flatnonzero(truth.labels >= 0)
        if not len(judged):
            raise DataError(f"No event has a label in '{self.target}', so that there is nothing to judge.")
        labels, unit = truth.labels[judged].astype(np.int64), truth.unit[judged]
        codes = answer.codes[judged].astype(np.int64)
        if self.scheme == "bio":
            return entity_statistic(truth.names, labels, codes, unit, len(truth))
        if self.monitor == "macro_f1":
            return label_statistic(labels, codes, unit, len(truth))
        if (labels > 1).any():
            unknown = truth.names[int(labels.max())]
            raise DataError(
                f"'{self.target}' holds {unknown!r}, where training knew {self.labels[0]!r} and {self.labels[1]!r} "
                "only; leave those labels out, or train on data that has them."
            )
        assert answer.probability is not None, "answers to two labels come with probabilities"
        return binary_statistic(labels == 1, answer.probability[judged, 1].astype(np.float64), unit)
