"""Quality of next-event prediction on public logs, each preset beside the counters, with the cost of training.

    python benchmarks/next_event.py ml-1m --preset best --seeds 3     # leave-one-out, history only
    python benchmarks/next_event.py ml-1m --preset fast
    python benchmarks/next_event.py ml-1m --preset timed              # the query time is given
    python benchmarks/next_event.py ml-1m --split temporal            # global temporal split, q = 0.9
    python benchmarks/next_event.py amazon-beauty
    python benchmarks/next_event.py bpi12-loans                       # next activity and its time, later cases judge
    python benchmarks/next_event.py update                            # 10 % new items: update against a full retrain

Real data is read from $HABITUS_DATA (default ../shared/data); a set that is absent is skipped with a sentence.
Prints a Markdown table a run. Everything is chosen on validation; the test part is judged once.
"""

from __future__ import annotations

import argparse
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from habitus.config import build
from habitus.data.next_split import NextSplit
from habitus.data.options import Data
from habitus.model import NextOptions, SequenceModel, backbone_from
from habitus.model.presets import next_event_preset
from habitus.tasks.next_event import NextEvent
from habitus.training import ProgressBar, Training

DATA = Path(os.environ.get("HABITUS_DATA", "../shared/data"))
# more items, shorter histories and a fifth of the events: wider, more dropout, longer; chosen on validation
_BEAUTY: dict[str, dict[str, Any]] = {
    "task": {"loss": "sampled", "negatives": 1024},
    "backbone": {"hidden_size": 128, "dropout": 0.5},
    "data": {"max_length": 50},
    "training": {"learning_rate": 2e-3, "epochs": 25, "patience": 6},
}
_BPI12: dict[str, dict[str, Any]] = {
    "task": {"when": True, "calendar": True, "also": ("lifecycle",)},
    "training": {"epochs": 15, "patience": 5},
}
_START = datetime(2000, 1, 1, tzinfo=UTC)


def ml_1m() -> pl.DataFrame:
    """Return the canonical log; its row order is the tie rule."""
    return pl.read_parquet(DATA / "ml-1m" / "events.parquet")


def amazon_beauty() -> pl.DataFrame:
    """Return one event a day for each user, because the file holds the order only."""
    lines = (DATA / "amazon-beauty" / "Beauty.txt").read_text().split("\n")
    rows = [line.split() for line in lines if line]
    lengths = np.array([len(row) - 1 for row in rows])
    place = np.concatenate([np.arange(n) for n in lengths])
    return pl.DataFrame(
        {
            "user_id": np.repeat([int(row[0]) for row in rows], lengths),
            "item_id": [int(item) for row in rows for item in row[1:]],
            "timestamp": [_START + timedelta(days=int(day)) for day in place],
        }
    )


def bpi12() -> pl.DataFrame:
    """Return the loan applications' events."""
    return pl.read_parquet(DATA / "bpi12-loans" / "events.parquet")


def make_model(
    preset: str, item: str, split: NextSplit, seed: int, more: dict[str, dict[str, Any]] | None = None
) -> SequenceModel:
    """Return a model of a preset, with some options changed."""
    sections = next_event_preset(preset, item)
    for section, options in (more or {}).items():
        sections[section] |= options
    task = {name: value for name, value in sections["task"].items() if name != "name"}
    return SequenceModel(
        build(NextEvent, task, "[task]"),
        backbone_from(sections["backbone"]),
        data=build(Data, sections["data"], "[data]"),
        split=split,
        training=build(Training, {"tracker": None, **sections["training"]}, "[training]"),
        options=NextOptions(),
        seed=seed,
    )


def report(model: Any, name: str, seconds: float) -> None:
    """Print the figures of a fitted model beside its rivals."""
    evaluation = model.evaluation_
    print(f"\n## {name}\n\nprotocol: {evaluation.protocol}")
    print(f"training {model.result_.seconds:.0f} s of {seconds:.0f} s, {len(model.history_)} epochs, "
          f"best {model.result_.best_epoch}, {model.result_.parameters:,} parameters")  # fmt: skip
    shown = ("accuracy", "hr@10", "ndcg@10", "mrr", "coverage@10", "mae_days", "baseline_mae_days", "log_likelihood")
    for target, judged in evaluation.targets.items():
        print(f"\ntarget: {target}; n = {judged.n:,}, users = {judged.n_users:,}, "
              f"SE {({k: round(v, 4) for k, v in judged.standard_errors.items()})}\n")  # fmt: skip
        print("| model | " + " | ".join(shown) + " | minus this, NDCG@10 |\n|---" * 1 + "|---" * (len(shown) + 1) + "|")
        rows = {model.name: judged.metrics, **judged.baselines}
        for row, metrics in rows.items():
            cells = [f"{metrics[key].value:.4f}" if key in metrics else "" for key in shown]
            gap = judged.differences.get(f"model - {row}", {}).get("ndcg@10", "")
            print(f"| {row} | " + " | ".join(cells) + f" | {gap} |", flush=True)


