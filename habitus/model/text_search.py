"""Search among texts by their vectors: the closest ones, near duplicates, and the answer of the closest known question.

    corpus (a table with a text column) --embed--> vectors --+-- top k of each query (exact, or by an HNSW graph)
                                                             +-- pairs above a threshold, each once
                                                             +-- the answer beside the closest question, or none

Likeness is the cosine. Exact search is one product of matrices in blocks, which is right up to some hundred thousand
texts; the graph (Malkov and Yashunin 2018, arXiv:1603.09320; extra `ann`) is built in memory when it is asked for and
is not saved: building costs seconds where embedding costs minutes, and its own file format is no data alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from habitus.bundle import read_bundle, write_bundle
from habitus.data.columns import Check, Reading, as_text, is_text, parsed
from habitus.data.rejects import Rejects
from habitus.data.rows import read_rows
from habitus.data.sources import ROW, open_source, readable
from habitus.errors import BundleError, ConfigError, DataError, did_you_mean, require
from habitus.metrics.rank import top_k
from habitus.model.ann import Search

if TYPE_CHECKING:
    from habitus.model.embed import EmbedModel

NUMBER = "row"
_AT_ONCE = 1 << 22  # cosines held at once
_MOST_PAIRS = 2_000_000
_RESERVED = 3  # of `top_k`, whose first ids are no items


@dataclass(frozen=True)
class Corpus:
    """A table with a column of texts.

    Args:
        frame: all columns of the good rows, with `row`, their place in the table from 1.
        texts: String (n,).
        label: where it came from.
        rejects: rows without a text.
        notes: sentences to say aloud.
    """

    frame: pl.DataFrame
    texts: pl.Series
    label: str
    rejects: Rejects
    notes: tuple[str, ...] = ()


def read_corpus(source: Any, column: str) -> Corpus:
    """Read a table whose rows have a text each; rows without one are rejected.

    >>> read_corpus(pl.DataFrame({"title": ["one", None, "two"]}), "title").frame["row"].to_list()
    [1, 3]
    """
    opened = open_source(source)
    if column not in opened.columns:
        raise DataError(f"{opened.label} has no column '{column}'; {did_you_mean(column, opened.columns)}")
    if not is_text(opened.columns[column]):
        raise DataError(f"Column '{column}' of {opened.label} holds {opened.columns[column]}; name a column of texts.")
    checks = (
        Check("is missing", pl.col(column).is_null()),
        Check("is not UTF-8 text", parsed(column).is_null()),
        Check("is empty", parsed(column).str.strip_chars() == ""),
    )
    rows = read_rows(opened, [Reading(column, as_text(column, opened.columns[column]), checks)])
    with readable(opened.label):
        good = rows.frame.collect(engine="streaming").sort(ROW)
        rest = opened.frame.collect(engine="streaming").join(good.select(ROW), on=ROW, how="semi")
    if not good.height:
        raise DataError(f"{opened.label} holds no text in '{column}'. {rows.rejects.summary()}")
    number = pl.Series(NUMBER, good[ROW].to_numpy().astype(np.int64) + 1)
    others = rest.sort(ROW).drop(ROW, column, *([NUMBER] if NUMBER in rest.columns else []))
    frame = pl.DataFrame([number, good[column]]).hstack(others)
    return Corpus(frame, good[column], opened.label, rows.rejects, (*opened.notes, *rows.notes))


class TextIndex:
    """Find texts of a corpus; made by `TextIndex.build`.

    Args:
        model: gives vectors.
        frame: the corpus.
        column: of its texts.
        vectors: float32 (n, S), of length one.
        threshold: of `answer`: below this cosine nothing is known; None until it is chosen.
    """

    def __init__(
        self, model: EmbedModel, frame: pl.DataFrame, column: str, vectors: np.ndarray, threshold: float | None = None
    ) -> None:
        self.model, self.frame, self.column, self.vectors, self.threshold = model, frame, column, vectors, threshold
        self._graph: Any = None

    @classmethod
    def build(cls, model: EmbedModel, corpus: Any, column: str | None = None, *, size: int | None = None) -> TextIndex:
        """Embed a corpus.

        Args:
            model: of texts.
            corpus: a table, or a `Corpus` that was read.
            column: of its texts; None takes the first one of the fit.
            size: cut vectors to this width.
        """
        if model.data.text is None:
            raise ConfigError("This model embeds histories of events; search takes one of texts (fit embed --text).")
        column = column or model.data.texts[0]
        found = corpus if isinstance(corpus, Corpus) else read_corpus(corpus, column)
        return cls(model, found.frame, column, model.embed(found.texts, size=size))

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def size(self) -> int:
        """Width of the vectors."""
        return int(self.vectors.shape[1])

    def approximate(self, search: Search | None = None) -> TextIndex:
        """Search by a graph from now on; returns self."""
        faiss, how = require("faiss", "ann"), search or Search()
        self._graph = faiss.IndexHNSWFlat(self.size, how.links, faiss.METRIC_INNER_PRODUCT)
        self._graph.hnsw.efConstruction, self._graph.hnsw.efSearch = how.build_width, how.search_width
        self._graph.add(np.ascontiguousarray(self.vectors))
        return self

    def top(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return places in the corpus and cosines of the closest texts, (q, k), the best first; -1 where none is."""
        if k < 1:
            raise ConfigError(f"k={k} asks for nothing; use 1 or more, such as 5.")
        k = min(k, len(self))
        if self._graph is not None:
            self._graph.hnsw.efSearch = max(self._graph.hnsw.efSearch, k)
            scores, places = self._graph.search(np.ascontiguousarray(vectors), k)
            return places, scores
        n_at_once = max(1, _AT_ONCE // len(self))
        found = [self._exact(vectors[first : first + n_at_once], k) for first in range(0, len(vectors), n_at_once)]
        return np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])

    def search(self, queries: Sequence[str], k: int = 5) -> pl.DataFrame:
        """Return the closest texts of each query: `query`, `rank`, `score` (the cosine) and the corpus's columns."""
        places, scores = self.top(self.model.embed(list(queries), size=self.size), k)
        known = places.ravel() >= 0
        place, rank = places.ravel()[known], np.tile(np.arange(1, places.shape[1] + 1), len(places))[known]
        query = np.repeat(np.arange(len(places)), places.shape[1])[known]
        head = {"query": pl.Series(list(queries), dtype=pl.String)[query], "rank": rank, "score": scores.ravel()[known]}
        return _beside(head, self.frame[place])

    def duplicates(self, threshold: float, *, most: int = _MOST_PAIRS) -> pl.DataFrame:
        """Return pairs of texts whose cosine is the threshold or more, each pair once, the most alike first.

        Raises:
            DataError: if there are more than `most` pairs.
        """
        if not -1 <= threshold <= 1:
            raise ConfigError(f"threshold={threshold} is no cosine; use for example 0.9.")
        found, n_found, n_at_once = [], 0, max(1, _AT_ONCE // len(self))
        for first in range(0, len(self), n_at_once):
            scores = self.vectors[first : first + n_at_once] @ self.vectors[first:].T
            row, other = np.nonzero(np.triu(scores >= threshold, k=1))
            found.append((row + first, other + first, scores[row, other]))
            n_found += len(row)
            if n_found > most:
                raise DataError(
                    f"More than {most:,} pairs are at least {threshold} alike; raise the threshold (--threshold)."
                )
        row, other, score = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.argsort(-score, kind="stable")
        numbers, texts = self.frame[NUMBER], self.frame[self.column]
        return pl.DataFrame(
            {
                "row": numbers[row[order]],
                "other_row": numbers[other[order]],
                "score": score[order].clip(-1, 1),
                "text": texts[row[order]],
                "other_text": texts[other[order]],
            }
        )

    def answer(self, questions: Sequence[str], column: str) -> pl.DataFrame:
        """Return the answer that stands beside the closest known question: `query`, `answer`, `score`, `question`.

        Args:
            questions: to be answered.
            column: of the corpus, with the answers.

        Below the threshold `answer` is null: it is not known.
        """
        self._require_column(column)
        places, scores = self.top(self.model.embed(list(questions), size=self.size), 1)
        best, score = places[:, 0], scores[:, 0].astype(np.float64)
        known = score >= (-2.0 if self.threshold is None else self.threshold)
        answers = self.frame[column][best]
        return pl.DataFrame(
            {
                "query": pl.Series(list(questions), dtype=pl.String),
                "answer": pl.select(pl.when(pl.Series(known)).then(answers)).to_series(),
                "score": score,
                "question": self.frame[self.column][best],
            }
        )

    def choose_threshold(
        self, questions: Sequence[str], answers: Sequence[Any], column: str, *, precision: float = 0.9
    ) -> dict[str, float]:
        """Choose the lowest threshold at which the share of right answers among those given is as asked for.

        Args:
            questions, answers: that the corpus does not hold, with the right answer; null where there is none.
            column: of the corpus, with the answers.
            precision: share of the answers given that shall be right.

        Returns:
            `threshold`, and on these questions `precision` (of those answered), `answered` (share) and `n`. Where no
            threshold reaches the precision, the one that comes closest.
        """
        if not 0 < precision <= 1:
            raise ConfigError(f"precision={precision} is a share: above 0, at most 1.")
        self.threshold = None
        found = self.answer(questions, column)
        given, true = found["answer"].cast(pl.String), pl.Series(list(answers), strict=False).cast(pl.String)
        right = (given == true).fill_null(False).to_numpy()
        chosen = chosen_threshold(found["score"].to_numpy(), right, precision)
        self.threshold = chosen["threshold"]
        return chosen

    def save(self, path: str | Path) -> str:
        """Write the index as a bundle (vectors, corpus, threshold; the model stays where it is); returns its hash."""
        plain = self.frame.with_columns(
            pl.selectors.temporal().cast(pl.String), pl.selectors.decimal().cast(pl.Float64)
        )
        document = {
            "column": self.column,
            "threshold": self.threshold,
            "model": self.model.hash_,
            "columns": [{"name": one.name, "values": one.to_list()} for one in plain.get_columns()],
        }
        return write_bundle(path, tensors={"vectors": self.vectors}, documents={"index": document})

    @classmethod
    def load(cls, path: str | Path, model: EmbedModel) -> TextIndex:
        """Open a saved index beside the model that made it.

        Raises:
            BundleError: if it is damaged, no index, or another model's.
        """
        bundle = read_bundle(path)
        document = bundle.documents.get("index")
        if document is None or "vectors" not in bundle.tensors:
            raise BundleError(f"'{path}' is a bundle but no index; give one that --save-index wrote.")
        if document["model"] != model.hash_:
            raise BundleError(f"The index '{path}' was made by another model; make it again with --corpus.")
        frame = pl.DataFrame([pl.Series(one["name"], one["values"], strict=False) for one in document["columns"]])
        return cls(model, frame, document["column"], bundle.tensors["vectors"], document["threshold"])

    def _exact(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores = np.pad(vectors @ self.vectors.T, ((0, 0), (_RESERVED, 0)), constant_values=-np.inf)
        ids, best = top_k(scores, k)
        return ids - _RESERVED, best

    def _require_column(self, column: str) -> None:
        if column not in self.frame.columns:
            raise ConfigError(f"The corpus has no column '{column}'; {did_you_mean(column, self.frame.columns)}")


def chosen_threshold(scores: np.ndarray, right: np.ndarray, precision: float) -> dict[str, float]:
    """Return the lowest threshold at which the share of right answers among those given is as asked for.

    Args:
        scores: of the answers, (n,).
        right: bool (n,).
        precision: the share; where no threshold reaches it, the one that comes closest is taken.

    >>> chosen_threshold(np.array([0.9, 0.8, 0.7, 0.2]), np.array([True, True, False, False]), 0.9)
    {'threshold': 0.8, 'precision': 1.0, 'answered': 0.5, 'n': 4}
    """
    order, n = np.argsort(-scores, kind="stable"), len(scores)
    falling, share = scores[order], right[order].cumsum() / np.arange(1, n + 1)
    last_of_ties = np.append(falling[1:] != falling[:-1], True)
    good = np.flatnonzero((share >= precision) & last_of_ties)
    at = int(good[-1]) if len(good) else int(np.where(last_of_ties, share, -1.0).argmax())
    return {"threshold": float(falling[at]), "precision": float(share[at]), "answered": (at + 1) / n, "n": n}


def _beside(head: dict[str, Any], found: pl.DataFrame) -> pl.DataFrame:
    """Return columns before those of the corpus, whose own names give way where both have one."""
    return pl.DataFrame(head).hstack(found.rename({name: f"corpus_{name}" for name in head if name in found.columns}))
