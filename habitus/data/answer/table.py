"""A table of questions: each with the passage that is to answer it and, to learn or to judge, its answers.

    question,context,answer,answer_start
    "Who wrote it?","The play was written by Ibsen in 1879.",Ibsen,24
    "Who staged it?","The play was written by Ibsen in 1879.",,            no answer in this passage

An answer is a text, a list of texts (several people were asked), or a struct of `text` and `answer_start` as the copies
of SQuAD have it. An answer that is not in its passage is refused with its reason. Knows nothing about tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from habitus.data.answer.options import AnswerData
from habitus.data.answer.squad import open_questions
from habitus.data.columns import Check, Reading, as_text, is_text, parsed
from habitus.data.inference import find_column
from habitus.data.rejects import MAX_SAMPLES, Reject, Rejects, printed
from habitus.data.rows import read_rows
from habitus.data.sources import ROW, Source, readable
from habitus.errors import ConfigError, DataError

_GOLD, _START, _ID = "\0gold", "\0start", "id"
Gold = tuple[tuple[str, int], ...]  # answers, each with the character at which it begins; none: there is no answer


@dataclass(frozen=True)
class QuestionTable:
    """The good rows of a table of questions.

    Args:
        label: where they came from.
        keys: `row`, its number in the table from 1, the table's `id` where it has one, and the question.
        questions, contexts: String (n,).
        golds: the answers of each, where they were asked for.
        rejects: the other rows.
        notes: sentences to say aloud.
    """

    label: str
    keys: pl.DataFrame
    questions: pl.Series
    contexts: pl.Series
    golds: tuple[Gold, ...]
    rejects: Rejects
    notes: tuple[str, ...] = ()


def read_questions(source: Any, data: AnswerData, target: str | None) -> QuestionTable:
    """Read a table of questions.

    Args:
        source: what `open_questions` takes.
        data: names the columns.
        target: column of the answers; None needs none.

    Raises:
        DataError: if a column is absent or of another kind, or no row is left.

    >>> table = pl.DataFrame({"question": ["Who?", "When?"], "context": ["Ann did it."] * 2, "answer": ["Ann", "1990"]})
    >>> found = read_questions(table, AnswerData(), "answer")
    >>> found.golds, list(found.rejects.counts)
    (((('Ann', 0),),), ["'answer' is not in the passage as it is written"])
    """
    opened = open_questions(source)
    question, context = data.columns
    if target in data.columns:
        raise ConfigError(f"Column '{target}' is the question or the passage, so it cannot be the answer too.")
    rows = read_rows(opened, [_text(opened, name) for name in data.columns] + _others(opened, data, target))
    with readable(opened.label):
        frame = rows.frame.collect().sort(ROW)
    golds, problems, n_several = _golds(frame, context, target, data.start)
    rejects = _with(rows.rejects, problems, opened, frame)
    good = np.array([one is None for one in problems], dtype=bool)
    if not good.any():
        raise DataError(f"{opened.label} holds no question that can be used. {rejects.summary()}")
    frame, kept = frame.filter(pl.Series(good)), tuple(one for one, ok in zip(golds, good, strict=True) if ok)
    number = pl.Series("row", frame[ROW].to_numpy().astype(np.int64) + 1)
    ids = [frame[_ID]] if _ID in frame.columns else []
    keys = pl.DataFrame([number, *ids, frame[question].alias("question")])
    notes = (*opened.notes, *rows.notes, *(_said(kept, n_several) if target else ()))
    return QuestionTable(opened.label.strip("'"), keys, frame[question], frame[context], kept, rejects, notes)


def _text(source: Source, name: str) -> Reading:
    find_column(source, name)
    dtype = source.columns[name]
    if not is_text(dtype):
        raise DataError(f"Column '{name}' of {source.label} holds {dtype}, where texts are expected.")
    missing = Check("is missing", pl.col(name).is_null())
    broken = Check("is not UTF-8 text", parsed(name).is_null())
    return Reading(
        name, as_text(name, dtype), (missing, broken, Check("is empty", parsed(name).str.strip_chars() == ""))
    )


def _others(source: Source, data: AnswerData, target: str | None) -> list[Reading]:
    """Return readings of the answers, of their places and of the table's own id, which are checked later."""
    found = [Reading(_ID, pl.col(_ID))] if _ID in source.columns and _ID not in (*data.columns, target) else []
    if target is None:
        return found
    find_column(source, target)
    found.append(Reading(target, pl.col(target), output=_GOLD))
    if data.start in source.columns and data.start not in (*data.columns, target):
        return [*found, Reading(data.start, pl.col(data.start), output=_START)]
    if data.start != AnswerData.start:
        find_column(source, data.start)
    return found


