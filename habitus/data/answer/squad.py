"""Open questions about passages: any table, JSON lines, or the JSON in which SQuAD is published.

    {"data": [{"title": ..., "paragraphs": [{"context": ..., "qas": [
        {"id": ..., "question": ..., "answers": [{"text": ..., "answer_start": ...}], "is_impossible": false}]}]}]}

(Rajpurkar et al. 2016, arXiv:1606.05250; 2018, arXiv:1806.03822 with questions that have no answer.)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from habitus.data.sources import Source, open_source, readable
from habitus.errors import DataError

_COLUMNS = {
    "id": pl.String(),
    "title": pl.String(),
    "question": pl.String(),
    "context": pl.String(),
    "answer": pl.List(pl.String),
    "answer_start": pl.List(pl.Int64),
}


def open_questions(source: Any) -> Source:
    """Open a table of questions.

    Args:
        source: what `open_source` takes, or a path that ends in .jsonl, .ndjson or .json (SQuAD, or a list of rows).

    Raises:
        DataError: if it cannot be read.
    """
    suffix = Path(source).suffix.lower() if isinstance(source, str | Path) else ""
    if suffix not in (".json", ".jsonl", ".ndjson"):
        return open_source(source)
    path = Path(source)
    if not path.is_file():
        raise DataError(f"There is no file '{path}'; give a table of questions, or SQuAD's own JSON.")
    frame = _document(path) if suffix == ".json" else _lines(path)
    return replace(open_source(frame), label=f"'{path}'", files=(str(path),))


def _lines(path: Path) -> pl.DataFrame:
    with readable(f"'{path}'"):
        return pl.read_ndjson(path, infer_schema_length=None)


def _document(path: Path) -> pl.DataFrame:
    try:
        document = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise DataError(
            f"'{path}' is no JSON that can be read ({error}); give SQuAD's file as it was published."
        ) from (error)
    try:
        if isinstance(document, list):
            with readable(f"'{path}'"):
                return pl.DataFrame(document, infer_schema_length=None)
        return pl.DataFrame(list(_questions(document["data"])), schema=_COLUMNS, orient="row")
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"'{path}' is not built as SQuAD is (data, paragraphs, context, qas, question, answers; "
            f"{type(error).__name__}: {error}); give its file as it was published, or a table with a row a question."
        ) from error


def _questions(articles: list[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    for article in articles:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                given = [] if asked.get("is_impossible") else asked["answers"]
                texts, starts = [one["text"] for one in given], [one["answer_start"] for one in given]
                yield str(asked.get("id")), article.get("title"), asked["question"], paragraph["context"], texts, starts
