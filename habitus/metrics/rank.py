"""Rankings of a catalogue: at which rank the true item stands, the best k items, and the metrics of both.

One order everywhere: scores falling, equal scores by ascending id. Ids 0-2 (padding, unknown, missing) are never an
answer, and a true item that the catalogue does not hold is a miss, not a row left out. Items may be excluded per row
("already seen"); the true item itself never is. Ranks count from 1 over ALL other items: no sampled negatives, which
can order models differently (Krichene & Rendle 2020, https://doi.org/10.1145/3394486.3403226).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from habitus.errors import ConfigError, DataError
from habitus.fields.category import N_RESERVED
from habitus.metrics.intervals import Floats, Interval, normal_quantile, wilson

MISS = np.iinfo(np.int64).max  # rank of a true item that the catalogue does not hold
LIST_LENGTH = 10  # of the lists that coverage and novelty look at

Ints = NDArray[np.int64]
Pairs = tuple[np.ndarray, np.ndarray]


def target_ranks(scores: np.ndarray, target: np.ndarray, excluded: Pairs | None = None) -> Ints:
    """Return the rank of each row's true item: 1 + the items with a higher score, or an equal one and a smaller id.

    Args:
        scores: (q, V), of every id including the three reserved ones, whose columns are not read.
        target: (q,), true ids; one below 3 or from V on gets the rank `MISS`.
        excluded: rows and ids, (m,) each, to leave out of the ranking; pairs may repeat, the true item stays in.

    Raises:
        DataError: if a score is NaN.

    >>> scores = np.array([[9, 9, 9, 0.5, 0.7, 0.5]])
    >>> target_ranks(scores, np.array([5])), target_ranks(scores, np.array([5]), (np.array([0]), np.array([4])))
    (array([3]), array([2]))
    """
    n_ids = scores.shape[1]
    _check_scores(scores)
    known = (target >= N_RESERVED) & (target < n_ids)
    place = np.where(known, target, n_ids - 1).astype(np.int64)
    own = np.take_along_axis(scores, place[:, None], axis=1)
    items = scores[:, N_RESERVED:]
    ahead = np.count_nonzero(items > own, axis=1) + _equal_and_smaller(items, own, place - N_RESERVED)
    if excluded is not None:
        ahead -= _excluded_ahead(scores, own[:, 0], place, excluded)
    return np.where(known, ahead + 1, MISS).astype(np.int64)


def top_k(scores: np.ndarray, k: int, excluded: Pairs | None = None) -> tuple[Ints, np.ndarray]:
    """Return the ids and scores of the best k items of each row, the best first, in the order of `target_ranks`.

    Where fewer than k items are left, and for items whose score is minus infinity, the id is 0 and the score -inf.

    Args:
        scores: (q, V), as in `target_ranks`.
        k: items a row.
        excluded: rows and ids, (m,) each, never to be listed.

    Returns:
        ids int64 (q, k) and scores (q, k).

    Raises:
        DataError: if a score is NaN.
        ConfigError: if k is below 1.

    >>> ids, best = top_k(np.array([[9, 9, 9, 0.5, 0.7, 0.5]]), 2)
    >>> ids.tolist(), best.tolist()
    ([[4, 3]], [[0.7, 0.5]])
    """
    if k < 1:
        raise ConfigError(f"k={k} asks for an empty list; use 1 or more, usually 10.")
    _check_scores(scores)
    items = _without(scores, excluded)
    n_rows, width = len(items), min(k, items.shape[1])
    place = (np.flatnonzero(_best(items, width)) % max(items.shape[1], 1)).reshape(n_rows, width)
    best = np.take_along_axis(items, place, axis=1)
    order = np.argsort(-best, axis=1, kind="stable")  # places ascend, so a stable sort leaves equal scores by id
    place, best = np.take_along_axis(place, order, axis=1), np.take_along_axis(best, order, axis=1)
    ids = np.where(np.isneginf(best), 0, place + N_RESERVED).astype(np.int64)
    missing = ((0, 0), (0, k - width))
    return np.pad(ids, missing), np.pad(best, missing, constant_values=-np.inf)


def ranking_metrics(
    ranks: np.ndarray,
    *,
    k: Sequence[int] = (1, 5, 10, 20),
    users: np.ndarray | None = None,
    top_ids: np.ndarray | None = None,
    popularity: np.ndarray | None = None,
    catalogue_size: int | None = None,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Return the metrics of rankings with one true item each.

    With r the rank of the true item: hr@k = 1 if r <= k, ndcg@k = 1 / log2(r + 1) if r <= k, else 0 (not divided by an
    ideal list of k true items, because there is one), mrr = 1 / r. Questions of one user are averaged first, then
    users, and intervals are value +- z standard errors over users; Wilson's for hr with one question a user.
    coverage@10 = distinct items in all lists / catalogue_size, without an interval. novelty@10 = mean over an item list
    of -log2(max(count, 1) / sum of counts), counts being the item's training events; then averaged like the others.

    Args:
        ranks: int64 (q,), from `target_ranks`.
        k: list lengths of hr and ndcg.
        users: (q,), whose question it is; None: every question has its own user.
        top_ids: int64 (q, 10 or more), from `top_k`; needed by coverage and novelty, which read the first ten.
        popularity: (V,), training events of every id; needed by novelty.
        catalogue_size: items that could be listed; needed by coverage.
        confidence: of the intervals.

    >>> metrics = ranking_metrics(np.array([1, 3, 40]), k=[10])
    >>> {name: round(interval.value, 4) for name, interval in metrics.items()}
    {'hr@10': 0.6667, 'ndcg@10': 0.5, 'mrr': 0.4528}
    """
    names = [f"hr@{n}" for n in k] + [f"ndcg@{n}" for n in k] + ["mrr"]
    metrics = {name: _interval(rank_values(ranks, name), users, confidence, name) for name in names}
    if top_ids is None:
        return metrics
    lists = top_ids[:, :LIST_LENGTH]
    if catalogue_size is not None:
        metrics[f"coverage@{lists.shape[1]}"] = _coverage(lists, catalogue_size)
    if popularity is not None:
        values = _novelty(lists, popularity)
        has_list = ~np.isnan(values)
        whose = None if users is None else users[has_list]
        metrics[f"novelty@{lists.shape[1]}"] = _interval(values[has_list], whose, confidence)
    return metrics


