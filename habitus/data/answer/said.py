"""What is to be said aloud of questions as tokens: what is cut, and which answers cannot be given as they are."""

from __future__ import annotations

import numpy as np

from habitus.data.answer.options import AnswerData
from habitus.data.answer.rows import LOST, AnswerRows


def said_of(rows: AnswerRows, data: AnswerData) -> list[str]:
    """Return sentences about what is cut, and about answers that cannot be given as they are."""
    said = []
    n_cut = int((rows.question_ids.lengths > data.max_question_length).sum())
    if n_cut:
        said.append(
            f"{n_cut:,} questions are longer than max_question_length={data.max_question_length} tokens; the rest of "
            "them is not read."
        )
    n_lost = int((rows.gold[:, 0] == LOST).sum())
    if n_lost:
        said.append(f"{n_lost:,} answers have no token of their own: they are judged and not learned from.")
    n_within = _n_within_tokens(rows)
    if n_within:
        said.append(
            f"{n_within:,} answers begin or end within a token: the model can only give a little more than they say."
        )
    return said


def _n_within_tokens(rows: AnswerRows) -> int:
    known = np.flatnonzero(rows.gold[:, 0] >= 0)
    base = rows.context_ids.offsets[:-1][known]
    start, stop = rows.start.values[base + rows.gold[known, 0]], rows.stop.values[base + rows.gold[known, 1]]
    spans = [(place, place + len(text)) for (text, place), *_ in (rows.golds[row] for row in known.tolist())]
    ends = np.array(spans, dtype=np.int64).reshape(-1, 2)
    return int(((start != ends[:, 0]) | (stop != ends[:, 1])).sum())
