"""Quality on one simulated and two real sets, each model on the same rows, with paired differences.

    python benchmarks/quality.py installs              # 20,000 simulated users, test by user
    python benchmarks/quality.py uci-credit            # 5-fold: six months of repayment + profile -> default
    python benchmarks/quality.py ml-1m-gender          # 5-fold: gender from the films rated

Real data is read from $HABITUS_DATA (default ../shared/data); a set that is absent is skipped with a sentence.
Prints a Markdown table: AUC with its 95 % interval, the first model's paired difference from each other one.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from habitus.backbones import GRU, Transformer
from habitus.data.options import Data
from habitus.data.simulate import simulate_installs
from habitus.data.split import Fold, Split
from habitus.evaluate.task_verdict import verdict
from habitus.metrics import auc_interval
from habitus.model import Options, SequenceModel
from habitus.prepared import prepare
from habitus.tasks import Backbone, Classify
from habitus.training import ProgressBar, Training

DATA = Path(os.environ.get("HABITUS_DATA", "../shared/data"))
# six events a row: larger batches, and a rate to match; chosen on the validation part
TRAINING: dict[str, Any] = {"uci-credit": {"batch_rows": 256, "learning_rate": 2e-3}}
_MONTHS = [datetime(2005, month, 28, tzinfo=UTC) for month in (9, 8, 7, 6, 5, 4)]  # the columns run backwards


def installs(seed: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return events, examples and the truth of the simulation."""
    simulation = simulate_installs(20_000, seed=seed)
    return simulation.events, simulation.labels, simulation.truth


def uci_credit() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return repayment histories as events (a row a month) and the profile with the default as target."""
    events, profile, wide = credit_tables(_MONTHS, datetime(2005, 10, 1, tzinfo=UTC))
    delay = pl.col("status").cast(pl.Float64).alias("delay")
    events = events.select("user_id", "timestamp", "status", delay, "bill", "payment", "bill_to_limit")
    return events, profile.with_columns(default=wide["Y"])


def credit_tables(
    months: list[datetime], cutoff: datetime, skip: int = 0
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return a row a client and month, the profile of each client at the cutoff, and the whole table.

    Args:
        months: latest first, as the columns are.
        cutoff: of the examples.
        skip: latest months that are left out.
    """
    wide = pl.read_csv(DATA / "uci-credit" / "UCI_Credit_Card.csv", infer_schema_length=None)
    events = [
        wide.select(
            user_id=pl.col("ID"),
            timestamp=pl.lit(moment),
            status=pl.col(f"X{6 + k}").cast(pl.String),
            bill=pl.col(f"X{12 + k}").cast(pl.Float64),
            payment=pl.col(f"X{18 + k}").cast(pl.Float64),
            bill_to_limit=pl.col(f"X{12 + k}") / pl.col("X1"),
        )
        for k, moment in enumerate(months, start=skip)
    ]
    profile = wide.select(
        user_id=pl.col("ID"),
        cutoff=pl.lit(cutoff),
        limit=pl.col("X1").cast(pl.Float64),
        sex=pl.col("X2").cast(pl.String),
        education=pl.col("X3").cast(pl.String),
        marriage=pl.col("X4").cast(pl.String),
        age=pl.col("X5").cast(pl.Float64),
    )
    return pl.concat(events).sort("timestamp", "user_id"), profile, wide


def ml_1m_gender() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return ratings as events and gender as target, judged after the last rating."""
    events = pl.read_parquet(DATA / "ml-1m" / "events.parquet").select("user_id", "item_id", "timestamp")
    users = pl.read_csv(DATA / "ml-1m" / "users.csv").select("user_id", "gender")
    return events, users


def boosted_columns(examples: pl.DataFrame, part: np.ndarray) -> np.ndarray:
    """Return test probabilities of gradient boosting on all 23 columns of uci-credit, as they stand."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    wide = pl.read_csv(DATA / "uci-credit" / "UCI_Credit_Card.csv", infer_schema_length=None)
    assert wide["ID"].to_list() == examples["user_id"].to_list()
    x, y = wide.drop("ID", "Y").to_numpy(), wide["Y"].to_numpy()
    model = HistGradientBoostingClassifier(learning_rate=0.05, max_leaf_nodes=15, early_stopping=True, random_state=0)
    return model.fit(x[part != "test"], y[part != "test"]).predict_proba(x[part == "test"])


