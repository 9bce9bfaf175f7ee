"""The tables of a report: one row for each model with its metrics, one for each paired difference, and the answer.

Reads metrics.json and compare.json as plain mappings. Marks, but does not judge: the words are in `_words`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from habitus.evaluate import _words as words
from habitus.evaluate._numbers import MINUS, Estimate, number
from habitus.evaluate._words import Record


@dataclass(frozen=True)
class Cell:
    """One value of a table of metrics, with what may be said about it."""

    estimate: Estimate
    is_best: bool = False
    standing: str = ""
    left: float = 0.0  # where the interval starts, its width and its point, in percent of the row's scale
    width: float = 0.0
    point: float = 0.0


@dataclass(frozen=True)
class Row:
    """One model, or one paired difference, of a table of metrics."""

    name: str
    kind: str
    cells: dict[str, Cell]
    ours: str = ""  # of a difference: the two sides
    rival: str = ""
    costs: dict[str, float] = field(default_factory=dict)
    zero: float | None = None  # where no difference lies, in percent of the row's scale

    def estimate(self, metric: str) -> Estimate | None:
        """Return the value of a metric, or None."""
        return self.cells[metric].estimate if metric in self.cells else None

    @property
    def n_judged(self) -> int:
        """Count the cells that a paired interval decides or leaves tied."""
        return sum(bool(cell.standing) for cell in self.cells.values())


def answer(
    metrics: Record,
    compare: Record,
    rows: Sequence[Row],
    differences: Sequence[Row],
    main: str | None,
    of: str = "test examples",
) -> dict[str, str]:
    """Return the sentence at the head of the page, and whether the model stands better, worse or tied."""
    ours = rows[0].estimate(main) if main else None
    if main is None or ours is None:
        return {"sentence": "metrics.json holds no metric, so there is no answer to give.", "more": "", "standing": ""}
    sign = 1 if words.lower_is_better(main) else -1
    rivals = {row.name: estimate.value for row in rows[1:] if (estimate := row.estimate(main))}
    best = min(rivals, key=lambda name: sign * rivals[name], default=None)
    found = next((row for row in differences if (row.ours, row.rival) == (rows[0].name, best)), None)
    difference = found.estimate(main) if found else None
    sentence = words.verdict(rows[0].name, best, main, ours, difference, metrics.get("n"), of)
    standing = words.standing(main, difference) if difference else ""
    if given := compare.get("verdict"):
        return {"sentence": str(given), "more": sentence, "standing": standing}
    return {"sentence": sentence, "more": "", "standing": standing}


def model_rows(metrics: Record, compare: Record, model_name: str) -> list[Row]:
    """Return a row for the model, each baseline, and each compared model not already there; the best is marked."""
    compared = records(compare, "models")
    given = {model_name: ("model", records(metrics, "metrics"))}
    given |= {name: ("baseline", values) for name, values in records(metrics, "baselines").items() if name not in given}
    given |= {name: ("compared", records(one, "metrics")) for name, one in compared.items() if name not in given}
    rows = [Row(name, kind, _cells(values), costs=_costs(compared.get(name))) for name, (kind, values) in given.items()]
    return [_best_marked(row, rows) for row in rows]


def own_name(metrics: Record, compare: Record, main: str | None) -> str:
    """Return what to call the run's own model: its given name, else the compared model with just its numbers.

    >>> own_name({"metrics": {"auc": 0.8}}, {"models": {"GRU": {"metrics": {"auc": 0.8}}}}, "auc")
    'GRU'
    """
    if metrics.get("model"):
        return str(metrics["model"])
    ours = Estimate.read(records(metrics, "metrics").get(main or ""))
    others = {name: records(one, "metrics").get(main or "") for name, one in records(compare, "models").items()}
    same = [name for name, value in others.items() if ours is not None and Estimate.read(value) == ours]
    baselines = records(metrics, "baselines")
    return same[0] if len(same) == 1 and same[0] not in baselines else "the model"


def difference_rows(metrics: Record, compare: Record, model_name: str, names: Sequence[str]) -> list[Row]:
    """Return paired differences, one row for each pair; metrics.json's come first, the model's own before others'."""
    rows: dict[tuple[str, str], Row] = {}
    for source in (metrics, compare):
        for key, values in records(source, "differences").items():
            ours, rival = _pair(key, model_name, names)
            cells = _cells(values if isinstance(values, Mapping) else {})
            judged = {m: replace(c, standing=words.standing(m, c.estimate)) for m, c in cells.items()}
            rows.setdefault((ours, rival), Row(f"{ours} {MINUS} {rival}", "difference", judged, ours, rival))
    return sorted(rows.values(), key=lambda row: row.ours != model_name)


def on_a_scale(rows: Sequence[Row], metric: str | None, zero: bool = False) -> list[Row]:
    """Place the intervals of one metric on one scale, in percent, for the whiskers drawn in the table."""
    known = [estimate for row in rows if metric and (estimate := row.estimate(metric))]
    ends = [end for e in known for end in (e.value, e.low, e.high) if end is not None] + [0.0] * zero
    if metric is None or not known:
        return list(rows)
    low, span = min(ends), (max(ends) - min(ends)) or 1.0

    def at(x: float | None, otherwise: float) -> float:
        return round(4 + 92 * ((otherwise if x is None else x) - low) / span, 2)

    def placed(row: Row) -> Row:
        if not (e := row.estimate(metric)):
            return row
        left, right = at(e.low, e.value), at(e.high, e.value)
        cell = replace(row.cells[metric], left=left, width=round(right - left, 2), point=at(e.value, 0))
        return replace(row, cells={**row.cells, metric: cell}, zero=at(0.0, 0) if zero else None)

    return [placed(row) for row in rows]


def records(of: object, name: str) -> Record:
    """Return the mapping under a key, or an empty one."""
    found = of.get(name) if isinstance(of, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _cells(values: Record) -> dict[str, Cell]:
    return {name: Cell(estimate) for name, value in values.items() if (estimate := Estimate.read(value))}


def _costs(compared: object) -> dict[str, float]:
    found = compared if isinstance(compared, Mapping) else {}
    return {name: found[name] for name in ("seconds", "parameters", "peak_mib") if number(found.get(name)) is not None}


def _best_marked(row: Row, rows: Sequence[Row]) -> Row:
    def is_best(metric: str, cell: Cell) -> bool:
        values = [other.cells[metric].estimate.value for other in rows if metric in other.cells]
        return min(values) < max(values) and cell.estimate.value == (min if words.lower_is_better(metric) else max)(
            values
        )

    return replace(row, cells={m: replace(cell, is_best=is_best(m, cell)) for m, cell in row.cells.items()})


def _pair(key: str, model_name: str, names: Sequence[str]) -> tuple[str, str]:
    """Read 'a - b', or a rival's name alone; names may themselves hold ' - '."""
    if key in names:
        return model_name, key
    cuts = [(key[: cut.start()], key[cut.end() :]) for cut in re.finditer(" - ", key)]
    ours, rival = next((pair for pair in cuts if pair[1] in names), cuts[0] if cuts else (model_name, key))
    return (model_name if ours == "model" else ours), rival
