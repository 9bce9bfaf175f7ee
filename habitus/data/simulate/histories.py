"""Who installs what, and when: people, their ordinary installs, and the planted arrangements of lending and gambling.

Ordinary installs follow a person's tastes and come in sessions. On top, every person may get one gambling and one
lending install in some arrangement (right order, reverse, far apart), and every example may get four lending
installs in some arrangement (a burst near the cutoff, spread out, a burst long before). Arrangements are drawn
independently of everything else, so that the counts of lending and gambling apps say little about them.
Knows nothing about labels. Times are whole seconds since `START`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from habitus.data.simulate.catalog import CATEGORIES, NAMES, Catalog

START = "2024-01-01"
DAY = 86_400
N_DAYS = 365
REGIONS, REGION_SHARES = ("north", "south", "east", "west"), (0.3, 0.3, 0.2, 0.2)
AGE_BANDS, AGE_SHARES = ("18-24", "25-34", "35-44", "45-54", "55+"), (0.22, 0.3, 0.22, 0.16, 0.1)

EVENTS_MEDIAN, EVENTS_SIGMA, EVENTS_MAX = 36.0, 0.9, 1_000  # ordinary installs per person
EVENTS_PER_SESSION = 3.0
TASTE_CONCENTRATION = 12.0  # of the Dirichlet distribution around the shares; small: strong tastes
LAST_START, FIRST_CUTOFF, LAST_CUTOFF = 90, 150, 345  # days
EXAMPLES_SHARES = (0.80, 0.15, 0.05)  # of people with 1, 2 and 3 examples
CHURN_SHARE = 0.2

# The first arrangement stands before a person's first cutoff; the later one after it, where for most people
# only a leak would see it.
ORDER_ARRANGEMENTS = {"right": 0.15, "reverse": 0.43, "apart": 0.39, "none": 0.03}
LATER_ORDER_ARRANGEMENTS = {"right": 0.25, "reverse": 0.25, "apart": 0.0, "none": 0.5}
TIME_ARRANGEMENTS = {"burst": 0.17, "spread": 0.24, "early burst": 0.22, "none": 0.37}
LENDING, GAMBLING = NAMES.index("lending"), NAMES.index("gambling")


@dataclass(frozen=True)
class People:
    """Persons of one chunk, and their examples.

    Args:
        start_s, end_s: first and last second of activity, per person.
        night_share: share of sessions between midnight and six, per person.
        n_events: number of ordinary installs, per person.
        region, age_band: profile, index into `REGIONS` and `AGE_BANDS`.
        example_user: person of each example; a person's examples stand together in time order.
        cutoff_s: cutoff of each example, a midnight.
    """

    start_s: np.ndarray
    end_s: np.ndarray
    night_share: np.ndarray
    n_events: np.ndarray
    region: np.ndarray
    age_band: np.ndarray
    example_user: np.ndarray
    cutoff_s: np.ndarray

    @property
    def first_cutoff_s(self) -> np.ndarray:
        """Cutoff of each person's first example."""
        return self.cutoff_s[np.unique(self.example_user, return_index=True)[1]]


@dataclass(frozen=True)
class Installs:
    """Events of one chunk: who (index of the person), when (seconds), which app."""

    user: np.ndarray
    second: np.ndarray
    app: np.ndarray

    def sorted_by(self, *keys: np.ndarray) -> Installs:
        """Return the events in the order of `keys`, the last one first, ties as they stand (`np.lexsort`)."""
        order = np.lexsort(keys)
        return Installs(self.user[order], self.second[order], self.app[order])


def draw_people(rng: np.random.Generator, n: int) -> People:
    """Draw `n` persons with profile, activity window and cutoffs."""
    start = rng.uniform(0, LAST_START, n)
    churned = rng.random(n) < CHURN_SHARE
    end = np.where(churned, rng.uniform(FIRST_CUTOFF, N_DAYS, n), N_DAYS)
    n_events = np.clip(np.round(rng.lognormal(np.log(EVENTS_MEDIAN), EVENTS_SIGMA, n)), 1, EVENTS_MAX).astype(np.int64)
    n_examples = 1 + rng.choice(len(EXAMPLES_SHARES), n, p=EXAMPLES_SHARES)
    example_user = np.repeat(np.arange(n), n_examples)
    return People(
        start_s=(start * DAY).astype(np.int64),
        end_s=(end * DAY).astype(np.int64),
        night_share=rng.beta(1.0, 7.0, n),
        n_events=n_events,
        region=rng.choice(len(REGIONS), n, p=REGION_SHARES),
        age_band=rng.choice(len(AGE_BANDS), n, p=AGE_SHARES),
        example_user=example_user,
        cutoff_s=_draw_cutoffs(rng, n_examples, example_user),
    )


def draw_installs(rng: np.random.Generator, people: People, catalog: Catalog) -> Installs:
    """Draw all installs of `people`, sorted by person and time."""
    parts = [
        _ordinary(rng, people, catalog),
        _order_arrangements(rng, ORDER_ARRANGEMENTS, people.start_s, people.first_cutoff_s, catalog),
        _order_arrangements(rng, LATER_ORDER_ARRANGEMENTS, people.first_cutoff_s, people.end_s, catalog),
        _time_arrangements(rng, people, catalog),
    ]
    joined = Installs(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("user", "second", "app")))
    return joined.sorted_by(joined.second, joined.user)


