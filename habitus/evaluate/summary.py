"""What the data of a run was: counts, fields, split, lengths, the commonest events. Plain data for `data.json`."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from habitus.data.encode import EncodedSequences, Encoder, gives_ids
from habitus.data.text.in_events import EventText
from habitus.fields.category import MISSING, N_RESERVED, Vocabulary
from habitus.fields.schema import field_to_json
from habitus.prepared import Prepared

_COMMONEST = 15
_BINS = 20


def describe(
    prepared: Prepared, *, positive: int | None, split_sentence: str, split_by: str, seed: int
) -> dict[str, Any]:
    """Return the description of a run's data.

    Args:
        prepared: rows and parts.
        positive: index of the class whose rate is shown; None shows none (more than two classes).
        split_sentence, split_by, seed: how the examples were divided.
    """
    encoded, schema = prepared.encoded, prepared.encoder.schema
    frame = prepared.examples.frame
    is_positive = None if positive is None else np.equal(encoded.labels, positive)
    return {
        "source": prepared.log.source,
        "events": int(encoded.lengths.sum()),
        "entities": frame[schema.entity].n_unique(),
        "examples": frame.height,
        "time_range": _time_range(prepared),
        "fields": _fields(prepared.encoder, encoded),
        "split": {
            "by": split_by,
            "seed": seed,
            "sentence": split_sentence,
            "parts": {name: _part(prepared, name, is_positive) for name in np.unique(prepared.part).tolist()},
        },
        "lengths": _lengths(prepared),
        "commonest": _commonest(prepared.encoder, encoded, is_positive),
        "rejects": _rejects(prepared),
        "notes": [*prepared.log.notes, *prepared.examples.notes],
        "fingerprint": prepared.fingerprint(),
    }


def _time_range(prepared: Prepared) -> list[str | None]:
    time = pl.col(prepared.encoder.schema.time)
    found = prepared.log.frame.select(time.min().alias("low"), time.max().alias("high")).collect(engine="streaming")
    return [None if moment is None else moment.isoformat() for moment in found.row(0)]


def _fields(encoder: Encoder, encoded: EncodedSequences) -> list[dict[str, Any]]:
    described = []
    for role, group, ids, numbers in (
        ("event", encoder.fields, encoded.ids, encoded.numbers),
        ("profile", encoder.profile, encoded.profile_ids, encoded.profile_numbers),
    ):
        for name, fitted in group.items():
            is_missing = ids[name] == MISSING if gives_ids(fitted) else numbers[name][:, 1] > 0
            described.append(
                {
                    "name": name,
                    "kind": field_to_json(fitted.spec)["kind"],
                    "role": role,
                    "n_values": fitted.size - N_RESERVED if gives_ids(fitted) else None,
                    "missing": float(is_missing.mean()) if len(is_missing) else 0.0,
                }
            )
    return described


def _part(prepared: Prepared, name: str, is_positive: np.ndarray | None) -> dict[str, Any]:
    chosen = prepared.part == name
    rows = chosen[prepared.encoded.example]
    entities = prepared.examples.frame[prepared.encoder.schema.entity].filter(pl.Series(chosen))
    return {
        "examples": int(chosen.sum()),
        "entities": entities.n_unique(),
        "events": int(prepared.encoded.lengths[rows].sum()),
        "positive_rate": None if is_positive is None else float(is_positive[rows].mean()),
        **_numbers(prepared.encoded.labels[rows]),
    }


def _numbers(target: np.ndarray) -> dict[str, float]:
    """Return the mean and the median of a target of numbers; nothing for classes and labels."""
    if target.ndim > 1 or not np.issubdtype(target.dtype, np.floating) or not len(target):
        return {}
    return {"target_mean": float(target.mean(dtype=np.float64)), "target_median": float(np.median(target))}


def _lengths(prepared: Prepared) -> dict[str, Any]:
    encoded, sequences = prepared.encoded, prepared.sequences
    per_example = np.zeros(prepared.examples.frame.height, dtype=np.int64)
    per_example[encoded.example] = encoded.n_events
    read = np.bincount(encoded.example, weights=encoded.lengths, minlength=len(per_example)).astype(np.int64)
    longest = max(1, int(per_example.max()))
    edges = np.unique(np.geomspace(1, longest + 1, _BINS + 1).round().astype(int))
    counts, edges = np.histogram(per_example, bins=np.concatenate([[0], edges]) if len(edges) > 1 else [0, 1, 2])
    return {
        "mean": float(per_example.mean()),
        "median": float(np.median(per_example)),
        "max": longest,
        "empty": int((per_example == 0).sum()),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        "max_length": sequences.max_length,
        "history": sequences.history,
        "n_events_cut": int((per_example - read).sum()),
        "n_examples_cut": int((per_example > read).sum()),
    }


def _commonest(encoder: Encoder, encoded: EncodedSequences, is_positive: np.ndarray | None) -> list[dict[str, Any]]:
    found = []
    row = np.repeat(np.arange(len(encoded)), encoded.lengths)
    for name, fitted in encoder.fields.items():
        if not isinstance(fitted, Vocabulary) or not fitted.values:
            continue
        if isinstance(fitted, EventText):  # its first token alone would say little
            continue
        counts = np.bincount(encoded.ids[name], minlength=fitted.size)
        for code in np.argsort(-counts[N_RESERVED:], kind="stable")[:_COMMONEST] + N_RESERVED:
            with_it = np.unique(row[encoded.ids[name] == code])
            found.append(
                {
                    "field": name,
                    "value": fitted.values[code - N_RESERVED],
                    "count": int(counts[code]),
                    "share": len(with_it) / max(len(encoded), 1),
                    "rate_with": None
                    if is_positive is None or not len(with_it)
                    else float(is_positive[with_it].mean()),
                }
            )
    return found


def _rejects(prepared: Prepared) -> dict[str, Any]:
    log, examples = prepared.log.rejects, prepared.examples.rejects
    by_reason = dict(log.counts)
    for reason, n in examples.counts.items():
        by_reason[f"examples: {reason}"] = n
    return {"n": log.total + examples.total, "by_reason": by_reason}
