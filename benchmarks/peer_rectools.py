"""RecTools 0.19: training speed, memory and bulk recommendations of its SASRecModel on MovieLens-1M.

Runs in the peer's own environment (see peers.md), so it imports nothing of Habitus:

    python benchmarks/peer_rectools.py train --events events.parquet --seconds 60
    python benchmarks/peer_rectools.py recommend --events events.parquet

The file has one row an event: `user_id`, `item_id`, `timestamp`; ties keep the order of the file. Training sees all
but each user's last two events, validation asks for the last but one, recommending sees all but the last. The peer
runs its public calls, `fit` and `recommend`, at its defaults (softmax over all items, batch 128, Adam) but for 64
factors and length 200. A target counts if it is real and so is the event before it; warm-up, reading the file and
padding count for nothing. One JSON line goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

FACTORS = 64
BLOCKS = 2
MAX_LENGTH = 200
WARM_UP_BATCHES = 5
TRAIN_BEFORE_RECOMMENDING = 5  # batches: speed does not depend on what the weights are
SMALL_BATCH = 16  # for those few, so that the peak of memory is that of recommending
WARM_UP_USERS = 512


@dataclass
class Clock:
    """Count batches, rows and targets from the end of the warm-up until `limit` seconds are over."""

    limit: float
    seen: int = 0
    batches: int = 0
    rows: int = 0
    targets: int = 0
    started: float = 0.0
    seconds: float = 0.0

    def step(self, rows: int, targets: int) -> bool:
        """Count a batch; return whether the run is over."""
        self.seen += 1
        if self.seen <= WARM_UP_BATCHES:
            self.started = time.perf_counter()
            return False
        self.batches, self.rows, self.targets = self.batches + 1, self.rows + rows, self.targets + targets
        self.seconds = time.perf_counter() - self.started
        return self.seconds >= self.limit

    def result(self) -> dict[str, float | int]:
        """Every row holds one event more than it has targets."""
        return {
            "targets_per_s": round(self.targets / self.seconds, 1),
            "events_per_s": round((self.targets + self.rows) / self.seconds, 1),
            "batches": self.batches,
            "seconds": round(self.seconds, 2),
        }


def peak_rss_mb() -> float:
    """Return the most memory this process has held so far (Linux counts in KiB)."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def read_dataset(events: Path) -> Any:
    """Return the peer's dataset of all but each user's last event."""
    import pandas as pd
    from rectools import Columns
    from rectools.dataset import Dataset

    frame = pd.read_parquet(events, columns=["user_id", "item_id", "timestamp"])
    frame = frame.sort_values(["user_id", "timestamp"], kind="stable", ignore_index=True)
    frame = frame[frame.groupby("user_id").cumcount(ascending=False) > 0]
    frame = frame.rename(columns={"timestamp": Columns.Datetime})
    frame[Columns.Datetime] = frame[Columns.Datetime].dt.tz_localize(None)
    return Dataset.construct(frame.assign(**{Columns.Weight: 1}))


def is_last(interactions: Any) -> Any:
    """Return which interactions are the last of their user, ties in the order given: those are validated on."""
    ordered = interactions.sort_values("datetime", kind="stable")
    left = ordered.groupby("user_id", sort=False).cumcount(ascending=False)
    return left.reindex(interactions.index).to_numpy() == 0


def build_trainer(callbacks: Sequence[Any], **limits: Any) -> Any:
    """Return a Lightning trainer that logs, draws and saves nothing."""
    import pytorch_lightning as lightning

    return lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
        **limits,
    )


def build_model(given: argparse.Namespace, trainer: Any) -> Any:
    """Return the peer's model, to be trained by a trainer of ours."""
    from rectools.models import SASRecModel

    return SASRecModel(
        n_blocks=BLOCKS,
        n_heads=given.heads,
        n_factors=FACTORS,
        dropout_rate=given.dropout,
        session_max_len=MAX_LENGTH,
        batch_size=given.batch if given.command == "train" else SMALL_BATCH,
        recommend_batch_size=given.batch,
        get_val_mask_func=is_last,
        get_trainer_func=lambda: trainer,
    )


def stop_by(clock: Clock) -> Any:
    """Return a callback that counts targets and ends the training."""
    import pytorch_lightning as lightning

    class Stop(lightning.Callback):
        def __deepcopy__(self, memo: dict[int, Any]) -> Stop:
            return self  # the model copies its trainer, and the copy must not count on a clock of its own

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            trainer.should_stop |= clock.step(len(batch["y"]), int((batch["y"] != 0).sum()))

    return Stop()


def train(dataset: Any, given: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Train for some seconds, then run the peer's validation (a loss) once, for its memory."""
    clock = Clock(given.seconds)
    # validation apart, so that neither the clock nor the first of the two peaks holds any of it
    trainer = build_trainer([stop_by(clock)], max_epochs=-1, check_val_every_n_epoch=10**9)
    model = build_model(given, trainer)
    before = peak_rss_mb()
    model.fit(dataset)
    after_training, began = peak_rss_mb(), time.perf_counter()
    found = model.fit_trainer.validate(model.lightning_model, model.data_preparator.get_dataloader_val(), verbose=False)
    return model, {
        **clock.result(),
        "peak_rss_mb": after_training,
        "peak_rss_with_validation_mb": peak_rss_mb(),
        "rss_before_training_mb": before,
        "validation_seconds": round(time.perf_counter() - began, 2),
        "validation": {name: round(value, 4) for name, value in found[0].items()},
    }


def recommend(dataset: Any, given: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Train a few batches, then time `recommend` for every user, seen items left out."""
    model = build_model(given, build_trainer([], max_steps=TRAIN_BEFORE_RECOMMENDING, limit_val_batches=0))
    model.fit(dataset)
    users = dataset.user_id_map.external_ids
    model.recommend(users[:WARM_UP_USERS], dataset, k=10, filter_viewed=True)
    taken = []
    for _ in range(given.rounds):
        began = time.perf_counter()
        answers = model.recommend(users, dataset, k=10, filter_viewed=True)
        taken.append(time.perf_counter() - began)
    assert len(answers) == len(users) * 10, len(answers)
    return model, {
        "users_per_s": round(len(users) / statistics.median(taken), 1),
        "users": len(users),
        "seconds": round(statistics.median(taken), 2),
        "peak_rss_mb": peak_rss_mb(),
    }


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Read, measure, and describe what was run."""
    import torch

    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    measure = train if given.command == "train" else recommend
    model, measured = measure(read_dataset(given.events), given)
    settings = {name: value for name, value in vars(given).items() if name not in ("events", "seconds")}
    return {
        "peer": f"RecTools {version('rectools')}",
        **measured,
        **settings,
        "parameters": sum(weights.numel() for weights in model.torch_model.parameters()),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Speed and memory of RecTools' SASRecModel")
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train, validate and print one JSON line")
    training.add_argument("--seconds", type=float, default=60)
    training.add_argument("--batch", type=int, default=128)
    answering = commands.add_parser("recommend", help="top 10 of every user; print one JSON line")
    answering.add_argument("--batch", type=int, default=256)
    answering.add_argument("--rounds", type=int, default=1, help="timed calls; the median counts")
    for command in (training, answering):
        command.add_argument("--events", type=Path, required=True)
        command.add_argument("--heads", type=int, default=4)
        command.add_argument("--dropout", type=float, default=0.2)
        command.add_argument("--threads", type=int, default=2)
        command.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main() -> None:
    given = parse()
    with contextlib.redirect_stdout(sys.stderr):
        result = run(given)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
