"""Reading series: from a long table (id, time, values) to regular series.

    log -> rows (the reader of all logs) -> the step -> a grid for each series -> values, and where there are none

Two rows of one step are refused, because nobody can say which one is meant; so are times between the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from habitus.data.columns import read_entity, read_field
from habitus.data.events import refuse_useless
from habitus.data.inference import find_column, find_time, infer_fields
from habitus.data.rows import read_rows
from habitus.data.series.step import Step
from habitus.data.series.table import SeriesData, SeriesTable
from habitus.data.slices import offsets_of
from habitus.data.sources import Source, open_source
from habitus.data.timestamps import read_time
from habitus.errors import DataError
from habitus.fields.number import Number
from habitus.fields.schema import ENTITY_NAMES

ONLY_SERIES = "series"  # name of the one series of a table that has no column for it
_MOST_STEPS = 50  # steps a row: a grid that is emptier has the wrong step
_ENTITY_NAMES = ("series_id", "series", "unique_id", *ENTITY_NAMES)


def read_series(
    source: Any, values: Sequence[str] = (), data: SeriesData | None = None, step: Step | None = None
) -> SeriesTable:
    """Read series in long form: one row a series and step.

    Args:
        source: a path, or a table in memory, as for every log.
        values: columns of the variables; none takes every column of numbers.
        data: how it is read.
        step: of a fitted model; None takes the one of `data`, or the commonest distance.

    Raises:
        DataError: if a column is missing, two rows have the same series and time, or times are off the grid.

    >>> days = ["2024-01-01", "2024-01-02", "2024-01-04"]
    >>> log = pl.DataFrame({"id": ["a"] * 3, "day": days, "load": [1.5, 2, 4]})
    >>> table = read_series(log, data=SeriesData(time="day"))
    >>> str(table.step), table.values[:, 0].tolist()
    ('1d', [1.5, 2.0, nan, 4.0])
    """
    data = data or SeriesData()
    opened = open_source(source)
    entity = find_column(opened, data.entity) or _well_known(opened)
    time = find_time(opened, data.time, taken=entity or "")
    if entity == time:
        raise DataError(f"Column '{time}' cannot name both the series and the time; name two columns.")
    variables, notes = _variables(opened, values, {time, *data.drop, *([entity] if entity else [])})
    when = read_time(opened, time, time_zone=data.time_zone, unit=data.time_unit)
    whose = [read_entity(entity, opened.columns[entity], opened.label)] if entity else []
    numbers = [read_field(name, opened.columns[name], Number(), opened.label) for name in variables]
    rows = read_rows(opened, [*whose, when.reading, *numbers])
    refuse_useless(opened, rows, time, "log")
    frame = rows.frame.collect(engine="streaming")
    if entity is None:
        notes.append("No column names the series, so all rows are one series; --entity names such a column.")
    names, number = _codes(frame, entity)
    time_us = frame[time].dt.epoch("us").to_numpy()
    order = np.lexsort((time_us, number))
    number, time_us = number[order], time_us[order]
    raw = frame.select(pl.col(name).cast(pl.Float64) for name in variables).to_numpy()[order]
    grid = step or (Step.parse(data.step) if data.step else Step.infer(time_us, number))
    if grid is None:
        raise DataError(
            f"No series of {opened.label} has two values, so there is no step; give longer series, or step=."
        )
    placed = _placed(opened, names, number, time_us, raw, grid)
    return SeriesTable(
        names, tuple(variables), *placed, grid, entity, time, when.unit, opened.label.strip("'"),
        (*opened.notes, *when.notes, *notes, *rows.notes, *_gap_notes(*placed, len(raw), variables, grid)),
        rows.rejects, entity is not None and frame[entity].dtype == pl.Int64,
    )  # fmt: skip


def _well_known(source: Source) -> str | None:
    lower = {name.lower(): name for name in reversed(source.columns)}
    return next((lower[name] for name in _ENTITY_NAMES if name in lower), None)


def _variables(source: Source, given: Sequence[str], taken: set[str]) -> tuple[list[str], list[str]]:
    """Return the columns of the variables and notes."""
    if given:
        for name in given:
            find_column(source, name)
            if name in taken:
                raise DataError(
                    f"Column '{name}' is the series, the time or dropped, so it cannot be forecast as well."
                )
        return list(dict.fromkeys(given)), []
    fields, _ = infer_fields(source, {}, taken)
    found = [name for name, spec in fields.items() if isinstance(spec, Number)]
    if not found:
        raise DataError(f"{source.label} has no column of numbers to forecast; name one with value= (--value).")
    return found, [f"The variables are all columns of numbers: {', '.join(found)}; --value names others."]


def _codes(frame: pl.DataFrame, entity: str | None) -> tuple[tuple[str, ...], np.ndarray]:
    """Return names of the series in order of first appearance, and the number of each row's, int64."""
    if entity is None:
        return (ONLY_SERIES,), np.zeros(frame.height, np.int64)
    text = frame[entity].cast(pl.String)
    names = text.unique(maintain_order=True)
    found = text.replace_strict(names, pl.Series(range(len(names)), dtype=pl.Int64))
    return tuple(names.to_list()), found.to_numpy()


