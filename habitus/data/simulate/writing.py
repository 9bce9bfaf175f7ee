"""Write a simulation as files: installs.parquet, labels.parquet, truth.parquet and a README.md in words.

One chunk at a time, so that the files may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import pyarrow.parquet as pq

from habitus.data.simulate import causes
from habitus.data.simulate.catalog import build_catalog
from habitus.data.simulate.installs import Simulation

FILES = {"events": "installs.parquet", "labels": "labels.parquet", "truth": "truth.parquet"}

_README = """# Simulated app installs

{n_users:,} people, {n_events:,} installs, {n_labels:,} examples, {rate:.1%} of them risky. Everything here is made up.

- `installs.parquet`: user_id, timestamp (UTC), item_id (app), category, size_mb (a few missing).
- `labels.parquet`: user_id, cutoff, risk, region, age_band. Some people have two or three examples, so split by person.
  Many people have installs after their cutoff; those must not be read.
- `truth.parquet`: the true probability, and what each cause adds to its logit. **Never an input of a model.**

## What makes a person risky (only installs before the cutoff)
logit = {intercept} + bag + order + time + profile

- **bag**: some apps and categories count, each as weight * log(1 + number of installs).
  Categories: {categories}. Apps: {apps}.
- **order**: +{order} if a lending app was installed within {order_days} days *after* a gambling app.
  The reverse order adds nothing.
- **time**: +{time} if {time_count} lending apps were installed within {week} days,
  all in the last {recent} days before the cutoff.
- **profile**: +{profile} * log(1 + number of {profile_category} apps), in region {region} only.
- Size, weekday, hour and age band play no part.
"""


def write_installs(simulation: Simulation | Iterable[Simulation], folder: str | Path) -> Path:
    """Write a simulation, or its chunks one after the other, into `folder` and return it.

    >>> import tempfile
    >>> from habitus.data.simulate.installs import simulate_chunks
    >>> folder = write_installs(simulate_chunks(50), tempfile.mkdtemp())
    >>> sorted(path.name for path in folder.iterdir())
    ['README.md', 'installs.parquet', 'labels.parquet', 'truth.parquet']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    totals = {"n_users": 0, "n_events": 0, "n_labels": 0, "n_risky": 0}
    with ExitStack() as stack:
        writers: dict[str, pq.ParquetWriter] = {}
        for chunk in [simulation] if isinstance(simulation, Simulation) else simulation:
            _write_chunk(chunk, folder, writers, stack)
            _add(totals, chunk)
    (folder / "README.md").write_text(_describe(totals), encoding="utf-8")
    return folder


def _write_chunk(chunk: Simulation, folder: Path, writers: dict[str, pq.ParquetWriter], stack: ExitStack) -> None:
    for name, file in FILES.items():
        table = getattr(chunk, name).to_arrow()
        if name not in writers:
            writers[name] = stack.enter_context(pq.ParquetWriter(folder / file, table.schema, compression="zstd"))
        writers[name].write_table(table)


def _add(totals: dict[str, int], chunk: Simulation) -> None:
    totals["n_users"] += chunk.labels["user_id"].n_unique()
    totals["n_events"] += chunk.events.height
    totals["n_labels"] += chunk.labels.height
    totals["n_risky"] += int(chunk.labels["risk"].sum())


def _describe(totals: dict[str, int]) -> str:
    apps = causes.weighted_apps(build_catalog())
    return _README.format(
        **{name: totals[name] for name in ("n_users", "n_events", "n_labels")},
        rate=totals["n_risky"] / max(totals["n_labels"], 1),
        intercept=causes.INTERCEPT,
        categories=", ".join(f"{name} {weight:+}" for name, weight in causes.CATEGORY_WEIGHTS.items()),
        apps=", ".join(f"{name} {weight:+}" for name, weight in apps.items()),
        order=causes.ORDER_WEIGHT,
        order_days=causes.ORDER_DAYS,
        time=causes.TIME_WEIGHT,
        time_count=causes.TIME_COUNT,
        week=causes.TIME_WEEK_DAYS,
        recent=causes.TIME_RECENT_DAYS,
        profile=causes.PROFILE_WEIGHT,
        profile_category=causes.PROFILE_CATEGORY,
        region=causes.PROFILE_REGION,
    )
