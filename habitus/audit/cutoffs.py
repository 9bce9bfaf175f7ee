"""Where the cutoffs lie: before the history begins, long after it ends, outside the log, on top of events.

Also whether a plain fact about the cutoff (its date, the age or the length of the history) tells the target, as it
does when cutoffs are chosen by the outcome.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from habitus.audit.bars import judge_number
from habitus.audit.case import EXAMPLE, Case, collect
from habitus.audit.deciding import best
from habitus.audit.leak import Leak, counted
from habitus.data.clock import DAY_US

_MANY = 0.2  # share of examples from which on an oddity is a warning
_STALE_DAYS, _STALE_SPAN = (
    30.0,
    0.25,
)  # stale: the last event lies longer back than both, days and share of the log's span


def find_cutoffs(case: Case) -> list[Leak]:
    """Return findings about the cutoffs."""
    time, clock = case.schema.time, case.schema.cutoff
    span = collect(case.events.select(pl.col(time).min().alias("first"), pl.col(time).max().alias("last")))
    first, last = span.row(0)
    facts = _facts(case)
    cutoffs = case.examples[clock]
    found = [*_empty(facts, cutoffs, first), *_stale(facts, cutoffs, first, last), *_whole(cutoffs, last)]
    return [*found, *_at_cutoff(facts), *_repeats(case), *_telling(case, facts, cutoffs)]


def _facts(case: Case) -> pl.DataFrame:
    """Return, for each example in order: events at all, before and at the cutoff, and the time of the last before."""
    time, clock = pl.col(case.schema.time), pl.col(case.schema.cutoff)
    examples = case.examples.select(case.schema.entity, case.schema.cutoff, EXAMPLE)
    counts = (
        case.joined(examples, [])
        .group_by(EXAMPLE)
        .agg(
            pl.len().alias("n"),
            (time < clock).sum().alias("before"),
            (time == clock).sum().alias("at"),
            time.filter(time < clock).max().alias("last"),
        )
    )
    joined = examples.select(EXAMPLE).join(collect(counts), on=EXAMPLE, how="left", maintain_order="left")
    return joined.with_columns(pl.col("n", "before", "at").fill_null(0))


def _empty(facts: pl.DataFrame, cutoffs: pl.Series, first: datetime) -> list[Leak]:
    n, n_empty = facts.height, int((facts["before"] == 0).sum())
    if not n_empty:
        return []
    n_unknown, n_early = int((facts["n"] == 0).sum()), int((cutoffs <= first).sum())
    parts = [
        f"{n_unknown:,} of entities that the log does not know" if n_unknown else "",
        f"{n_early:,} with a cutoff before the whole log begins ({first:%Y-%m-%d})" if n_early else "",
    ]
    named = ", ".join(part for part in parts if part)
    sentence = (
        f"{counted(n_empty, 'example')} of {n:,} have no event before the cutoff{f' ({named})' if named else ''}: they "
        "are scored from an empty history."
    )
    numbers = {"n": n_empty, "n_unknown_entities": n_unknown, "n_before_log": n_early, "share": n_empty / n}
    return [Leak("warning" if n_empty >= _MANY * n else "note", "empty-history", sentence, numbers)]


def _stale(facts: pl.DataFrame, cutoffs: pl.Series, first: datetime, last: datetime) -> list[Leak]:
    n, limit = facts.height, max(_STALE_DAYS, _STALE_SPAN * (last - first).total_seconds() / 86_400)
    days = _days_between(facts["last"], cutoffs)
    beyond = _days_between(pl.Series([last] * n, dtype=cutoffs.dtype), cutoffs)
    is_late, is_stale = beyond > limit, (days > limit) & ~(beyond > limit)
    found = []
    if is_late.any():
        sentence = (
            f"{counted(is_late.sum(), 'cutoff')} of {n:,} lie up to {beyond.max():,.0f} days after the log's last "
            f"event ({last:%Y-%m-%d}): the log does not reach them. Give a longer log, or check the unit of the times."
        )
        numbers = {"n": int(is_late.sum()), "days": float(beyond.max()), "share": float(is_late.mean())}
        found.append(Leak("warning" if is_late.mean() >= _MANY else "note", "cutoff-after-log", sentence, numbers))
    if is_stale.any():
        sentence = (
            f"{counted(is_stale.sum(), 'example')} of {n:,} are stale: the last event lies {limit:,.0f} to "
            f"{days[is_stale].max():,.0f} days before the cutoff."
        )
        numbers = {"n": int(is_stale.sum()), "days": float(days[is_stale].max()), "share": float(is_stale.mean())}
        found.append(Leak("warning" if is_stale.mean() >= _MANY else "note", "stale-history", sentence, numbers))
    return found


def _days_between(earlier: pl.Series, later: pl.Series) -> np.ndarray:
    """Return days from one time to another; NaN where one is missing."""
    gap = later.dt.epoch("us").cast(pl.Float64) - earlier.dt.epoch("us").cast(pl.Float64)
    return (gap / DAY_US).fill_null(float("nan")).to_numpy()


def _whole(cutoffs: pl.Series, last: datetime) -> list[Leak]:
    found = []
    if len(cutoffs) > 1 and cutoffs.n_unique() == 1:
        sentence = f"All cutoffs are {cutoffs[0]:%Y-%m-%d %H:%M}: a split by time is not possible."
        found.append(Leak("note", "one-cutoff", sentence, {"cutoff": cutoffs[0].isoformat()}))
    if len(cutoffs) and (cutoffs > last).all():
        sentence = (
            "All cutoffs lie after the log's last event, so every event is read. That is right if the log was taken "
            "before the outcome; the check cannot see what came later."
        )
        found.append(Leak("note", "cutoffs-after-end", sentence, {"n": len(cutoffs)}))
    return found


def _at_cutoff(facts: pl.DataFrame) -> list[Leak]:
    n_events, n_examples = int(facts["at"].sum()), int((facts["at"] > 0).sum())
    if not n_events:
        return []
    verb = "lies" if n_events == 1 else "lie"
    sentence = (
        f"{counted(n_events, 'event')} of {counted(n_examples, 'example')} {verb} exactly at the cutoff and "
        f"{'is' if n_events == 1 else 'are'} not read: only what is strictly before it is."
    )
    return [Leak("note", "at-cutoff", sentence, {"n_events": n_events, "n_examples": n_examples})]


def _repeats(case: Case) -> list[Leak]:
    """Find examples of one entity and cutoff with different labels."""
    if not case.labels:
        return []
    columns = {f"_y{i}": truth for i, truth in enumerate(case.labels.values())}
    frame = case.examples.select(case.schema.entity, case.schema.cutoff).with_columns(
        **{k: pl.Series(v) for k, v in columns.items()}
    )
    groups = frame.group_by(case.schema.entity, case.schema.cutoff).agg(
        pl.len().alias("_n"), pl.max_horizontal(*(pl.col(name).n_unique() for name in columns)).alias("_different")
    )
    clashing = groups.filter(pl.col("_different") > 1)
    if not clashing.height:
        return []
    n = int(clashing["_n"].sum())
    entity, cutoff = clashing.sort(case.schema.entity, case.schema.cutoff).row(0)[:2]
    sentence = (
        f"{counted(n, 'example')} repeat an entity and a cutoff with different labels ({clashing.height:,} pairs, "
        f"such as '{entity}' at {cutoff:%Y-%m-%d %H:%M}): no model can get both right. Keep one of each."
    )
    return [Leak("warning", "different-labels", sentence, {"n": n, "n_pairs": clashing.height})]


def _telling(case: Case, facts: pl.DataFrame, cutoffs: pl.Series) -> list[Leak]:
    """Find out whether the date of the cutoff, or the age or length of the history, tells the target."""
    columns = {
        "The date of the cutoff": cutoffs.dt.epoch("us").to_numpy().astype(np.float64),
        "The time since the last event": _days_between(facts["last"], cutoffs),
        "The number of events before the cutoff": facts["before"].to_numpy().astype(np.float64),
    }
    found = []
    for subject, values in columns.items():
        decides = best([judge_number(values, truth, label) for label, truth in case.labels.items()])
        if decides:
            sentence = decides.sentence(subject) + " Choose the cutoffs without looking at the outcome."
            found.append(Leak("warning", "deciding-cutoff", sentence, {"what": subject, **decides.numbers()}))
    return found
