"""Scoring sequence rows on Spark: `mapInArrow` around the kernel of one machine, `habitus.model.score_rows`.

Arrow batches come in, are joined to at least `batch_rows` rows (so that rows of similar length can be scored together),
and leave with the answers beside their columns. The model is read once per Python worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from habitus.data.sequence import EXAMPLE
from habitus.errors import ConfigError
from habitus.spark.bundles import ShippedBundle

BATCH_ROWS = 20_000


@dataclass(frozen=True)
class ScoreJob:
    """What a worker needs to know in order to score; small, because it travels in a closure.

    Args:
        bundle: the model.
        keep: columns of the rows that the output keeps, in its order.
        drop_windows: whether only the first window of an example stays (the answers are those of all).
        prefix: put before the names of the answers' columns.
        threads: of torch, in each Python worker.
        batch_rows: rows that are scored together, at least.
        strict: fail at a row that cannot be scored.
    """

    bundle: ShippedBundle
    keep: tuple[str, ...]
    drop_windows: bool = False
    prefix: str = ""
    threads: int = 1
    batch_rows: int = BATCH_ROWS
    strict: bool = False

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Score the batches of a partition."""
        scorer = None
        for rows in gathered(batches, self.batch_rows, whole_examples=self.drop_windows):
            if scorer is None:  # an empty partition needs no model
                scorer = self._scorer()
            yield from self._scored(scorer, rows).to_batches()

    def _scorer(self) -> Any:
        import torch

        from habitus.model.score_rows import RowScorer

        torch.set_num_threads(self.threads)
        return RowScorer(self.bundle.open(), prefix=self.prefix, strict=self.strict)

    def _scored(self, scorer: Any, rows: pa.Table) -> pa.Table:
        answers = scorer(rows)
        kept = {name: rows[name] for name in self.keep}
        table = pa.table({**kept, **{name: answers[name] for name in answers.column_names}})
        if self.drop_windows:
            _, first = np.unique(np.asarray(rows[EXAMPLE]), return_index=True)
            table = table.take(pa.array(np.sort(first)))
        return table.combine_chunks()


def gathered(batches: Iterable[pa.RecordBatch], n_rows: int, *, whole_examples: bool = False) -> Iterator[pa.Table]:
    """Join small batches to tables of at least `n_rows` rows; the last one may be smaller.

    Args:
        batches: Arrow batches of one schema.
        n_rows: at least 1.
        whole_examples: keep rows with the same `_example`, which follow each other, in one table.

    >>> parts = pa.table({"a": [1, 2, 3, 4, 5]}).to_batches(max_chunksize=1)
    >>> [table.num_rows for table in gathered(parts, 2)]
    [2, 2, 1]
    """
    held: list[pa.RecordBatch] = []
    n = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        held.append(batch)
        n += batch.num_rows
        if n >= n_rows:
            table = pa.Table.from_batches(held)
            end = _end_of_example(table) if whole_examples else n
            if end:
                yield table[:end].combine_chunks()
            held, n = table[end:].to_batches(), n - end
    if n:
        yield pa.Table.from_batches(held).combine_chunks()


def _end_of_example(table: pa.Table) -> int:
    """Return where the last example of a table begins: it may go on in the next batch."""
    example = np.asarray(table[EXAMPLE])
    return int(np.flatnonzero(example == example[-1])[0])


def check_batch_rows(value: int) -> None:
    """Refuse a batch without rows."""
    if value < 1:
        raise ConfigError(f"batch_rows={value} scores nothing; give 1 or more, such as {BATCH_ROWS}.")


def answers_of(columns: Sequence[str], answers: pa.Schema) -> pa.Schema:
    """Refuse answers whose names columns of the input have already.

    Raises:
        ConfigError: with the names, and what to do.
    """
    taken = [name for name in answers.names if name in columns]
    if taken:
        raise ConfigError(
            f"The input has columns {', '.join(map(repr, taken))} already, which the answers would be called; "
            'give a prefix, such as outputPrefix="risk_".'
        )
    return answers