def rank_values(ranks: np.ndarray, metric: str = "ndcg@10") -> Floats:
    """Return what each question gives to `hr@k`, `ndcg@k` or `mrr`, float64 (q,).

    >>> rank_values(np.array([1, 3, 11]), "ndcg@10").tolist()
    [1.0, 0.5, 0.0]
    """
    kind, _, length = metric.partition("@")
    rank = np.asarray(ranks, dtype=np.float64)
    if metric == "mrr":
        return np.where(np.asarray(ranks) == MISS, 0.0, 1 / rank)
    if kind not in ("hr", "ndcg") or not length.isdecimal():
        raise ConfigError(f"metric='{metric}' is not one of a ranking; use 'mrr', 'hr@K' or 'ndcg@K', K a number.")
    return np.where(rank <= int(length), 1.0 if kind == "hr" else 1 / np.log2(rank + 1), 0.0)


def accuracy(ranks: np.ndarray, users: np.ndarray, confidence: float = 0.95) -> Interval:
    """Return the share of questions whose true item ranks first, every question counting once.

    The interval takes a user's questions to belong together: the standard error of a ratio of sums over users.

    >>> print(accuracy(np.array([1, 1, 2, 1]), np.array([0, 0, 1, 1])))
    0.7500 [0.4035, 1.0000]
    """
    hit = (np.asarray(ranks) == 1).astype(np.float64)
    value, n = float(hit.mean()), len(hit)
    whose = np.unique(users, return_inverse=True)[1]
    residual = np.bincount(whose, weights=hit - value)
    reach = normal_quantile(confidence) * math.sqrt(float((residual**2).sum())) / n
    return Interval(value, max(0.0, value - reach), min(1.0, value + reach))


def standard_error(values: np.ndarray, users: np.ndarray | None = None) -> float:
    """Return the standard error of the mean over users of (q,) values, averaged per user first; NaN for one user.

    >>> round(standard_error(rank_values(np.array([1, 1, 30, 30]), "hr@10")), 4)
    0.2887
    """
    means = _per_user(values, users)
    return float(means.std(ddof=1) / math.sqrt(len(means))) if len(means) > 1 else math.nan


def paired_rank_difference(
    ranks_a: np.ndarray,
    ranks_b: np.ndarray,
    users: np.ndarray | None = None,
    metric: str = "ndcg@10",
    confidence: float = 0.95,
) -> Interval:
    """Return a metric of ranking a minus that of b on the same questions; above 0 throughout: a is better.

    >>> print(paired_rank_difference(np.array([1, 1, 3, 1]), np.array([3, 1, 3, 3])))
    0.2500 [-0.0329, 0.5329]
    """
    if np.shape(ranks_a) != np.shape(ranks_b):
        raise DataError(f"{np.shape(ranks_a)} and {np.shape(ranks_b)} ranks are not of the same questions.")
    difference = rank_values(ranks_a, metric) - rank_values(ranks_b, metric)
    return _mean_interval(_per_user(difference, users), confidence)


