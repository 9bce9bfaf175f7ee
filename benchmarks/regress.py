"""Numbers on two real sets, each model on the same rows, beside counting rivals and a rule of thumb.

    python benchmarks/regress.py cdnow          # dollars of the last 39 weeks from the purchases of the first 39
    python benchmarks/regress.py uci-credit     # next month's payment from five months of bills and the profile

Real data is read from $HABITUS_DATA (default ../shared/data); a set that is absent is skipped with a sentence.
Prints a Markdown table for each loss: its metric with a 95 % interval, the first model's paired difference from each
other one, and seconds of learning. Everything is chosen on the validation part. cdnow is judged in five folds (a few
customers spend so much that one test part alone is a lottery), uci-credit on one test part; one seed.
"""

from __future__ import annotations

import argparse
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from quality import credit_tables  # beside this file

from habitus.backbones import GRU, Transformer
from habitus.data.options import Data
from habitus.data.split import Fold, Split
from habitus.evaluate.task_verdict import verdict
from habitus.model import Options, SequenceModel
from habitus.prepared import Prepared, prepare
from habitus.tasks import Regress
from habitus.training import Training

DATA = Path(os.environ.get("HABITUS_DATA", "../shared/data"))
CUTOFF_CDNOW = datetime(1997, 10, 1, tzinfo=UTC)  # the calibration period of 39 weeks ends the day before
_MONTHS = [datetime(2005, month, 28, tzinfo=UTC) for month in (8, 7, 6, 5, 4)]  # the columns run backwards
TRAINING: dict[str, dict[str, Any]] = {
    "cdnow": {"epochs": 4, "batch_rows": 256},
    "uci-credit": {"epochs": 6, "batch_rows": 256, "learning_rate": 2e-3},
}
TASKS: dict[str, list[dict[str, Any]]] = {
    "cdnow": [{}],
    "uci-credit": [{"log": True, "loss": "absolute"}, {"log": True, "loss": "quantile"}],
}


def cdnow() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return purchases before the cutoff, and what each of the 23,570 customers spends after it (0 for most)."""
    lines = (DATA / "cdnow" / "CDNOW_master.txt").read_text("utf-8").splitlines()
    rows = [line.split() for line in lines if line.split()[:1] and line.split()[0].isdigit()]
    table = pl.DataFrame(rows, schema=["user_id", "day", "n_cds", "dollars"], orient="row").select(
        "user_id",
        pl.col("n_cds", "dollars").cast(pl.Float64),
        timestamp=pl.col("day").str.to_datetime("%Y%m%d", time_zone="UTC"),
    )
    before = table.filter(pl.col("timestamp") < CUTOFF_CDNOW)
    later = table.filter(pl.col("timestamp") >= CUTOFF_CDNOW).group_by("user_id").agg(amount=pl.col("dollars").sum())
    customers = before.select("user_id").unique(maintain_order=True)
    examples = customers.join(later, on="user_id", how="left", maintain_order="left")
    return before, examples.with_columns(pl.col("amount").fill_null(0.0), cutoff=pl.lit(CUTOFF_CDNOW))


def uci_credit() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return April to August as events (a row a month), and the payment of September as target."""
    events, profile, wide = credit_tables(_MONTHS, datetime(2005, 9, 1, tzinfo=UTC), skip=1)
    return events, profile.with_columns(amount=wide["X18"].cast(pl.Float64))


def repeat_spending(events: pl.DataFrame, examples: pl.DataFrame, prepared: Prepared) -> np.ndarray:
    """Answer with what was spent after the first day, times what training says that such a dollar becomes."""
    first = events.group_by("user_id").agg(pl.col("timestamp").min().alias("first"))
    repeat = (
        events.join(first, on="user_id").filter(pl.col("timestamp") > pl.col("first"))
        .group_by("user_id").agg(repeat=pl.col("dollars").sum())
    )  # fmt: skip
    x = examples.join(repeat, on="user_id", how="left", maintain_order="left")["repeat"].fill_null(0.0).to_numpy()
    y, train = examples["amount"].to_numpy(), prepared.part == "train"
    slope, base = np.polyfit(x[train], y[train], 1)
    return (base + slope * x)[prepared.part == "test"]