def _golds(
    frame: pl.DataFrame, context: str, target: str | None, start: str
) -> tuple[list[Gold], list[tuple[str, Any, str] | None], int]:
    """Return the answers of each row, what is wrong with it (column, value, reason), and how many stand twice."""
    if target is None:
        return [()] * frame.height, [None] * frame.height, 0
    texts, places = _lists(frame, target)
    golds: list[Gold] = []
    problems: list[tuple[str, Any, str] | None] = []
    n_several = 0
    for passage, told, at in zip(frame[context].to_list(), texts, places, strict=True):
        gold, problem, several = _gold(passage, told, at)
        column = start if problem and problem[1].startswith("is not a") else target
        golds.append(gold)
        problems.append(None if problem is None else (column, *problem))
        n_several += several
    return golds, problems, n_several


def _gold(
    passage: str, texts: Sequence[str], places: Sequence[Any] | None
) -> tuple[Gold, tuple[Any, str] | None, bool]:
    """Find every answer in its passage; return them, or the wrong value and the reason, and whether one is in doubt."""
    found, several = [], False
    for number, text in enumerate(texts):
        answer = (text or "").strip()
        if not answer:
            continue
        told = places[number] if places is not None and number < len(places) else None
        if told is not None and (not isinstance(told, int) or told < 0):
            return (), (told, "is not a place in the passage: a whole number from 0"), False
        if told is None:
            place = passage.find(answer)
            several |= place >= 0 and passage.find(answer, place + 1) >= 0
            if place < 0:
                return (), (text, "is not in the passage as it is written"), False
        else:
            place = told + len(text) - len(text.lstrip())
            if passage[place : place + len(answer)] != answer:
                return (), (text, "does not stand in the passage where the table says"), False
        found.append((answer, place))
    return tuple(found), None, several


def _lists(frame: pl.DataFrame, target: str) -> tuple[list[list[str]], list[list[Any] | None]]:
    """Return the answers of each row as a list of texts, and their places, where these are told."""
    column = frame[_GOLD]
    starts = frame[_START] if _START in frame.columns else None
    if isinstance(column.dtype, pl.Struct):
        names = [field.name for field in column.dtype.fields]
        if "text" not in names:
            raise DataError(f"Column '{target}' holds structs of {', '.join(names)}; SQuAD's have text, answer_start.")
        starts = column.struct.field("answer_start") if "answer_start" in names else starts
        column = column.struct.field("text")
    if isinstance(column.dtype, pl.List):
        texts = [list(one or ()) for one in column.cast(pl.List(pl.String)).to_list()]
    elif column.dtype.is_nested() or column.dtype.is_temporal():
        raise DataError(f"Column '{target}' holds {column.dtype}, where answers are expected: texts, or lists of them.")
    else:
        texts = [[one or ""] for one in column.cast(pl.String).to_list()]
    if starts is None:
        return texts, [None] * len(texts)
    if isinstance(starts.dtype, pl.List):
        return texts, [None if one is None else list(one) for one in starts.to_list()]
    return texts, [[_number(one)] for one in starts.to_list()]


def _number(value: Any) -> Any:
    """Return a place as a whole number, where it is written as one; None for an empty cell."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None if np.isnan(value) else value
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def _with(
    rejects: Rejects, problems: Sequence[tuple[str, Any, str] | None], source: Source, frame: pl.DataFrame
) -> Rejects:
    """Return rejects with those rows added whose answers are wrong."""
    counts, samples = dict(rejects.counts), list(rejects.samples)
    for row, problem in zip(frame[ROW].to_list(), problems, strict=True):
        if problem is None:
            continue
        column, value, reason = problem
        counts[f"'{column}' {reason}"] = counts.get(f"'{column}' {reason}", 0) + 1
        if len(samples) < MAX_SAMPLES:
            samples.append(Reject(*source.locate(row), column, printed(value), reason))
    return Rejects(rejects.n_rows, counts, samples)


def _said(golds: Sequence[Gold], n_several: int) -> list[str]:
    n_none = sum(not gold for gold in golds)
    said = []
    if n_none:
        said.append(f"{n_none:,} of {len(golds):,} questions have no answer in their passage.")
    if n_several:
        said.append(
            f"{n_several:,} answers stand more than once in their passage and nothing says which place is meant; the "
            "first one is taken. A column of places (answer_start, --start) would tell."
        )
    return said