def _check_scores(scores: np.ndarray) -> None:
    items = scores[:, N_RESERVED:]
    # The smallest of numbers with a NaN among them is NaN: one pass, and no array of flags.
    if items.size and np.isnan(items.min()):
        row = int(np.argwhere(np.isnan(items))[0][0])
        raise DataError(f"Scores hold NaN, the first in row {row}; look for NaN in the model's inputs or weights.")


def _equal_and_smaller(items: np.ndarray, own: np.ndarray, place: np.ndarray) -> np.ndarray:
    equal = items == own
    count = np.zeros(len(items), dtype=np.int64)
    tied = np.flatnonzero(np.count_nonzero(equal, axis=1) > 1)  # few rows, unless the scores are counts
    count[tied] = np.count_nonzero(equal[tied] & (np.arange(items.shape[1]) < place[tied, None]), axis=1)
    return count


def _excluded_ahead(scores: np.ndarray, own: np.ndarray, place: np.ndarray, excluded: Pairs) -> np.ndarray:
    """Return how many different excluded items of each row stand before its true one."""
    n_rows, n_ids = scores.shape
    is_excluded = np.zeros((n_rows, n_ids), dtype=bool)  # histories repeat items: each may be taken out once only
    is_excluded[excluded[0], excluded[1]] = True
    row, item = np.divmod(np.flatnonzero(is_excluded), n_ids)  # much faster than nonzero of two dimensions
    score = scores[row, item]
    is_ahead = (score > own[row]) | ((score == own[row]) & (item < place[row]))
    return np.bincount(row[is_ahead & (item >= N_RESERVED)], minlength=n_rows)


def _without(scores: np.ndarray, excluded: Pairs | None) -> np.ndarray:
    items = scores[:, N_RESERVED:]
    if excluded is None:
        return items
    row, item = excluded
    items, listed = items.copy(), item >= N_RESERVED
    items[row[listed], item[listed] - N_RESERVED] = -np.inf
    return items


def _best(items: np.ndarray, k: int) -> NDArray[np.bool_]:
    """Mark exactly the k first items of every row; of equal scores at the border those with smaller ids."""
    if k == items.shape[1]:
        return np.ones(items.shape, dtype=bool)
    border = np.partition(items, items.shape[1] - k, axis=1)[:, items.shape[1] - k, None]
    best = items >= border
    crowded = np.flatnonzero(np.count_nonzero(best, axis=1) > k)
    above, equal = items[crowded] > border[crowded], items[crowded] == border[crowded]
    room = k - np.count_nonzero(above, axis=1)
    best[crowded] = above | (equal & (np.cumsum(equal, axis=1) <= room[:, None]))
    return best


def _coverage(lists: np.ndarray, catalogue_size: int) -> Interval:
    if catalogue_size < 1:
        return Interval.undefined()
    listed = np.unique(lists[lists >= N_RESERVED])
    return Interval(len(listed) / catalogue_size, math.nan, math.nan)


def _novelty(lists: np.ndarray, popularity: np.ndarray) -> Floats:
    """Return the mean surprise of each list in bits; NaN for an empty one."""
    bits = math.log2(max(float(popularity.sum()), 1.0)) - np.log2(np.maximum(popularity, 1.0))
    is_item = lists >= N_RESERVED
    total = np.where(is_item, bits[lists], 0.0).sum(axis=1)
    n_items = is_item.sum(axis=1)
    return np.where(n_items > 0, total / np.maximum(n_items, 1), math.nan)


def _per_user(values: np.ndarray, users: np.ndarray | None) -> Floats:
    if users is None:
        return np.asarray(values, dtype=np.float64)
    _, user, n = np.unique(users, return_inverse=True, return_counts=True)
    return np.bincount(user, weights=values, minlength=len(n)) / n


def _interval(values: Floats, users: np.ndarray | None, confidence: float, metric: str = "") -> Interval:
    means = _per_user(values, users)
    if metric.startswith("hr@") and len(means) == len(values):
        return wilson(float(means.sum()), len(means), confidence)
    interval = _mean_interval(means, confidence)
    if not metric:
        return interval
    return Interval(interval.value, max(interval.low, 0.0), min(interval.high, 1.0))  # NaN stays: it comes first


def _mean_interval(means: Floats, confidence: float) -> Interval:
    if not len(means):
        return Interval.undefined()
    half = normal_quantile(confidence) * standard_error(means)
    value = float(means.mean())
    return Interval(value, value - half, value + half)