def _draw_cutoffs(rng: np.random.Generator, n_examples: np.ndarray, example_user: np.ndarray) -> np.ndarray:
    """One cutoff anywhere in the range, or several at least six weeks apart."""
    position = np.arange(len(example_user)) - np.repeat(np.cumsum(n_examples) - n_examples, n_examples)
    repeats = n_examples[example_user]
    jitter = rng.random(len(example_user)) * np.where(repeats == 1, 1.0, 0.3)
    day = FIRST_CUTOFF + (LAST_CUTOFF - FIRST_CUTOFF) * (position + jitter) / repeats
    return np.floor(day).astype(np.int64) * DAY


def _ordinary(rng: np.random.Generator, people: People, catalog: Catalog) -> Installs:
    user = np.repeat(np.arange(len(people.n_events)), people.n_events)
    category = _categories_by_taste(rng, user, len(people.n_events))
    return Installs(user, _session_seconds(rng, people, user), catalog.draw(rng, category))


def _categories_by_taste(rng: np.random.Generator, user: np.ndarray, n_users: int) -> np.ndarray:
    share = np.array([share for share, _ in CATEGORIES.values()])
    taste = rng.gamma(TASTE_CONCENTRATION * share, size=(n_users, len(share)))
    # Nobody has a taste for these two: their number must not tell who has them in the right order.
    taste[:, [LENDING, GAMBLING]] = 0.0
    taste *= ((1.0 - share[[LENDING, GAMBLING]].sum()) / taste.sum(axis=1))[:, None]
    taste[:, [LENDING, GAMBLING]] = share[[LENDING, GAMBLING]]
    cumulative = np.cumsum(taste, axis=1)
    cumulative[:, -1] = 1.0
    flat = (cumulative + np.arange(n_users)[:, None]).ravel()
    return np.searchsorted(flat, user + rng.random(len(user)), side="right") - user * len(share)


def _session_seconds(rng: np.random.Generator, people: People, user: np.ndarray) -> np.ndarray:
    """Sessions at random days, by day or by night; installs a few minutes apart inside a session."""
    n_sessions = np.ceil(people.n_events / EVENTS_PER_SESSION).astype(np.int64)
    first = np.cumsum(n_sessions) - n_sessions
    owner = np.repeat(np.arange(len(n_sessions)), n_sessions)
    start, end = people.start_s[owner] // DAY, people.end_s[owner] // DAY
    day = start + np.floor(rng.random(len(owner)) * (end - start)).astype(np.int64)
    at_night = rng.random(len(owner)) < people.night_share[owner]
    hour = np.where(at_night, rng.uniform(0, 6, len(owner)), rng.triangular(6, 20, 24, len(owner)))
    session_s = day * DAY + (hour * 3_600).astype(np.int64)
    session = first[user] + np.floor(rng.random(len(user)) * n_sessions[user]).astype(np.int64)
    return session_s[session] + rng.exponential(480.0, len(user)).astype(np.int64)


def _order_arrangements(
    rng: np.random.Generator, shares: dict[str, float], left_s: np.ndarray, right_s: np.ndarray, catalog: Catalog
) -> Installs:
    """One gambling and one lending install each, somewhere between left and right, in a drawn arrangement."""
    n = len(left_s)
    kind = rng.choice(len(shares), n, p=list(shares.values()))
    right, apart, none = (kind == list(shares).index(name) for name in ("right", "apart", "none"))
    gap = np.where(apart, rng.uniform(6, 50, n), rng.uniform(0.02, 2.95, n)) * DAY
    lending_last = right | (apart & (rng.random(n) < 0.5))
    first = left_s + rng.random(n) * (right_s - left_s - gap)
    category = np.stack([np.where(lending_last, GAMBLING, LENDING), np.where(lending_last, LENDING, GAMBLING)])
    second = np.stack([first, first + gap]).astype(np.int64)
    keep = np.flatnonzero(~none & (right_s - left_s > gap))
    return Installs(np.tile(keep, 2), second[:, keep].ravel(), catalog.draw(rng, category[:, keep].ravel()))


def _time_arrangements(rng: np.random.Generator, people: People, catalog: Catalog) -> Installs:
    """Four lending installs before an example's cutoff: within a week of the last 30 days, or in a decoy's way."""
    n, cutoff = len(people.cutoff_s), people.cutoff_s
    kind = rng.choice(len(TIME_ARRANGEMENTS), n, p=list(TIME_ARRANGEMENTS.values()))
    start = people.start_s[people.example_user]
    near = cutoff - 7 * DAY - (rng.random(n) * 23 * DAY).astype(np.int64)
    early = start + (rng.random(n) * (cutoff - 40 * DAY - start)).astype(np.int64)
    left = np.select([kind == 0, kind == 1], [near, cutoff - 30 * DAY], early)
    width = np.where(kind == 1, 30 * DAY, 7 * DAY)
    keep = np.flatnonzero(kind != list(TIME_ARRANGEMENTS).index("none"))
    second = left[keep, None] + (rng.random((len(keep), 4)) * width[keep, None]).astype(np.int64)
    user = np.repeat(people.example_user[keep], 4)
    return Installs(user, second.ravel(), catalog.draw(rng, np.full(len(user), LENDING)))
