"""A small log whose events carry titles."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

START = datetime(2024, 1, 1, tzinfo=UTC)


def titled_log(titles, n=40, seed=0):
    """Return events of n users; an item is a place in `titles`, and "" is no title."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(n), rng.integers(3, 9, n))
    item = rng.integers(0, len(titles), len(who))
    return pl.DataFrame(
        {
            "user_id": [f"u{one:02}" for one in who],
            "timestamp": [START + timedelta(hours=h) for h in range(len(who))],
            "item_id": [f"i{one}" for one in item],
            "title": [titles[one] or None for one in item],
        }
    )
