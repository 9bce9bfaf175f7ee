"""What occurs only after the cutoffs: values that may be the outcome itself, and fields that are filled too late.

Such events are never read, but a cutoff that is set too late lets them in. A log changes with time, so a value that
is merely new occurs late as well: a value is suspect if it follows the cutoffs more closely than all other events
of the same days do and goes with the target, or if having it afterwards all but decides the target.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from habitus.audit.bars import Decides, judge_having, judge_related
from habitus.audit.case import EXAMPLE, LAST, Case, collect
from habitus.audit.deciding import best
from habitus.audit.leak import Leak, counted, shown

_MIN_ENTITIES = 5
_NEW_ENTITIES = 20  # a value that is merely new is noted from here on
_EARLY_SHARE = 0.02  # of a value's events, before the cutoff: still "nearly only after"
_CHANCE = -3.0  # log10 of the chance, over all values of the field, that a value lands after the cutoffs so often
_MOST_CANDIDATES, _MOST_NAMED = 200, 3
_NEARLY_ALL = 0.95
_LATE = ", as later stages of a process do; they do not go with the target, and are not read."
_NEW = ", as new values of a changing log do; no model can know them."
_Judge = Callable[[int, int, int, int, str], Decides | None]
_FIELD_EVENTS, _FIELD_RATIO = 30, 50.0
_AFTER, _DAY, _BEFORE = "_after", "_day", "_before"


def find_after(case: Case) -> list[Leak]:
    """Return values and fields that occur (nearly) only after the cutoffs."""
    last = case.last_examples()
    names = list(case.schema.fields)
    if not names:
        return []
    is_after = (pl.col(case.schema.time) >= pl.col(LAST)).alias(_AFTER)
    events = case.joined(last, names).with_columns(is_after)
    days = _days(case, events)
    if not days.after.sum() or not days.before.sum():
        return []
    found = _fields(events, names, days)
    silent = {leak.numbers["field"] for leak in found}
    for name in case.category_fields:
        if name not in silent:
            found += _values(case, events, name, days)
    return found


@dataclass(frozen=True)
class _Days:
    """Events of judged entities on each day, before and after their cutoff."""

    day: np.ndarray
    before: np.ndarray
    after: np.ndarray

    def share_after(self, first: date, last: date) -> float:
        """Return the share of events from `first` to `last` that lie after a cutoff."""
        inside = (self.day >= np.datetime64(first)) & (self.day <= np.datetime64(last))
        after, before = self.after[inside].sum(), self.before[inside].sum()
        return float(after / max(after + before, 1))


def _days(case: Case, events: pl.LazyFrame) -> _Days:
    after = pl.col(_AFTER).sum()
    day = pl.col(case.schema.time).dt.date().alias(_DAY)
    table = collect(events.group_by(day).agg(after, (pl.len() - after).alias(_BEFORE)))
    return _Days(*(table[name].to_numpy() for name in (_DAY, _BEFORE, _AFTER)))


def _fields(events: pl.LazyFrame, names: list[str], days: _Days) -> list[Leak]:
    """Find fields that hold values (nearly) only after the cutoffs."""
    asked = [pl.col(name).is_not_null().alias(name) for name in names]
    counted_ = collect(events.select(_AFTER, *asked).group_by(_AFTER).agg(pl.col(names).sum()))
    rows = {row[_AFTER]: row for row in counted_.rows(named=True)}
    n_before, n_after = int(days.before.sum()), int(days.after.sum())
    found = []
    for name in names:
        before, after = rows[False][name], rows[True][name]
        rate_before, rate_after = before / n_before, after / n_after
        if after >= _FIELD_EVENTS and n_before >= _FIELD_EVENTS and rate_after >= _FIELD_RATIO * rate_before:
            sentence = (
                f"The field '{name}' has a value in {rate_after:.1%} of the {counted(n_after, 'event')} after the "
                f"cutoffs, but in {rate_before:.1%} of the {n_before:,} before: it seems to be filled in later. Leave "
                "it out (--drop), or see that it is written when the event happens."
            )
            numbers = {"field": name, "n_before": before, "n_after": after}
            found.append(Leak("warning", "field-after-cutoff", sentence, numbers))
    return found


def _values(case: Case, events: pl.LazyFrame, name: str, days: _Days) -> list[Leak]:
    table, n_values = _candidates(case, events, name)
    if not table.height:
        return []
    having, active = _having(events, name, table[name].to_list())
    warnings, late, new = [], [], []
    for row in table.rows(named=True):
        chance = _chance(row["entities_before"], row["entities_after"], days.share_after(row["first"], row["last"]))
        is_late = chance + math.log10(n_values) < _CHANCE
        goes_with = _goes_with(case, having[row[name]], active, judge_related if is_late else judge_having)
        if goes_with or (is_late and not case.labels):
            warnings.append(_value_leak(name, row, goes_with))
        elif is_late:
            late.append(str(row[name]))
        elif row["n_before"] == 0 and row["entities_after"] >= _NEW_ENTITIES:
            new.append(str(row[name]))
    warnings.sort(key=lambda leak: -float(leak.numbers.get("auc", 0)))
    named = [*warnings[:_MOST_NAMED], *_further(name, warnings[_MOST_NAMED:])]
    return [*named, *_listed(name, "late-values", late, _LATE), *_listed(name, "new-values", new, _NEW)]


def _candidates(case: Case, events: pl.LazyFrame, name: str) -> tuple[pl.DataFrame, int]:
    """Return the values that occur nearly only after the cutoffs, the most frequent first; and the number of values."""
    entity, time, after = case.schema.entity, pl.col(case.schema.time), pl.col(_AFTER)
    counts = events.drop_nulls(name).group_by(name).agg(after.sum().alias("n_after"), (~after).sum().alias("n_before"))
    table = collect(counts)
    early = pl.col("n_before") <= _EARLY_SHARE * (pl.col("n_before") + pl.col("n_after"))
    chosen = table.filter(early & (pl.col("n_after") >= _MIN_ENTITIES)).sort("n_after", name, descending=[True, False])
    chosen = chosen.head(_MOST_CANDIDATES)
    details = (
        events.filter(pl.col(name).is_in(chosen[name].to_list()))
        .group_by(name)
        .agg(
            pl.col(entity).filter(after).n_unique().alias("entities_after"),
            pl.col(entity).filter(~after).n_unique().alias("entities_before"),
            time.min().dt.date().alias("first"),
            time.max().dt.date().alias("last"),
        )
        .filter(pl.col("entities_after") >= _MIN_ENTITIES)
    )
    found = chosen.join(collect(details), on=name, maintain_order="left") if chosen.height else chosen
    return found, table.height


def _chance(before: int, after: int, share_after: float) -> float:
    """Return log10 of the chance that of before + after entities at most `before` have the value early."""
    n = before + after
    if share_after <= 0 or share_after >= 1 or before > after:
        return 0.0
    return math.log10(math.comb(n, before)) + after * math.log10(share_after)


def _having(events: pl.LazyFrame, name: str, values: list[Any]) -> tuple[dict[Any, np.ndarray], np.ndarray]:
    """Return the examples that have each value after the cutoff, and those that have any event after it."""
    after = events.filter(pl.col(_AFTER))
    active = collect(after.select(EXAMPLE).unique())[EXAMPLE].to_numpy()
    pairs = collect(after.filter(pl.col(name).is_in(values)).select(name, EXAMPLE).unique())
    parts = pairs.partition_by(name, as_dict=True)
    return {value: rows[EXAMPLE].to_numpy() for (value,), rows in parts.items()}, active


def _goes_with(case: Case, having: np.ndarray, active: np.ndarray, judge: _Judge) -> Decides | None:
    """Judge a value among the examples with an event after the cutoff: who is silent afterwards is another question.

    Where nearly all of these have the value, as when nothing but the outcome is logged, among all examples.
    """
    among = active if len(having) <= _NEARLY_ALL * len(active) else case.examples[EXAMPLE].to_numpy()
    judged = [
        judge(len(having), int(truth[having].sum()), len(among), int(truth[among].sum()), label)
        for label, truth in case.labels.items()
    ]
    return best(judged)


def _value_leak(name: str, row: dict[str, Any], decides: Decides | None) -> Leak:
    events, entities = counted(row["n_after"], "event"), counted(row["entities_after"], "entity", "entities")
    how = f"nearly only ({row['n_before']:,} before)" if row["n_before"] else "only"
    with_target = ""
    if decides and decides.rate_with is not None and decides.rate_without is not None:
        with_target = (
            f" It goes with the target: {decides.label} in {decides.rate_with:.1%} of entities with it, in "
            f"{decides.rate_without:.1%} of those without."
        )
    sentence = (
        f"'{name}' = {shown(row[name])} occurs {how} after the cutoffs ({events} of {entities}): it may be part of the "
        f"outcome.{with_target} Events after the cutoff are not read, but a cutoff set too late would let it in; leave "
        "such events out of the log."
    )
    numbers = {"field": name, "value": str(row[name])}
    numbers |= {key: row[key] for key in ("n_before", "n_after", "entities_before", "entities_after")}
    return Leak("warning", "value-after-cutoff", sentence, numbers | (decides.numbers() if decides else {}))


def _further(name: str, rest: list[Leak]) -> list[Leak]:
    if not rest:
        return []
    values = [str(leak.numbers["value"]) for leak in rest]
    sentence = f"{counted(len(rest), 'more value')} of '{name}' occur so: {', '.join(map(shown, values[:5]))} …"
    return [Leak("warning", "value-after-cutoff", sentence, {"field": name, "values": values})]


def _listed(name: str, kind: str, values: list[str], meaning: str) -> list[Leak]:
    """Return one note on all values of a kind."""
    if not values:
        return []
    such = f" (such as {', '.join(map(shown, values[:3]))})" if len(values) > 1 else f" ({shown(values[0])})"
    verb = "occurs" if len(values) == 1 else "occur"
    sentence = f"{counted(len(values), 'value')} of '{name}'{such} {verb} only after the cutoffs, or nearly so{meaning}"
    return [Leak("note", kind, sentence, {"field": name, "n_values": len(values), "values": values[:20]})]
