"""Windows: a question and as much of its passage as fits, so often that all of the passage is read.

    [CLS] question [SEP] passage[0:n] [SEP]    [CLS] question [SEP] passage[n-overlap:...] [SEP]    ...

(Devlin et al. 2019, arXiv:1810.04805, section 4.2 and its code.) An answer belongs to every window that holds all of
it; a window that holds none of it has its answer at [CLS]; one that cuts it in two is not learned from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from habitus.data.answer.options import AnswerData
from habitus.data.answer.rows import LOST, MAY_ANSWER, PASSAGE, SHARED, SIDE, TEXT, AnswerEncoder, AnswerRows
from habitus.data.encode import EncodedSequences
from habitus.data.pairs.ragged import Ragged
from habitus.data.slices import offsets_of
from habitus.data.text.encode import token_rows
from habitus.fields.category import N_RESERVED

UNTOLD = -1  # in place of a target: the window is not learned from


@dataclass(frozen=True)
class AnswerWindows:
    """Windows of some questions.

    Args:
        encoded: one row of tokens a window, with the place of the answer's first and last token as its target; its
            `example` is the question.
        first: int64 (w,), token of the passage with which the window begins.
        n_tokens: int64 (w,), tokens of the passage in it.
        shift: int64 (w,), place of the first of them in the row.
    """

    encoded: EncodedSequences
    first: np.ndarray
    n_tokens: np.ndarray
    shift: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


def cut_windows(rows: AnswerRows, encoder: AnswerEncoder, data: AnswerData) -> AnswerWindows:
    """Return the windows of all questions, those of one question in the order of its passage.

    Args:
        rows: the questions.
        encoder: says what stands around a question and its passage.
        data: the lengths.
    """
    (before, between, behind), (asked_type, read_type) = encoder.around
    n_around = len(before) + len(between) + len(behind)
    question = rows.question_ids.first(data.max_question_length)
    room = data.max_length - n_around - question.lengths
    unit, first, stop = _places(rows.context_ids.lengths, room, data.overlap)
    shift = len(before) + question.lengths[unit] + len(between)
    asked = question.take(unit)
    base = rows.context_ids.offsets[:-1][unit]
    seen = Ragged(
        rows.stop.values > rows.start.values, rows.stop.offsets
    )  # some tokenizers have tokens of no character
    read, shared, seen = (one.cut(base + first, base + stop) for one in (rows.context_ids, rows.shared, seen))
    sides = shared.values * (SHARED - PASSAGE) + read_type  # a pretrained encoder shares nothing: types alone
    parts = [_same(before, len(unit)), asked, _same(between, len(unit)), read, _same(behind, len(unit))]
    values = {
        TEXT: parts,
        SIDE: [*(_of(part, asked_type) for part in parts[:3]), Ragged(sides, read.offsets), _of(parts[4], read_type)],
        MAY_ANSWER: [_first_of(parts[0]), _of(parts[1], 0), _of(parts[2], 0), seen, _of(parts[4], 0)],
    }
    joined = {name: _beside(some) for name, some in values.items()}
    ids = {name: one.values.astype(np.int32) + (N_RESERVED if name == SIDE else 0) for name, one in joined.items()}
    encoded = replace(
        token_rows(TEXT, joined[TEXT], joined[TEXT].lengths),
        ids=ids,
        example=unit,
        target=_targets(rows.gold[unit], first, stop, shift),
    )
    return AnswerWindows(encoded, first, stop - first, shift)


def _places(lengths: np.ndarray, room: np.ndarray, overlap: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the question of each window, and where it begins and ends in the passage.

    >>> [one.tolist() for one in _places(np.array([10, 3]), np.array([6, 6]), 2)]
    [[0, 0, 1], [0, 4, 0], [6, 10, 3]]
    """
    step = room - overlap
    n_windows = 1 + np.maximum(-(-(lengths - room) // step), 0)
    unit = np.repeat(np.arange(len(lengths)), n_windows)
    number = np.arange(len(unit)) - np.repeat(offsets_of(n_windows)[:-1], n_windows)
    first = number * step[unit]
    return unit, first, np.minimum(first + room[unit], lengths[unit])


def _targets(gold: np.ndarray, first: np.ndarray, stop: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return the places of the answer's first and last token in each row, int64 (w, 2)."""
    inside = (gold[:, 0] >= first) & (gold[:, 1] < stop)
    touched = (gold[:, 1] >= first) & (gold[:, 0] < stop)
    found = np.where(inside[:, None], gold - first[:, None] + shift[:, None], 0)
    untold = (gold[:, 0] == LOST) | (touched & ~inside & (gold[:, 0] >= 0))
    found[untold] = UNTOLD
    return np.where((gold[:, :1] < 0) & ~untold[:, None], 0, found)


def _same(ids: list[int], n: int) -> Ragged:
    return Ragged(np.tile(np.array(ids, dtype=np.int32), n), np.arange(n + 1, dtype=np.int64) * len(ids))


def _of(part: Ragged, value: int) -> Ragged:
    return Ragged(np.full(len(part.values), value, dtype=np.int32), part.offsets)


def _first_of(part: Ragged) -> Ragged:
    """Return 1 for the first token of each row, which stands for "no answer", and 0 for the others."""
    values = np.zeros(len(part.values), dtype=np.int32)
    values[part.offsets[:-1]] = 1
    return Ragged(values, part.offsets)


def _beside(parts: list[Ragged]) -> Ragged:
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.beside(part)
    return joined
