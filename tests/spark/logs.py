"""Logs with everything that could tell two readers apart: odd ids, ties, zones, bad rows, crawlers, strangers."""

import numpy as np
import polars as pl

ODD = ("u", "ü", "😀", "ä b,", 'q"', "س")
START_US = 1_700_000_000_000_000


def odd_log(n_users, n_events, seed=0, *, bad=True, names=None):
    """Return (events, examples) with text ids; `bad` adds rows that every reader must reject."""
    rng = np.random.default_rng(seed)
    names = names or (lambda i: f"{ODD[i % len(ODD)]}{i}")
    who = np.minimum(rng.geometric(3 / n_users, n_events), n_users) - 1  # a few are busy
    times = START_US + rng.integers(0, 3000, n_events) * 1_000_000  # many ties
    ids = [names(int(i)) for i in who]
    if bad:
        ids[5], ids[6] = None, ""
    events = pl.DataFrame(
        {
            "user_id": pl.Series(ids, dtype=pl.String),
            "timestamp": pl.Series(times).cast(pl.Datetime("us", "UTC")),
            "item": [f"item {k}" if k % 11 else None for k in rng.integers(0, 60, n_events)],
            "amount": np.where(rng.random(n_events) < 0.1, np.nan, np.round(rng.lognormal(2, 2, n_events), 2)),
            "code": rng.integers(0, 7, n_events).astype(np.int32),
            "order_of_row": np.arange(n_events),
        }
    )
    if bad:
        broken = pl.int_range(pl.len()).is_in([9, 17])
        events = events.with_columns(pl.when(broken).then(None).otherwise("timestamp").alias("timestamp"))
        infinite = pl.int_range(pl.len()).is_in([3, 30])
        events = events.with_columns(pl.when(infinite).then(float("inf")).otherwise("amount").alias("amount"))
    n_examples = int(1.3 * n_users)  # some twice, some never seen in the log
    whom = rng.integers(0, int(1.1 * n_users), n_examples)
    examples = pl.DataFrame(
        {
            "user_id": [names(int(i)) for i in whom],
            "cutoff": pl.Series(START_US + rng.integers(0, 3300, n_examples) * 1_000_000).cast(
                pl.Datetime("us", "UTC")
            ),
            "risk": rng.integers(0, 2, n_examples),
            "region": [f"r{k}" if k else None for k in rng.integers(0, 5, n_examples)],
            "income": np.round(rng.lognormal(3, 1, n_examples), 1),
        }
    )
    return events, examples
