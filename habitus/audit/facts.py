"""What a log and its examples are: counts, times, fields, lengths, duplicates and ties, as plain data.

Out of core. Beyond 20 million events, duplicates and ties are counted on a random share of the entities and scaled
up, which `estimated` says. Knows nothing about models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from habitus.audit.case import EXAMPLE, collect, open_case
from habitus.data.events import EventLog
from habitus.data.examples import Examples
from habitus.data.rejects import Rejects
from habitus.data.split import PARTS
from habitus.fields.category import Category, as_category_strings
from habitus.fields.number import Number
from habitus.fields.schema import Field
from habitus.fields.text import Text

_EXACT_EVENTS = 20_000_000
_KINDS = {Category: "category", Text: "text", Number: "number"}
_SHOWN_VALUES, _SHOWN_CLASSES, _SHOWN_REJECTS = 3, 20, 5


def describe_data(log: EventLog, examples: Examples | None = None, part: np.ndarray | None = None) -> dict[str, Any]:
    """Return what the data is, as `habitus check --json` prints it.

    Args:
        log: the events.
        examples: who is judged; None leaves them out.
        part: part of each example, (n,); None leaves the split out.

    >>> from habitus.data.events import read_events
    >>> log = read_events(pl.DataFrame({"user_id": [7, 7], "timestamp": ["2024-01-31T10:00Z"] * 2, "item": ["a", "b"]}))
    >>> facts = describe_data(log)
    >>> facts["events"], facts["entities"], facts["ties"]["n"]
    (2, 1, 2)
    """
    schema, entity, time = log.schema, log.schema.entity, pl.col(log.schema.time)
    moments = collect(log.frame.select(time.min().alias("low"), time.max().alias("high"))).row(0)
    lengths = collect(log.frame.group_by(entity).agg(pl.len().alias("n")))["n"]
    facts = {
        "source": log.source,
        "entity": entity,
        "time": schema.time,
        "events": int(lengths.sum()),
        "entities": len(lengths),
        "time_range": [moment.isoformat() for moment in moments],
        "fields": [describe_field(name, spec, "event", log.frame) for name, spec in schema.fields.items()],
        "lengths": describe_lengths(lengths.to_numpy()),
        **_repeats(log, int(lengths.sum())),
        "rejects": describe_rejects(log.rejects),
        "notes": list(log.notes),
    }
    return facts if examples is None else facts | {"examples": _examples(log, examples, part)}


def describe_field(name: str, spec: Field, role: str, frame: pl.LazyFrame) -> dict[str, Any]:
    """Describe a field by one pass over its column."""
    kind = next(word for one, word in _KINDS.items() if isinstance(spec, one))
    described = {"name": name, "kind": kind, "role": role}
    column = pl.col(name)
    if kind != "number":
        counts = collect(frame.group_by(column).agg(pl.len().alias("n"))).sort("n", name, descending=[True, False])
        total, known = int(counts["n"].sum()), counts.drop_nulls(name)
        commonest = zip(as_category_strings(known[name])[:_SHOWN_VALUES], known["n"][:_SHOWN_VALUES], strict=True)
        return described | {
            "missing": 1 - int(known["n"].sum()) / total if total else 0.0,
            "n_values": known.height,
            "commonest": [{"value": value, "n": n} for value, n in commonest],
        }
    kinds = {"low": column.min(), "mean": column.mean(), "high": column.max(), "missing": column.is_null().mean()}
    found = collect(frame.select(**{kind: value.cast(pl.Float64) for kind, value in kinds.items()})).row(0, named=True)
    return described | {"n_values": None, **found, "missing": found["missing"] or 0.0}


def describe_lengths(lengths: np.ndarray) -> dict[str, Any]:
    """Return mean, median and most of lengths (n,)."""
    if not len(lengths):
        return {"mean": 0.0, "median": 0.0, "max": 0}
    return {"mean": float(lengths.mean()), "median": float(np.median(lengths)), "max": int(lengths.max())}


def _repeats(log: EventLog, n_events: int) -> dict[str, Any]:
    """Count events that repeat another one, and events that share their time with another one of the entity."""
    schema, n_shares = log.schema, max(1, -(-n_events // _EXACT_EVENTS))
    events = log.frame if n_shares == 1 else log.frame.filter(pl.col(schema.entity).hash(1) % n_shares == 0)
    moments = events.group_by(schema.entity, schema.time).agg(
        pl.len().alias("n"),
        (pl.len() - pl.struct(pl.col(schema.fields) if schema.fields else pl.lit(0)).n_unique()).alias("again"),
    )
    found = collect(
        moments.filter(pl.col("n") > 1).select(pl.col("n").sum(), pl.len().alias("moments"), pl.col("again").sum())
    ).row(0, named=True)
    estimated = {"estimated": n_shares > 1}
    return {
        "duplicates": {"n": int(found["again"] or 0) * n_shares, **estimated},
        "ties": {"n": int(found["n"] or 0) * n_shares, "moments": int(found["moments"] or 0) * n_shares, **estimated},
    }


def describe_rejects(rejects: Rejects) -> dict[str, Any]:
    """Return how many rows were rejected, why, and some of them."""
    return {
        "n": rejects.total,
        "n_rows": rejects.n_rows,
        "by_reason": dict(rejects.counts),
        "samples": [sample.sentence() for sample in rejects.samples[:_SHOWN_REJECTS]],
    }


def _examples(log: EventLog, examples: Examples, part: np.ndarray | None) -> dict[str, Any]:
    schema, frame = examples.schema, examples.frame
    cutoffs = frame[schema.cutoff]
    n_before = _events_before(log, examples)
    profile = [describe_field(name, spec, "profile", frame.lazy()) for name, spec in schema.profile.items()]
    return {
        "n": frame.height,
        "entities": frame[schema.entity].n_unique(),
        "cutoff": schema.cutoff,
        "cutoff_range": [cutoffs.min().isoformat(), cutoffs.max().isoformat()] if frame.height else [None, None],  # type: ignore[union-attr]
        "profile": profile,
        "target": describe_target(examples),
        "lengths": describe_lengths(n_before) | {"empty": int((n_before == 0).sum())},
        "split": describe_split(part),
        "rejects": describe_rejects(examples.rejects),
        "notes": list(examples.notes),
    }


def _events_before(log: EventLog, examples: Examples) -> np.ndarray:
    case = open_case(log, examples)
    schema = case.schema
    wanted = case.examples.select(schema.entity, schema.cutoff, EXAMPLE)
    seen = case.joined(wanted, []).filter(pl.col(schema.time) < pl.col(schema.cutoff))
    counts = collect(seen.group_by(EXAMPLE).agg(pl.len().alias("n")))
    joined = wanted.select(EXAMPLE).join(counts, on=EXAMPLE, how="left", maintain_order="left")
    return joined["n"].fill_null(0).to_numpy()


def describe_split(part: np.ndarray | None) -> dict[str, int] | None:
    """Return how many examples each part has."""
    return None if part is None else {name: int((part == name).sum()) for name in PARTS}


def describe_target(examples: Examples) -> Mapping[str, Any] | None:
    """Return the values of the target and how often each is there, the commonest first."""
    if examples.target is None:
        return None
    if examples.target not in examples.frame.columns or examples.frame[examples.target].dtype.is_nested():
        return {"name": examples.target, "labels": list(examples.labels)}
    counts = as_category_strings(examples.frame[examples.target]).value_counts(sort=True)
    rows = zip(counts.to_series(0).to_list(), counts.to_series(1).to_list(), strict=True)
    return {
        "name": examples.target,
        "n_values": counts.height,
        "values": [{"value": value, "n": n} for value, n in list(rows)[:_SHOWN_CLASSES]],
    }