def last_payment(events: pl.DataFrame, examples: pl.DataFrame, prepared: Prepared) -> np.ndarray:
    """Answer with the payment of the month before."""
    latest = events.filter(pl.col("timestamp") == _MONTHS[0]).select("user_id", "payment")
    x = examples.join(latest, on="user_id", how="left", maintain_order="left")["payment"].to_numpy()
    return x[prepared.part == "test"]


def judge(name: str, options: dict[str, Any], events: pl.DataFrame, examples: pl.DataFrame, given: Any) -> None:
    """Fit the backbones and rivals for one loss on each split, and print the table of all test parts together."""
    splits = [Fold(k, 5) for k in range(5)] if name == "cdnow" else [Split(seed=given.seed)]
    rule, words = (repeat_spending, "repeat spending, a line") if name == "cdnow" else (last_payment, "last payment")
    targets, answers, seconds = [], [], []
    for split in splits:
        task = Regress("amount", **options)
        prepared = prepare(task, events, examples, Data(), split)
        found, took = fit_all(name, task, prepared, given)
        if not task.levels:
            found[words] = rule(events, examples, prepared)[:, None]
        targets.append(prepared.rows("test").labels)
        answers.append(found)
        seconds.append(took)
    joined = {one: np.concatenate([found[one] for found in answers]) for one in answers[0]}
    table(task, np.concatenate(targets), joined, {one: sum(took[one] for took in seconds) for one in seconds[0]})


def fit_all(name: str, task: Regress, prepared: Prepared, given: Any) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return test answers and seconds of learning of each backbone, then of each rival."""
    training = Training(tracker=None, threads=1, **TRAINING[name] | ({"epochs": given.epochs} if given.epochs else {}))
    known = {"Transformer": Transformer(), "GRU": GRU()}
    answers: dict[str, np.ndarray] = {}
    seconds: dict[str, float] = {}
    rivals = None
    for title in given.backbones.split(","):
        model = SequenceModel(task, known[title], training=training, options=Options(), seed=given.seed)
        model.fit_prepared(prepared, rivals=rivals)
        answers[title], seconds[title] = model.test_answers_["model"], model.seconds_
        if rivals is None:
            rivals, of_rivals, counting = model.baselines_, model.rival_seconds_, model.test_answers_
        best = max(row["validation_metric"] for row in model.history_)
        print(f"   {title}: validation {model.history_[0]['monitor']} {best:.4f}, epoch {model.result_.best_epoch}")
    return answers | {one.name: counting[one.name] for one in rivals or []}, seconds | of_rivals


def table(task: Regress, target: np.ndarray, answers: dict[str, np.ndarray], seconds: dict[str, float]) -> None:
    """Print the Markdown table and the verdict."""
    first = next(iter(answers))
    metrics = {name: task.metrics(target, answer) for name, answer in answers.items()}
    shown = list(dict.fromkeys((task.monitor, "r2", "mae", "rmse", *(m for m in metrics[first] if "coverage" in m))))
    print(f"\n| {task.answers_words()} (n = {len(target):,}) | {' | '.join(shown)} | {first} minus this | s |")
    print("|---" * (len(shown) + 3) + "|")
    for name, found in metrics.items():
        gap = "" if name == first else _cell(task.differences(target, answers[first], answers[name])[task.monitor])
        took = f"{seconds[name]:.1f}" if name in seconds else ""
        print(f"| {name} | {' | '.join(_cell(found[one]) for one in shown)} | {gap} | {took} |")
    values = {name: found[task.monitor].value for name, found in metrics.items()}
    print(f"\n{verdict(task, target, answers, values, len(target))}\n", flush=True)


def _cell(interval: Any) -> str:
    form = ".3f" if abs(interval.value) < 100 else ",.0f"
    return f"{interval.value:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def main() -> None:
    """Run one set and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=list(TASKS), nargs="?", default="cdnow")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--backbones", default="Transformer,GRU")
    parser.add_argument("--loss", help="only this one of the set's losses")
    given = parser.parse_args()
    if not (DATA / given.set).is_dir():
        print(f"'{DATA / given.set}' is absent, so that this set is skipped; set HABITUS_DATA to the folder with it.")
        return
    began = time.monotonic()
    events, examples = cdnow() if given.set == "cdnow" else uci_credit()
    for options in TASKS[given.set]:
        if given.loss not in (None, options.get("loss", "squared")):
            continue
        print(f"\n## {given.set}: {', '.join(f'{k}={v}' for k, v in options.items()) or 'squared error'}", flush=True)
        judge(given.set, options, events, examples, given)
    print(f"{time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
