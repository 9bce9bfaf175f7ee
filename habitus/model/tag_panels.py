"""What a report of tags shows besides the metrics: label by label, and how probabilities of two labels turn out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from habitus.data.tags.tagged import Tagged, Tags
from habitus.metrics.tag import entities
from habitus.tasks.tag import Tag

_N_BANDS = 10
_MOST_CONFUSED = 12
_FIRST_PLACES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def tag_panels(task: Tag, truth: Tagged, answers: Mapping[str, Tags]) -> list[dict[str, Any]]:
    """Return the pictures of a task as plain data."""
    judged = np.flatnonzero(truth.labels >= 0)
    if task.monitor == "auc":
        return [_bands(truth, answers, judged), _by_place(truth, answers, judged)]
    if task.scheme == "bio":
        return [_entity_table(truth, answers["model"], judged)]
    panels = [_label_table(truth, answers["model"], judged)]
    return [*panels, _confusion(truth, answers["model"], judged)] if len(truth.names) <= _MOST_CONFUSED else panels


def _bands(truth: Tagged, answers: Mapping[str, Tags], judged: np.ndarray) -> dict[str, Any]:
    lines = []
    for name, answer in answers.items():
        assert answer.probability is not None, "answers to two labels come with probabilities"
        probability = answer.probability[judged, 1]
        order = np.argsort(probability, kind="stable")
        bands = [band for band in np.array_split(order, _N_BANDS) if len(band)]
        positive = truth.labels[judged] == 1
        x, y = ([float(values[band].mean()) for band in bands] for values in (probability, positive))
        lines.append({"name": name, "x": x, "y": y})
    return {
        "kind": "lines",
        "title": f"Probability of {truth.names[1]!r} and how often it came",
        "caption": "Events in ten bands of equal size by their probability; on the diagonal the two agree.",
        "x_label": "mean probability",
        "y_label": "share of events",
        "lines": lines,
    }


def _by_place(truth: Tagged, answers: Mapping[str, Tags], judged: np.ndarray) -> dict[str, Any]:
    """Return the accuracy by how many events came before."""
    offsets = truth.histories.offsets
    place = (np.arange(len(truth.labels)) - np.repeat(offsets[:-1], truth.histories.lengths))[judged] + 1
    band = np.searchsorted(_FIRST_PLACES, place, side="right") - 1
    lines = []
    for name, answer in answers.items():
        right = (answer.codes == truth.labels)[judged]
        known = [b for b in range(len(_FIRST_PLACES)) if (band == b).any()]
        y = [float(right[band == b].mean()) for b in known]
        lines.append({"name": name, "x": [float(np.log2(_FIRST_PLACES[b])) for b in known], "y": y})
    return {
        "kind": "lines",
        "title": "Accuracy by place in the sequence",
        "caption": "What a history is worth: the further on, the more events came before.",
        "x_label": "place in the sequence, doublings (0: the first event)",
        "y_label": "share tagged right",
        "lines": lines,
    }


def _label_table(truth: Tagged, answer: Tags, judged: np.ndarray) -> dict[str, Any]:
    wanted, given = truth.labels[judged], answer.codes[judged]
    rows = []
    for code, name in enumerate(truth.names):
        true, answered = wanted == code, given == code
        rows.append(_row(name, int(true.sum()), int(answered.sum()), int((true & answered).sum())))
    return _table("Label by label", "events", rows)


def _entity_table(truth: Tagged, answer: Tags, judged: np.ndarray) -> dict[str, Any]:
    unit = truth.unit[judged]
    wanted, given = (entities(truth.names, codes[judged], unit) for codes in (truth.labels, answer.codes))
    kinds = {name[2:]: code for code, name in reversed(list(enumerate(truth.names))) if name[1:2] == "-"}
    spans = [set(zip(*(part.tolist() for part in found), strict=True)) for found in (wanted, given)]
    rows = []
    for name, code in sorted(kinds.items()):
        true, answered = ({span for span in found if span[1] == code} for found in spans)
        rows.append(_row(name, len(true), len(answered), len(true & answered)))
    return _table("Entity by entity", "entities", rows)


def _confusion(truth: Tagged, answer: Tags, judged: np.ndarray) -> dict[str, Any]:
    n = len(truth.names)
    pairs = truth.labels[judged].astype(np.int64) * n + answer.codes[judged]
    return {
        "kind": "matrix",
        "title": "Which labels are taken for which",
        "caption": "Rows are true, columns are answered; counts of events.",
        "labels": list(truth.names),
        "matrix": np.bincount(pairs, minlength=n * n).reshape(n, n).tolist(),
    }


def _row(name: str, n_true: int, n_answered: int, n_right: int) -> list[Any]:
    precision = n_right / n_answered if n_answered else 0.0
    recall = n_right / n_true if n_true else 0.0
    f1 = 2 * n_right / (n_true + n_answered) if n_true + n_answered else 0.0
    return [name, n_true, n_answered, round(precision, 3), round(recall, 3), round(f1, 3)]


def _table(title: str, what: str, rows: list[list[Any]]) -> dict[str, Any]:
    rows = sorted((row for row in rows if row[1] or row[2]), key=lambda row: -row[1])
    return {
        "kind": "table",
        "title": title,
        "caption": f"Of the model, the most frequent first; n counts true {what}.",
        "columns": ["label", "n", "answered", "precision", "recall", "F1"],
        "rows": rows,
    }