def _placed(
    source: Source, names: tuple[str, ...], number: np.ndarray, time_us: np.ndarray, raw: np.ndarray, step: Step
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return offsets, values and times of the grids."""
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    first_us = time_us[starts][number]
    off = np.flatnonzero(~step.is_on_grid(time_us, first_us))
    if len(off):
        raise DataError(_off_grid(source, names, number, time_us, step, off))
    place = step.numbers(time_us if step.is_months else time_us - first_us)
    place = place - place[starts][number]
    double = np.flatnonzero((np.diff(number) == 0) & (np.diff(place) == 0))
    if len(double):
        raise DataError(_double(source, names, number, time_us, double))
    stops = np.append(starts[1:], len(number)) - 1
    offsets = offsets_of(place[stops] + 1)
    if offsets[-1] > _MOST_STEPS * len(raw) + 1000:
        raise DataError(
            f"{source.label} has {len(raw):,} rows, but {offsets[-1]:,} steps of {step} lie between their first and "
            "last times. Give the true step (--step), or leave out stray times."
        )
    values = np.full((offsets[-1], raw.shape[1]), np.nan)
    values[offsets[number] + place] = raw
    times = np.concatenate(
        [step.after(int(time_us[at]), np.arange(n)) for at, n in zip(starts, np.diff(offsets), strict=True)]
    )
    return offsets, values, times


def _off_grid(source: Source, names: Any, number: Any, time_us: Any, step: Step, off: np.ndarray) -> str:
    at = off[0]
    return (
        f"Series '{names[number[at]]}' of {source.label} has a value at {_printed(time_us[at])}, which is no whole "
        f"number of steps of {step} after its first ({len(off):,} such rows). Series are regular here: bring the "
        "times to a grid first, or give the step (--step 15m)."
    )


def _double(source: Source, names: Any, number: Any, time_us: Any, double: np.ndarray) -> str:
    at = double[0]
    return (
        f"Series '{names[number[at]]}' of {source.label} has two rows at {_printed(time_us[at + 1])} ({len(double):,} "
        "rows too many in all). A series has one row a step: if rows belong to several series, name their column with "
        "--entity; otherwise sum or average them first."
    )


def _gap_notes(
    offsets: np.ndarray, values: np.ndarray, times: np.ndarray, n_rows: int, variables: Sequence[str], step: Step
) -> list[str]:
    """Say how many steps have no row, and how many rows no value."""
    absent = int(offsets[-1]) - n_rows
    missing = np.isnan(values).sum(axis=0) - absent
    notes = []
    if absent:
        notes.append(
            f"{absent:,} of {offsets[-1]:,} steps of {step} are not in the log; the network reads them filled from the "
            "past and flagged, and no loss or metric counts them."
        )
    pairs = zip(variables, missing, strict=True)
    notes += [f"{n:,} values of '{name}' are missing and treated so, too." for name, n in pairs if n]
    return notes


def _printed(time_us: int) -> str:
    return str(np.array(time_us, "M8[us]").astype("M8[s]")) + "Z"
