"""Histories as units of `Embed`: what one entity did, and its two halves by which an embedding is judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from habitus.data.embed.rows import EmbedRows
from habitus.data.encode import EncodedSequences
from habitus.data.slices import offsets_of, positions


def history_rows(encoded: EncodedSequences) -> EmbedRows:
    """Return one unit a history; a history of one event has the same event on both sides.

    Args:
        encoded: one row an entity.
    """
    n, begin, end = len(encoded), encoded.offsets[:-1], encoded.offsets[1:]
    middle = np.maximum((begin + end) // 2, np.minimum(begin + 1, end))
    earlier = cut_rows(encoded, begin, middle)
    later = cut_rows(encoded, np.minimum(middle, np.maximum(end - 1, begin)), end)
    group = np.repeat(np.arange(n)[:, None], 2, axis=1)
    return EmbedRows("events", earlier, later, np.ones(n, np.float32), group, encoded)


def cut_rows(encoded: EncodedSequences, start: np.ndarray, stop: np.ndarray) -> EncodedSequences:
    """Return start:stop of the flat arrays as rows, looked at when their last event happens."""
    order, lengths = positions(start, stop), stop - start
    offsets = offsets_of(lengths)
    age_days, gap_days = encoded.age_days[order], encoded.gap_days[order].copy()
    some = np.flatnonzero(lengths)
    last = np.zeros(len(lengths), dtype=np.float32)
    last[some] = age_days[offsets[1:][some] - 1]
    gap_days[offsets[:-1][some]] = 0.0
    return replace(
        encoded,
        offsets=offsets,
        ids={name: values[order] for name, values in encoded.ids.items()},
        numbers={name: values[order] for name, values in encoded.numbers.items()},
        age_days=age_days - np.repeat(last, lengths),
        gap_days=gap_days,
        hour=encoded.hour[order],
        weekday=encoded.weekday[order],
        n_events=lengths,
    )
