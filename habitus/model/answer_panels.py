"""What a report of answers shows besides the metrics: examples, and how it goes by the first word of the question."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from habitus.data.answer.rows import AnswerRows
from habitus.data.answer.words import placed_words
from habitus.metrics.answer import AnswerTruth, answer_scores

_N_EXAMPLES, _N_WORDS = 16, 12
_NONE = "(none)"


def answer_panels(rows: AnswerRows, truth: AnswerTruth, answers: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Return the tables of a report as plain data.

    Args:
        rows: the questions that were judged.
        truth: their true answers.
        answers: of "model" and of each rival, by name.
    """
    if not len(rows):
        return []
    return [_examples(rows, truth, answers), _by_first_word(rows, truth, answers["model"])]


def _examples(rows: AnswerRows, truth: AnswerTruth, answers: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return examples spread evenly over the judged questions: not the best ones."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, _N_EXAMPLES).astype(int)).tolist()
    lines = [
        [
            rows.questions[row],
            " / ".join(dict.fromkeys(truth.golds[row])) or _NONE,
            *(given[row] or _NONE for given in answers.values()),
        ]
        for row in chosen
    ]
    return {
        "kind": "table",
        "title": "Examples",
        "caption": f"{len(chosen)} of {len(rows):,} judged questions, evenly spread; neither the best nor the worst.",
        "columns": ["question", "true answer", *("answered" if name == "model" else name for name in answers)],
        "rows": lines,
    }


def _by_first_word(rows: AnswerRows, truth: AnswerTruth, given: Sequence[str]) -> dict[str, Any]:
    exact, f1 = answer_scores(truth, given)
    kinds = defaultdict(list)
    for row, question in enumerate(rows.questions):
        kinds[(placed_words(question)[0] or ["?"])[0]].append(row)
    frequent = sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0]))[:_N_WORDS]
    lines = [
        [word, len(some), round(float(f1[some].mean()), 3), round(float(exact[some].mean()), 3)]
        for word, some in frequent
    ]
    return {
        "kind": "table",
        "title": "By the first word of the question",
        "caption": "Of the model, the most frequent first words first.",
        "columns": ["question begins with", "n", "token F1", "exact"],
        "rows": lines,
    }
