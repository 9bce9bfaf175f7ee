"""A simulated log of app installs with a known truth: who is risky, and which cause made it so.

Made in chunks of people, each from its own random stream, so that a million people need the memory of one chunk
and the same seed gives the same bits. The label process is in `causes.py` and in docs/simulation.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from habitus.data.simulate.catalog import NAMES, Catalog, build_catalog
from habitus.data.simulate.causes import find_causes
from habitus.data.simulate.histories import AGE_BANDS, REGIONS, START, Installs, People, draw_installs, draw_people
from habitus.errors import ConfigError

CHUNK_USERS = 5_000
SIZE_MISSING_SHARE = 0.03
_UTC_US = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Simulation:
    """A simulated log, its labels and the truth behind them.

    Args:
        events: user_id, timestamp, item_id, category, size_mb.
        labels: user_id, cutoff, risk (0 or 1), region, age_band.
        truth: user_id, cutoff, true_probability, logit, and what bag, order, time and profile add to the logit.
            Never an input of a model.
    """

    events: pl.DataFrame
    labels: pl.DataFrame
    truth: pl.DataFrame


def simulate_installs(n_users: int = 20_000, seed: int = 0) -> Simulation:
    """Simulate a year of app installs.

    Args:
        n_users: how many people; beyond some 500,000 use `simulate_chunks` to stay in memory.
        seed: the same seed gives the same frames.

    >>> simulation = simulate_installs(n_users=100, seed=0)
    >>> simulation.labels.columns
    ['user_id', 'cutoff', 'risk', 'region', 'age_band']
    """
    chunks = list(simulate_chunks(n_users, seed))
    return Simulation(*(pl.concat([getattr(c, name) for c in chunks]) for name in ("events", "labels", "truth")))


def simulate_chunks(n_users: int, seed: int = 0) -> Iterator[Simulation]:
    """Yield the same simulation as `simulate_installs`, 5,000 people at a time.

    >>> [chunk.labels["user_id"].n_unique() for chunk in simulate_chunks(90)]
    [90]
    """
    if n_users < 1 or seed < 0:
        raise ConfigError(f"n_users={n_users}, seed={seed} cannot be simulated; use n_users >= 1 and seed >= 0.")
    for chunk in range(-(-n_users // CHUNK_USERS)):
        yield simulate_chunk(n_users, seed, chunk)


def simulate_chunk(n_users: int, seed: int, chunk: int) -> Simulation:
    """Return the chunk of that number, from 0, of `simulate_chunks`, without making the others.

    >>> simulate_chunk(n_users=5_010, seed=0, chunk=1).labels["user_id"][0]
    'u0005000'
    """
    first_user = chunk * CHUNK_USERS
    sequence = np.random.SeedSequence([seed, chunk])
    return _simulate_chunk(first_user, min(CHUNK_USERS, n_users - first_user), sequence)


def _simulate_chunk(first_user: int, n: int, sequence: np.random.SeedSequence) -> Simulation:
    """Draw people, installs, then labels, each from its own stream."""
    people_rng, installs_rng, labels_rng, sizes_rng = map(np.random.default_rng, sequence.spawn(4))
    catalog = build_catalog()
    people = draw_people(people_rng, n)
    installs = draw_installs(installs_rng, people, catalog)
    causes = find_causes(installs, people, catalog)
    probability = 1.0 / (1.0 + np.exp(-causes.logit))
    who = _user_ids(first_user, n)
    ids = {"user_id": who.gather(people.example_user), "cutoff": _timestamps(people.cutoff_s)}
    truth = {name: getattr(causes, name) for name in ("logit", "bag", "order", "time", "profile")}
    return Simulation(
        events=_events_frame(installs, who, catalog, sizes_rng),
        labels=_labels_frame(ids, people, labels_rng.random(len(probability)) < probability),
        truth=pl.DataFrame({**ids, "true_probability": probability, **truth}),
    )


def _events_frame(installs: Installs, who: pl.Series, catalog: Catalog, rng: np.random.Generator) -> pl.DataFrame:
    """Rows in time order, as a log is written."""
    installs = installs.sorted_by(installs.second)
    size = np.round(catalog.size_mb[installs.app] * np.exp(rng.normal(0.0, 0.05, len(installs.app))), 1)
    missing = rng.random(len(size)) < SIZE_MISSING_SHARE
    return pl.DataFrame(
        {
            "user_id": who.gather(installs.user),
            "timestamp": _timestamps(installs.second),
            "item_id": pl.Series(catalog.name).gather(installs.app),
            "category": pl.Series(NAMES).gather(catalog.category[installs.app]),
            "size_mb": pl.Series(size).set(pl.Series(missing), None),
        }
    )


def _labels_frame(ids: dict[str, pl.Series], people: People, risk: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame(
        {
            **ids,
            "risk": risk.astype(np.int64),
            "region": pl.Series(REGIONS).gather(people.region[people.example_user]),
            "age_band": pl.Series(AGE_BANDS).gather(people.age_band[people.example_user]),
        }
    )


def _user_ids(first: int, n: int) -> pl.Series:
    number = pl.Series(np.arange(first, first + n)).cast(pl.String).str.zfill(7)
    return "u" + number


def _timestamps(second: np.ndarray) -> pl.Series:
    start = np.datetime64(START, "us").astype(np.int64)
    return pl.Series(start + second * 1_000_000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC").cast(_UTC_US)
