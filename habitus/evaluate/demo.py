"""The demonstration: simulate a log of app installs, train, compare, report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from habitus.backbones import GRU, Transformer
from habitus.data.simulate import simulate_installs, write_installs
from habitus.evaluate.compare import compare_run
from habitus.evaluate.folder import write_json, write_report_if_possible
from habitus.evaluate.run import Audit
from habitus.metrics import Interval, classification_metrics
from habitus.tasks import Classify
from habitus.training import Callback, Training


def run_demo(
    out: str | Path,
    *,
    n_users: int = 4_000,
    seed: int = 0,
    training: Training | None = None,
    callbacks: Callable[[str], Sequence[Callback]] = lambda name: (),
    command: str = "",
    audit: Audit | None = None,
) -> dict[str, Any]:
    """Simulate a log in `out/data`, compare Transformer, GRU and counting on it, and write the report.

    Returns:
        What `compare.json` holds, with `best_possible_auc`: that of the simulation's true probabilities.
    """
    out = Path(out)
    write_installs(simulate_installs(n_users, seed=seed), out / "data")
    document = compare_run(
        Classify("risk"),
        {"transformer": Transformer(), "gru": GRU()},
        out / "data" / "installs.parquet",
        out / "data" / "labels.parquet",
        out,
        training=training or Training(epochs=10),
        seed=seed,
        callbacks=callbacks,
        command=command,
        audit=audit,
    )
    document["best_possible_auc"] = best_possible_auc(out).to_json()
    write_json(out / "compare.json", document)
    write_report_if_possible(out)
    return document


def best_possible_auc(out: Path) -> Interval:
    """Return the AUC that the simulation's true probabilities reach on the test examples of a run."""
    scores = pl.read_parquet(out / "test_scores.parquet", columns=["user_id", "cutoff", "risk"])
    truth = pl.read_parquet(out / "data" / "truth.parquet", columns=["user_id", "cutoff", "true_probability"])
    joined = scores.join(truth, on=["user_id", "cutoff"], how="inner")
    return classification_metrics(joined["risk"], joined["true_probability"], n_bootstrap=0)["auc"]
