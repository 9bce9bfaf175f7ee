"""What an embedding answers: how alike two sides are, or at which rank the right one is found among all.

    scores                  the cosine of the two sides of each unit
    pairs, texts, events    the rank of a unit's own right side among the right sides of all units, 1 at best
    classes                 the rank of the nearest text of the same class among all other texts

Equal sides never stand against each other. Ties stand in the middle of their ranks. A unit that has nothing to be
found (a pair with 0, a class of one) has no rank: NaN. Knows nothing about networks: vectors may be sparse.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from habitus.data.embed.rows import EmbedRows

_AT_ONCE = 1 << 22  # cosines held at once


def answers(rows: EmbedRows, left: Any, right: Any) -> np.ndarray:
    """Return the cosine or the rank of each unit, float64 (n,).

    Args:
        rows: the units.
        left, right: their vectors of length one, dense or sparse (n, D).
    """
    if rows.kind == "scores":
        product = left.multiply(right) if hasattr(left, "multiply") else left * right
        return np.asarray(product.sum(axis=1), dtype=np.float64).ravel()
    ranked = _class_ranks if rows.kind == "classes" else _pair_ranks
    n_at_once = max(1, _AT_ONCE // max(len(rows), 1))
    found = np.full(len(rows), np.nan)
    for first in range(0, len(rows), n_at_once):
        some = np.arange(first, min(first + n_at_once, len(rows)))
        scores = left[some] @ right.T
        dense = np.asarray(scores.todense() if hasattr(scores, "todense") else scores, dtype=np.float64)
        found[some] = ranked(rows, some, dense)
    return found


def _pair_ranks(rows: EmbedRows, some: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the rank of each unit's own right side among the distinct right sides that are not its own either."""
    own = scores[np.arange(len(some)), some]
    known_left, known_right = rows.group.T
    is_first = np.zeros(len(rows), dtype=bool)
    is_first[np.unique(known_right, return_index=True)[1]] = True
    others = is_first & (known_right[some][:, None] != known_right)
    positive = rows.target > 0
    for place, row in enumerate(some):  # the other right sides that belong to an equal left side
        also = known_right[(known_left == known_left[row]) & positive]
        if len(also) > 1:
            others[place] &= ~np.isin(known_right, also)
    ranks = 1 + ((scores > own[:, None]) & others).sum(1) + ((scores == own[:, None]) & others).sum(1) / 2
    return np.where(positive[some], ranks, np.nan)


def _class_ranks(rows: EmbedRows, some: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the rank of the nearest other text of the same class; copies of a text are left out."""
    others = rows.group[some, 0][:, None] != rows.group[:, 0]
    same = (rows.target[some][:, None] == rows.target) & others
    best = np.where(same, scores, -np.inf).max(axis=1, initial=-np.inf)
    strangers = others & ~same
    ranks = 1 + ((scores > best[:, None]) & strangers).sum(1) + ((scores == best[:, None]) & strangers).sum(1) / 2
    return np.where(same.any(1), ranks, np.nan)
