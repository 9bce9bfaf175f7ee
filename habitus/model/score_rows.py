"""Scoring sequence rows that come in batches: the one kernel of the plain loop, of Spark and of streams.

    rows (Arrow) -> faults found in one pass over the columns -> good rows scored by length -> answers, reasons

A row that cannot be scored (no entity, no cutoff, lists that do not fit together, an event at or after the cutoff) gets
a reason instead of an answer, and so does a row whose scoring raises, which is searched by halving the batch. Null and
empty lists are an empty history. Longer histories than the model reads are cut to their latest events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from habitus.data.list_columns import combined
from habitus.data.sequence import EXAMPLE, N_EVENTS
from habitus.data.slices import offsets_of, positions
from habitus.errors import ConfigError, DataError

REJECTED = "rejected"  # the column of reasons
_UTC = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class RowScorer:
    """Answers sequence rows of a fitted model of labelled examples.

    Args:
        model: that answers, one of classes or of numbers.
        prefix: put before the names of the answers' columns.
        strict: raise at the first row that cannot be scored.

    `scorer(rows)` returns the columns of `schema`, one row a row in the same order: what `predict` gives beside entity
    and cutoff, and `rejected`, the reason why there is no answer (null where there is one). For a model that reads
    histories in windows, rows with the same `_example` get one averaged answer; they must come together.

    Raises:
        DataError: with `strict`, for a row that cannot be scored.
    """

    model: Any
    prefix: str = ""
    strict: bool = False

    def __post_init__(self) -> None:
        if not hasattr(self.model, "answer_rows"):
            raise ConfigError(
                f"A model of the task '{self.model.task.name}' does not answer single sequence rows; those of classify "
                "and regress do."
            )

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the answers' columns, in plain Arrow types."""
        return self._named(_plain(self.model.answer_rows(self._empty_history())))

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Answer rows; see the class."""
        reasons = np.full(rows.num_rows, None, dtype=object)
        checked = self._checked(rows, reasons)
        group = self._groups(rows)
        _spread(reasons, group)
        good = np.unique(group[_is_good(reasons)])
        faults: dict[int, str] = {}
        answers = self._answer(checked, group, good, faults)
        for row in np.flatnonzero(np.isin(group, list(faults))) if faults else ():
            reasons[row] = faults[int(group[row])]
        self._refuse(rows, reasons)
        answered = np.unique(group[_is_good(reasons)])
        where = np.searchsorted(answered, group)
        chosen = pa.array(where, mask=~_is_good(reasons))
        columns = [answers[name].take(chosen) for name in answers.column_names]
        return pa.Table.from_arrays([*columns, pa.array(reasons, pa.string())], schema=self._named(answers))

    # -- inside

    def _groups(self, rows: pa.Table) -> np.ndarray:
        """Return a number for each row; rows that share one are windows of one example, answered together."""
        if self.model.data.history == "windows" and EXAMPLE in rows.column_names:
            return np.unique(np.asarray(rows[EXAMPLE]), return_inverse=True)[1]
        return np.arange(rows.num_rows)

    def _named(self, answers: pa.Table) -> pa.Schema:
        fields = [pa.field(self.prefix + one.name, one.type) for one in answers.schema]
        return pa.schema([*fields, pa.field(self.prefix + REJECTED, pa.string())])

    def _answer(self, rows: pa.Table, group: np.ndarray, wanted: np.ndarray, faults: dict[int, str]) -> pa.Table:
        """Answer groups of rows; those that raise are written to `faults`, and the others answered without them."""
        if not len(wanted):
            return _plain(self.model.answer_rows(self._empty_history()))[:0]
        chosen = np.flatnonzero(np.isin(group, wanted))
        numbered = _numbered(rows.take(pa.array(chosen)), np.searchsorted(wanted, group[chosen]))
        try:
            answers = _plain(self.model.answer_rows(numbered))
        except MemoryError:
            raise
        except Exception as error:
            if len(wanted) == 1:
                faults[int(wanted[0])] = f"it cannot be scored ({type(error).__name__}: {_first_line(error)})"
                return self._answer(rows, group, wanted[:0], faults)
            half = len(wanted) // 2
            return pa.concat_tables(
                [self._answer(rows, group, part, faults) for part in (wanted[:half], wanted[half:])]
            )
        bad = ~_finite(answers)
        faults |= {int(number): "its score is not a finite number" for number in wanted[bad]}
        return answers.filter(pa.array(~bad)) if bad.any() else answers

    def _checked(self, rows: pa.Table, reasons: np.ndarray) -> pa.Table:
        """Return the columns that the encoder reads, cut and numbered; write the faults that are found on the way."""
        schema = self.model.encoder_.schema
        require_row_columns(rows.schema.names, self.model)
        cutoff = _as_time(rows[schema.cutoff], schema.cutoff)
        _note(reasons, _is_null(rows[schema.entity]), f"'{schema.entity}' is missing")
        _note(reasons, _is_null(cutoff), f"'{schema.cutoff}' is missing")
        time = combined(rows, schema.time)
        offsets = time.offsets.to_numpy().astype(np.int64)
        lists = {name: combined(rows, name) for name in schema.fields}
        for name, column in lists.items():
            unequal = np.diff(column.offsets.to_numpy()) != np.diff(offsets)
            _note(reasons, unequal, f"'{name}' and '{schema.time}' are lists of different lengths")
        time_us = _as_time(time.values, schema.time).cast(pa.int64())
        _note(reasons, _any_in_row(_is_null(time_us), offsets), f"'{schema.time}' holds a missing time")
        times = time_us.fill_null(0).to_numpy()
        cutoffs = cutoff.cast(pa.int64()).fill_null(0).to_numpy()
        falls = np.diff(times, prepend=times[:1]) < 0
        falls[offsets[:-1][np.diff(offsets) > 0]] = False
        _note(reasons, _any_in_row(falls, offsets), f"'{schema.time}' is not in time order")
        late = times >= np.repeat(cutoffs, np.diff(offsets))
        _note(reasons, _any_in_row(late, offsets), f"an event is not before '{schema.cutoff}'")
        return self._columns(rows, cutoff, offsets, times, lists, reasons)

    def _columns(
        self,
        rows: pa.Table,
        cutoff: pa.Array,
        offsets: np.ndarray,
        times: np.ndarray,
        lists: dict[str, pa.ListArray],
        reasons: np.ndarray,
    ) -> pa.Table:
        schema, lengths = self.model.encoder_.schema, np.diff(offsets)
        good = _is_good(reasons)
        stop = np.where(good, offsets[1:], offsets[:-1])
        start = np.where(good, np.maximum(offsets[:-1], stop - self.model.data.max_length), stop)
        order, new = pa.array(positions(start, stop)), pa.array(offsets_of(stop - start).astype(np.int32))
        n_events = rows[N_EVENTS].fill_null(0) if N_EVENTS in rows.column_names else pa.array(lengths)
        columns = {EXAMPLE: pa.array(np.arange(len(lengths))), N_EVENTS: n_events, schema.cutoff: cutoff}
        columns[schema.time] = pa.ListArray.from_arrays(new, pa.array(times).cast(_UTC).take(order))
        for name, column in lists.items():
            # of a row whose lists differ in length nothing is taken, so its values may stand anywhere
            shift = column.offsets.to_numpy().astype(np.int64)[:-1] - offsets[:-1]
            own = pa.array(positions(start + shift, stop + shift))
            columns[name] = pa.ListArray.from_arrays(new, column.values.take(own))
        columns |= {name: rows[name] for name in schema.profile}
        return pa.table(columns)

    def _refuse(self, rows: pa.Table, reasons: np.ndarray) -> None:
        found = [number for number, reason in enumerate(reasons) if reason is not None] if self.strict else []
        if found:
            schema = self.model.encoder_.schema
            who, when = rows[schema.entity][found[0]].as_py(), rows[schema.cutoff][found[0]].as_py()
            raise DataError(
                f"The row of {schema.entity} = {who!r} at {schema.cutoff} = {when} cannot be scored: "
                f"{reasons[found[0]]}. Mend it, or leave strict out to have such rows among the rejects."
            )

    def _empty_history(self) -> pa.Table:
        """Return one row without events: what answers look like."""
        schema = self.model.encoder_.schema
        columns = {EXAMPLE: pa.array([0]), N_EVENTS: pa.array([0]), schema.cutoff: pa.array([0], _UTC)}
        columns[schema.time] = pa.array([[]], pa.list_(_UTC))
        columns |= {name: pa.array([[]], pa.list_(pa.null())) for name in schema.fields}
        columns |= {name: pa.array([None], pa.null()) for name in schema.profile}
        return pa.table(columns)


def require_row_columns(names: Sequence[str], model: Any) -> None:
    """Refuse sequence rows that lack columns which the model reads.

    Raises:
        DataError: with the columns that are absent.
    """
    schema = model.encoder_.schema
    absent = [n for n in (schema.entity, schema.cutoff, schema.time, *schema.fields, *schema.profile) if n not in names]
    if absent:
        raise DataError(
            f"The sequence rows lack {', '.join(map(repr, absent))}, which the model reads; their columns are "
            f"{', '.join(names)}. Prepare them with the model's own schema."
        )


def _numbered(rows: pa.Table, example: np.ndarray) -> pa.Table:
    return rows.set_column(rows.column_names.index(EXAMPLE), EXAMPLE, pa.array(example))


def _is_good(reasons: np.ndarray) -> np.ndarray:
    return np.array([reason is None for reason in reasons], dtype=bool)


def _spread(reasons: np.ndarray, group: np.ndarray) -> None:
    """Give the reason of a window to all windows of its example."""
    bad = np.flatnonzero(~_is_good(reasons))
    if len(bad) and len(group) > group.max() + 1:
        first = dict(zip(group[bad[::-1]].tolist(), reasons[bad[::-1]], strict=True))
        for row in np.flatnonzero(np.isin(group, group[bad])):
            reasons[row] = first[int(group[row])]


def _note(reasons: np.ndarray, bad: np.ndarray, reason: str) -> None:
    """Write a reason for bad rows that have none yet."""
    for row in np.flatnonzero(bad):
        if reasons[row] is None:
            reasons[row] = reason


def _is_null(values: Any) -> np.ndarray:
    return np.asarray(pc.is_null(values, nan_is_null=pa.types.is_floating(values.type)))


def _any_in_row(bad: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    seen = np.concatenate([[0], np.cumsum(bad)])
    return np.asarray(seen[offsets[1:]] > seen[offsets[:-1]])


def _as_time(values: Any, name: str) -> pa.Array:
    """Return times in microseconds UTC; refuse those without a zone."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    kind = values.type
    if pa.types.is_null(kind):
        return values.cast(_UTC)
    if not pa.types.is_timestamp(kind) or kind.tz is None:
        raise DataError(
            f"Column '{name}' of the sequence rows holds {kind}, not times with a zone; give TIMESTAMP, in UTC."
        )
    return values.cast(pa.timestamp("us", tz=kind.tz), safe=False).cast(_UTC)


def _finite(answers: pa.Table) -> np.ndarray:
    found = np.ones(answers.num_rows, dtype=bool)
    for column in answers.columns:
        if pa.types.is_floating(column.type):
            found &= np.isfinite(column.to_numpy())
    return found


def _plain(answers: pl.DataFrame) -> pa.Table:
    """Return answers in the plain Arrow types that every reader (Spark among them) takes."""
    table = answers.to_arrow()
    kinds = [pa.string() if pa.types.is_large_string(one.type) or pa.types.is_string_view(one.type) else one.type
             for one in table.schema]  # fmt: skip
    return table.cast(pa.schema([pa.field(one.name, kind) for one, kind in zip(table.schema, kinds, strict=True)]))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["without a word"])[0][:200]