def judge_fold(
    task: Classify,
    backbones: dict[str, Backbone],
    events: pl.DataFrame,
    examples: pl.DataFrame,
    data: Data,
    split: Split | Fold,
    training: Training,
    options: Options,
    seed: int,
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return test answers by model, targets, and the part of each example."""
    prepared = prepare(task, events, examples, data, split)
    answers: dict[str, np.ndarray] = {}
    rivals = None
    for name, backbone in backbones.items():
        began = time.monotonic()
        model = SequenceModel(task, backbone, data=data, training=training, options=options, seed=seed)
        model.fit_prepared(prepared, rivals=rivals, callbacks=[ProgressBar()])
        rivals = model.baselines_
        answers = (
            {name: model.test_answers_["model"]} | answers
            if not answers
            else answers | {name: model.test_answers_["model"]}
        )
        print(f"   {name}: test AUC {model.evaluation_.metrics['auc']}, {time.monotonic() - began:.0f} s", flush=True)
    answers |= {rival.name: model.test_answers_[rival.name] for rival in rivals or []}
    return answers, prepared.rows("test").target, prepared.part


def table(task: Classify, target: np.ndarray, answers: dict[str, np.ndarray]) -> None:
    """Print the Markdown table and the verdict."""
    first = next(iter(answers))
    print(f"\n| model | AUC (n = {len(target):,}) | {first} minus this, paired |\n|---|---|---|")
    for name, answer in answers.items():
        gap = "" if name == first else str(task.differences(target, answers[first], answer)["auc"])
        print(f"| {name} | {auc_interval(target, answer[:, 1])} | {gap} |")
    values = {name: task.metrics(target, answer, n_bootstrap=0)["auc"].value for name, answer in answers.items()}
    print(f"\n{verdict(task, target, answers, values, len(target))}")


def main() -> None:
    """Run one set and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=["installs", "uci-credit", "ml-1m-gender"], nargs="?", default="installs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--backbones", default="Transformer,GRU")
    given = parser.parse_args()
    if given.set != "installs" and not (DATA / given.set.removesuffix("-gender")).is_dir():
        print(f"'{DATA / given.set}' is absent, so that this set is skipped; set HABITUS_DATA to the folder with it.")
        return
    training = Training(tracker=None, **TRAINING.get(given.set, {}))
    training = training if given.epochs is None else replace(training, epochs=given.epochs)
    options = Options()
    known: dict[str, Backbone] = {"Transformer": Transformer(), "GRU": GRU()}
    backbones = {name: known[name] for name in given.backbones.split(",")}
    if given.set == "installs":
        task = Classify("risk")
        events, examples, truth = installs(given.seed)
        split = Split(seed=given.seed)
        answers, target, part = judge_fold(
            task, backbones, events, examples, Data(), split, training, options, given.seed
        )
        best = truth["true_probability"].to_numpy()[part == "test"]
        answers["best possible (true probability)"] = np.stack([1 - best, best], axis=1)
        table(task, target, answers)
        return
    task = Classify("default") if given.set == "uci-credit" else Classify("gender")
    events, examples = uci_credit() if given.set == "uci-credit" else ml_1m_gender()
    folds = []
    for number in range(given.folds):
        print(f"fold {number + 1} of {given.folds}", flush=True)
        answers, target, part = judge_fold(
            task, backbones, events, examples, Data(), Fold(number, given.folds), training, options, given.seed
        )
        if given.set == "uci-credit":
            answers["gradient boosting on all columns"] = boosted_columns(examples, part)
        folds.append((answers, target))
        table(task, target, answers)
    print(f"\n## all {given.folds} folds together")
    joined = {name: np.concatenate([answers[name] for answers, _ in folds]) for name in folds[0][0]}
    table(task, np.concatenate([target for _, target in folds]), joined)


if __name__ == "__main__":
    main()