def run(name: str, events: pl.DataFrame, model: SequenceModel) -> SequenceModel:
    """Fit, judge and print."""
    began = time.monotonic()
    model.fit(events, callbacks=[ProgressBar()])
    report(model, name, time.monotonic() - began)
    return model


def update_benchmark(seed: int, *, also_without_content: bool) -> None:
    """Take a tenth of the films out of the log, train, put them back, update; compare with a full retrain."""
    events, split = ml_1m(), NextSplit("leave-one-out")
    items = events["item_id"].unique().sort().to_list()
    new = np.random.default_rng(seed).permutation(items)[: len(items) // 10].tolist()
    content = pl.read_csv(DATA / "ml-1m" / "items.csv").select("item_id", "title", "genres")
    old_log = events.filter(~pl.col("item_id").is_in(new))
    without = [("without content", None)] if also_without_content else []
    for name, described in [("with content", content), *without]:
        model = make_model("fast", "item_id", split, seed)
        model.fit(old_log, callbacks=[ProgressBar()])
        first = model.result_.seconds
        model.update(events, content=described, callbacks=[ProgressBar()])
        _print_new_and_old(f"update {name}", model, events, new, model.result_.seconds, first)
    full = make_model("fast", "item_id", split, seed)
    full.fit(events, callbacks=[ProgressBar()])
    _print_new_and_old("full retrain", full, events, new, full.result_.seconds, full.result_.seconds)


def _print_new_and_old(name: str, model: Any, events: pl.DataFrame, new: list[int], cost: float, first: float) -> None:
    """Print HR@10 over test targets that are new items, and over those that are old."""
    from habitus.data.next_batch import HistoryTensors
    from habitus.next_prepared import questions_at, read_histories
    from habitus.tasks.ranking import rank_targets

    _, _, histories = read_histories(model.encoder_, events, model.data)
    last = model.split.divide(histories).test["last"]
    questions = questions_at(histories, last, model.task.item, model.data.max_length).untold()
    ranks = rank_targets(model.network_, HistoryTensors(histories), questions, filter_seen=model.filter_seen_)
    values = [model.vocabulary_.decode(np.array([i]))[0] for i in questions.target]
    is_new = np.isin(values, [str(item) for item in new])
    print(f"| {name} | new items HR@10 {(ranks[is_new] <= 10).mean():.4f} (n = {is_new.sum()}) | old items "
          f"{(ranks[~is_new] <= 10).mean():.4f} (n = {(~is_new).sum()}) | {cost:.0f} s after a first {first:.0f} s |",
          flush=True)  # fmt: skip


def main() -> None:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["ml-1m", "amazon-beauty", "bpi12-loans", "update"])
    parser.add_argument("--preset", default="best")
    parser.add_argument("--split", default="leave-one-out")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--also-without-content", action="store_true", help="update: new items without descriptions")
    parser.add_argument("--first-seed", type=int, default=0)
    arguments = parser.parse_args()
    if not DATA.is_dir():
        print(f"{DATA} is absent; set HABITUS_DATA to the folder of the data sets.")
        return
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        title = f"{arguments.name}, {arguments.split}, preset {arguments.preset}, seed {seed}"
        split: Any = NextSplit(arguments.split)
        if arguments.name == "update":
            update_benchmark(seed, also_without_content=arguments.also_without_content)
        elif arguments.name == "bpi12-loans":
            split = NextSplit("entities", quantile=0.8)
            run(title, bpi12(), make_model("fast", "activity", split, seed, _BPI12))
        elif arguments.name == "amazon-beauty":
            run(title, amazon_beauty(), make_model(arguments.preset, "item_id", split, seed, _BEAUTY))
        else:
            run(title, ml_1m(), make_model(arguments.preset, "item_id", split, seed))


if __name__ == "__main__":
    main()
