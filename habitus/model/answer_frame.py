"""Answers as a table: text, probability and place of each, the best first."""

from __future__ import annotations

import numpy as np
import polars as pl

from habitus.data.answer.rows import AnswerRows
from habitus.tasks.answer_decoding import Spans
from habitus.training.answer import located


def answer_frame(keys: pl.DataFrame, rows: AnswerRows, spans: Spans, threshold: float | None) -> pl.DataFrame:
    """Return one row a question, or one an answer with its `rank` where several were asked for.

    Args:
        keys: columns that say which question each is.
        rows: the questions.
        spans: the best answers of each.
        threshold: when "no answer" is the first one; None: never.
    """
    n, k = spans.first.shape
    texts = [located(rows, spans, rank) for rank in range(k)]
    score, none = spans.probability(with_none=threshold is not None)
    declined = spans.declined(threshold)
    frames = []
    for row in range(n):
        known = [(*texts[rank][row], score[row, rank]) for rank in range(k) if texts[rank][row][1] >= 0]
        frames.append(_ranked(known, float(none[row]), bool(declined[row]), threshold is not None)[:k])
    counts = [len(one) for one in frames]
    flat = [one for some in frames for one in some]
    told = keys[np.repeat(np.arange(n), counts)]
    ranks = pl.Series("rank", [rank for count in counts for rank in range(1, count + 1)], dtype=pl.Int64)
    columns = [
        *([ranks] if k > 1 else []),
        pl.Series("answer", [text for text, *_ in flat], dtype=pl.String),
        pl.Series("score", [one[3] for one in flat], dtype=pl.Float64),
        pl.Series("start", [one[1] for one in flat], dtype=pl.Int64),
        pl.Series("end", [one[2] for one in flat], dtype=pl.Int64),
    ]
    return told.with_columns(columns)


Ranked = tuple[str | None, int | None, int | None, float]  # answer, start, end, score


def _ranked(known: list[tuple[str, int, int, float]], none: float, declined: bool, with_none: bool) -> list[Ranked]:
    """Return the answers to one question in their order; "no answer" is among them where it is a choice.

    >>> _ranked([("Ann", 0, 3, 0.6), ("Bo", 9, 11, 0.1)], 0.3, False, True)
    [('Ann', 0, 3, 0.6), (None, None, None, 0.3), ('Bo', 9, 11, 0.1)]
    """
    nothing: Ranked = (None, None, None, none)
    if declined or not known:
        return [nothing, *known]
    if not with_none:
        return [*known]
    place = max(1, sum(one[3] >= none for one in known))
    return [*known[:place], nothing, *known[place:]]
