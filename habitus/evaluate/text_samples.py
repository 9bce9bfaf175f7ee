"""Texts for the report: those that the model got most wrong, which say more than the average."""

from __future__ import annotations

from typing import Any

import numpy as np

from habitus.model import LabelledModel
from habitus.prepared import Prepared

_SHOWN, _CHARACTERS = 6, 400


def most_wrong(model: LabelledModel, prepared: Prepared) -> list[dict[str, Any]]:
    """Return the test texts that the model answered worst: `text`, `truth`, `answer`, worst first.

    Several labels at once are left out: there is no one answer to show.
    """
    evaluation, found = model.evaluation_, prepared.texts
    if found is None or evaluation is None or not isinstance(model.task.target, str):
        return []
    place = np.flatnonzero(prepared.part == "test")
    truth = evaluation.scores[model.task.target].to_list()
    answer = model.test_answers_["model"]
    rows = prepared.rows("test")
    error = _error(answer, rows.labels, rows.example, place)
    answered = model.task.answer_columns(answer)[0].to_list()
    texts = found.texts.rows()
    return [
        {
            "text": _short(" | ".join(one or "" for one in texts[place[i]])),
            "truth": str(truth[i]),
            "answer": _shown(answered[i], answer, i),
        }
        for i in np.argsort(-error, kind="stable")[:_SHOWN]
        if error[i] > 0
    ]


def _error(answer: np.ndarray, labels: np.ndarray, example: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return how far each answer is off: the probability that the truth did not get, or the distance."""
    target = np.empty(len(place), labels.dtype)
    target[np.searchsorted(place, example)] = labels
    if np.issubdtype(labels.dtype, np.integer):
        return np.asarray(1 - answer[np.arange(len(place)), target])
    return np.abs(answer.reshape(len(place), -1)[:, 0] - target)


def _shown(answered: Any, answer: np.ndarray, row: int) -> str:
    if isinstance(answered, float):
        return f"{answered:,.4g}"
    return f"{answered} ({answer[row].max():.0%})".replace("%", " %")


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _CHARACTERS else plain[: _CHARACTERS - 1] + "…"
