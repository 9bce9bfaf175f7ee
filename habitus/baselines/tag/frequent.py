"""The most frequent tag of each value: what counting alone knows of an event without its neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from habitus.baselines.rival import Rival
from habitus.data.tags.tagged import UNLABELLED, Tagged, Tags
from habitus.fields.category import N_RESERVED

_SMOOTHING = 1.0  # events that a value's shares begin with


class FrequentTag(Rival):
    """Answer with the label that a value had most often in training, of the field that is right most often.

    The field is chosen on validation; values that training did not know take the shares of all events.

    >>> FrequentTag().name
    'most frequent tag of a value'
    """

    name: ClassVar[str] = "most frequent tag of a value"

    def fit(self, train_rows: Tagged, validation_rows: Tagged) -> Self:
        """Count the labels of every value of every field."""
        labelled = np.flatnonzero(train_rows.labels != UNLABELLED)
        labels, n_labels = train_rows.labels[labelled], train_rows.n_known
        self.prior_ = np.bincount(labels, minlength=n_labels) / len(labels)
        self.field_, self.counts_ = "", np.zeros((0, n_labels), dtype=np.float32)
        best = self._accuracy(validation_rows)
        for name, ids in train_rows.histories.ids.items():
            size = int(ids.max(initial=0)) + 1
            pairs = ids[labelled].astype(np.int64) * n_labels + labels
            counts = np.bincount(pairs, minlength=size * n_labels).reshape(size, n_labels).astype(np.float32)
            counts[:N_RESERVED] = 0
            other = FrequentTag()
            other.prior_, other.field_, other.counts_ = self.prior_, name, counts
            accuracy = other._accuracy(validation_rows)
            if accuracy > best:
                best, self.field_, self.counts_ = accuracy, name, counts
        return self

    def answer(self, rows: Tagged) -> Tags:
        """Return the smoothed shares of the labels of each event's value."""
        if not self.field_:
            return Tags.likeliest(np.tile(self.prior_, (len(rows.labels), 1)))
        ids = rows.histories.ids[self.field_]
        table = np.concatenate([self.counts_, np.zeros_like(self.counts_[:1])]) + _SMOOTHING * self.prior_
        table /= table.sum(axis=1, keepdims=True)
        return Tags.likeliest(table[np.minimum(ids, len(self.counts_))])

    def to_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the counts of the chosen field."""
        return {"prior": self.prior_, "counts": self.counts_}, {"field": self.field_}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Self:
        """Restore a fitted rival."""
        rival = cls()
        rival.prior_, rival.counts_ = np.asarray(arrays["prior"]), np.asarray(arrays["counts"])
        rival.field_ = document["field"]
        return rival

    def _accuracy(self, rows: Tagged) -> float:
        judged = rows.labels != UNLABELLED
        return float((self.answer(rows).codes == rows.labels)[judged].mean()) if judged.any() else 0.0
