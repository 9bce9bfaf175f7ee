"""The label process: what makes a simulated person risky. Fixed; documented in docs/simulation.md.

    logit = INTERCEPT + bag + order + time + profile          risk ~ Bernoulli(1 / (1 + exp(-logit)))

Only events strictly before an example's cutoff are counted. Size, weekday, hour and age band play no part.
The strengths were chosen once so that the best possible AUC is about .85 and counting reaches .72-.78; they are
never tuned against a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from habitus.data.simulate.catalog import NAMES, Catalog
from habitus.data.simulate.histories import DAY, GAMBLING, LENDING, REGIONS, Installs, People

INTERCEPT = -3.05

# bag: weight * log(1 + number of installs), of a category and of its most popular apps (first, second, ...)
CATEGORY_WEIGHTS = {"dating": 0.3, "shopping": 0.25, "video": 0.2, "finance": -0.3, "education": -0.3, "books": -0.2}
APP_WEIGHTS: dict[str, tuple[float, ...]] = {
    "game": (0.6, -0.55, 0.55, -0.6),
    "social": (-0.55, 0.6, 0.45),
    "shopping": (0.55, -0.6, 0.55),
    "video": (-0.6, 0.55, -0.45),
    "tools": (0.55, -0.55, 0.6),
    "photo": (-0.55, 0.6, -0.55),
    "music": (0.6, -0.6),
    "finance": (-0.6, 0.55),
    "food": (0.55, -0.55),
    "travel": (-0.6, 0.55),
    "news": (-0.55, 0.6),
    "education": (0.55, -0.6),
    "health": (-0.6, 0.55),
    "sports": (0.7, 0.55),
}

# order: a lending install within three days after a gambling install, at any time before the cutoff
ORDER_WEIGHT, ORDER_DAYS = 2.1, 3

# time: four lending installs within one week, all in the last 30 days before the cutoff
TIME_WEIGHT, TIME_COUNT, TIME_WEEK_DAYS, TIME_RECENT_DAYS = 2.2, 4, 7, 30

# profile: weight * log(1 + number of crypto installs), in one region only
PROFILE_REGION, PROFILE_CATEGORY, PROFILE_WEIGHT = "north", "crypto", 1.2

_SHIFT = np.int64(2**32)  # a key is person * 2**32 + second: one sorted array holds everybody's times


@dataclass(frozen=True)
class Causes:
    """What each cause adds to the logit, per example."""

    bag: np.ndarray
    order: np.ndarray
    time: np.ndarray
    profile: np.ndarray

    @property
    def logit(self) -> np.ndarray:
        """The logit of the true probability."""
        return INTERCEPT + self.bag + self.order + self.time + self.profile


def find_causes(installs: Installs, people: People, catalog: Catalog) -> Causes:
    """Return the planted causes of every example; `installs` must be sorted by person and time."""
    key = installs.user * _SHIFT + installs.second
    category = catalog.category[installs.app]
    left, right = people.example_user * _SHIFT, people.example_user * _SHIFT + people.cutoff_s
    lending, gambling = key[category == LENDING], key[category == GAMBLING]
    in_region = people.region[people.example_user] == REGIONS.index(PROFILE_REGION)
    crypto = _count_between(key[category == NAMES.index(PROFILE_CATEGORY)], left, right)
    return Causes(
        bag=_bag(key, category, installs.app, catalog, left, right),
        order=ORDER_WEIGHT * _has_order(lending, gambling, left, right),
        time=TIME_WEIGHT * _has_burst(lending, right),
        profile=PROFILE_WEIGHT * in_region * np.log1p(crypto),
    )


def weighted_apps(catalog: Catalog) -> dict[str, float]:
    """Return the apps that carry a weight of their own.

    >>> from habitus.data.simulate.catalog import build_catalog
    >>> len(weighted_apps(build_catalog()))
    35
    """
    positions = {name: catalog.first[NAMES.index(name)] for name in APP_WEIGHTS}
    return {
        catalog.name[positions[name] + rank]: weight
        for name, weights in APP_WEIGHTS.items()
        for rank, weight in enumerate(weights)
    }


def _count_between(keys: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Count the sorted keys k with left <= k < right."""
    return np.searchsorted(keys, right, side="left") - np.searchsorted(keys, left, side="left")


def _bag(
    key: np.ndarray, category: np.ndarray, app: np.ndarray, catalog: Catalog, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    total = np.zeros(len(left))
    for name, weight in CATEGORY_WEIGHTS.items():
        total += weight * np.log1p(_count_between(key[category == NAMES.index(name)], left, right))
    for name, weights in APP_WEIGHTS.items():
        for rank, weight in enumerate(weights):
            total += weight * np.log1p(_count_between(key[app == catalog.first[NAMES.index(name)] + rank], left, right))
    return total


def _has_order(lending: np.ndarray, gambling: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """A lending install has its cause if the last gambling install strictly before it is at most three days old."""
    if len(gambling) == 0:
        return np.zeros(len(left), dtype=bool)
    before = np.searchsorted(gambling, lending, side="left") - 1
    # Another person's key is at least 2**32 - one year away, so the difference alone tells them apart.
    close = (before >= 0) & (lending - gambling[np.maximum(before, 0)] <= ORDER_DAYS * DAY)
    return _count_between(lending[close], left, right) > 0


def _has_burst(lending: np.ndarray, cutoff: np.ndarray) -> np.ndarray:
    """Bursts are found by their first install; the first one that is recent enough also ends first."""
    first, last = lending[: 1 - TIME_COUNT], lending[TIME_COUNT - 1 :]
    if len(last) == 0:
        return np.zeros(len(cutoff), dtype=bool)
    is_burst = last - first <= TIME_WEEK_DAYS * DAY
    first, last = first[is_burst], last[is_burst]
    at = np.searchsorted(first, cutoff - TIME_RECENT_DAYS * DAY, side="left")
    return (at < len(first)) & (np.append(last, np.iinfo(np.int64).max)[at] < cutoff)
