"""RePlay 0.22 (PyTorch part): training speed, memory and bulk recommendations of its SasRec on MovieLens-1M.

Runs in the peer's own environment (see peers.md), so it imports nothing of Habitus:

    python benchmarks/peer_replay.py train --events events.parquet --seconds 60 --batch 32
    python benchmarks/peer_replay.py recommend --events events.parquet

The file has one row an event: `user_id`, `item_id`, `timestamp`; ties keep the order of the file. Training sees all
but each user's last two events, validation asks for the last but one, recommending sees all but the last. The peer
runs its current API: `SasRec.from_params` (full cross-entropy), `ParquetModule`, its default transforms, its
`LightningModule` with its Adam, a Lightning `Trainer`. A target counts if it is real and so is the event before it;
warm-up, reading the file and padding count for nothing. One JSON line goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

EMBEDDING = 64
BLOCKS = 2
MAX_LENGTH = 200
WARM_UP_BATCHES = 5
TRAIN_BEFORE_RECOMMENDING = 5  # batches: speed does not depend on what the weights are
SMALL_BATCH = 16  # for those few, so that the peak of memory is that of recommending
SPLITS = ("train", "validate", "predict")


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


def write_splits(events: Path, folder: Path, *, by_length: bool) -> tuple[int, int, int]:
    """Write one file a split, one row a user, as `ParquetModule` reads them; return users, items, longest history."""
    import polars as pl

    frame = pl.read_parquet(events, columns=["user_id", "item_id", "timestamp"])
    # RePlay's own `groupby_sequences` breaks ties in time by item id; the file's order is kept here
    frame = frame.sort("user_id", "timestamp", maintain_order=True).with_columns(
        pl.col("user_id").rank("dense").cast(pl.Int64) - 1, pl.col("item_id").rank("dense").cast(pl.Int64) - 1
    )
    n_items = frame["item_id"].n_unique()
    users = frame.group_by("user_id", maintain_order=True).agg("item_id")
    items, length = pl.col("item_id"), pl.col("item_id").list.len()
    train, known = items.list.slice(0, length - 2), items.list.slice(0, length - 1)
    before = users.select("user_id", item_id=train, ground_truth=items.list.slice(length - 2, 1), seen_ids=train)
    users.select("user_id", item_id=train).write_parquet(folder / "train.parquet")
    before.write_parquet(folder / "validate.parquet")
    asked = users.select("user_id", item_id=known, seen_ids=known)
    if by_length:  # so that the trim to the longest of a batch has something to trim
        asked = asked.sort(pl.col("item_id").list.len(), maintain_order=True)
    asked.write_parquet(folder / "predict.parquet")
    return len(users), n_items, int(users.select(length.max()).item())


def build_module(n_items: int, given: argparse.Namespace) -> tuple[Any, Any]:
    """Return (the peer's schema of the data, its Lightning module around its SasRec)."""
    from replay.data import FeatureHint, FeatureSource, FeatureType
    from replay.data.nn import TensorFeatureInfo, TensorFeatureSource, TensorSchema
    from replay.nn.lightning import LightningModule
    from replay.nn.lightning.optimizer import OptimizerFactory
    from replay.nn.sequential import SasRec
    from replay.nn.sequential.length_bucket import LengthBucketedQueryEncoder

    item = TensorFeatureInfo(
        "item_id",
        FeatureType.CATEGORICAL,
        is_seq=True,
        feature_hint=FeatureHint.ITEM_ID,
        feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")],
        cardinality=n_items,
        padding_value=n_items,
        embedding_dim=EMBEDDING,
    )
    schema = TensorSchema([item])
    model = SasRec.from_params(
        schema,
        embedding_dim=EMBEDDING,
        num_heads=given.heads,
        num_blocks=BLOCKS,
        max_sequence_length=MAX_LENGTH,
        dropout=given.dropout,
    )
    if given.bucket_rows:
        model.body.encoder = LengthBucketedQueryEncoder(model.body.encoder, given.bucket_rows)
    return schema, LightningModule(model, optimizer_factory=OptimizerFactory())


def build_data(schema: Any, folder: Path, n_items: int, longest: int, given: argparse.Namespace) -> Any:
    """Return the peer's data module over the files of `write_splits`."""
    from replay.data.nn import ParquetModule
    from replay.nn.transform import AdaptiveTrimTransform
    from replay.nn.transform.template import make_default_sasrec_transforms

    transforms = make_default_sasrec_transforms(schema)
    if given.command == "recommend" and given.trim:
        transforms["predict"].insert(1, AdaptiveTrimTransform("item_id"))  # after its mask has got its name
    asked = {
        "user_id": {},
        "item_id": {"shape": MAX_LENGTH, "padding": n_items},
        "seen_ids": {"shape": longest, "padding": n_items},
    }
    train_batch = given.batch if given.command == "train" else SMALL_BATCH
    return ParquetModule(
        batch_size={"train": train_batch, "validate": given.batch, "predict": given.batch},
        metadata={
            "train": {"user_id": {}, "item_id": {"shape": MAX_LENGTH + 1, "padding": n_items}},
            "validate": {**asked, "ground_truth": {"shape": 1, "padding": -1}},
            "predict": asked,
        },
        transforms=transforms,
        **{f"{split}_path": str(folder / f"{split}.parquet") for split in SPLITS},
    )


def build_trainer(callbacks: Sequence[Any], **limits: Any) -> Any:
    """Return a Lightning trainer that logs, draws and saves nothing."""
    import lightning

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


def stop_by(clock: Clock) -> Any:
    """Return a callback that counts targets and ends the training."""
    import lightning

    class Stop(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            # RePlay also learns the first event, from padding alone; that is not counted as a target
            real = batch["padding_mask"] & batch["target_padding_mask"].squeeze(-1)
            trainer.should_stop |= clock.step(len(real), int(real.sum()))

    return Stop()


def train(module: Any, data: Any, n_items: int, seconds: float) -> dict[str, Any]:
    """Train for some seconds, then run the peer's validation once, for its memory."""
    from replay.nn.lightning.callback import ComputeMetricsCallback
    from replay.nn.lightning.postprocessor import SeenItemsFilter

    clock = Clock(seconds)
    metrics = ComputeMetricsCallback(
        ["ndcg", "recall"], [10], [SeenItemsFilter(n_items)], item_count=n_items, verbose=False
    )
    before = peak_rss_mb()
    # validation apart, so that neither the clock nor the first of the two peaks holds any of it
    trainer = build_trainer([stop_by(clock), metrics], max_epochs=-1, check_val_every_n_epoch=10**9)
    trainer.fit(module, data)
    after_training, began = peak_rss_mb(), time.perf_counter()
    found = trainer.validate(module, data, verbose=False)[0]
    return {
        **clock.result(),
        "peak_rss_mb": after_training,
        "peak_rss_with_validation_mb": peak_rss_mb(),
        "rss_before_training_mb": before,
        "validation_seconds": round(time.perf_counter() - began, 2),
        "validation": {name: round(value, 4) for name, value in found.items()},
    }


def recommend(module: Any, data: Any, n_users: int, n_items: int, given: argparse.Namespace) -> dict[str, Any]:
    """Train a few batches, then time `Trainer.predict` with its top-10 callback, seen items left out."""
    from replay.nn.lightning.callback import PandasTopItemsCallback
    from replay.nn.lightning.postprocessor import SeenItemsFilter

    build_trainer([], max_steps=TRAIN_BEFORE_RECOMMENDING, limit_val_batches=0).fit(module, data)
    top = PandasTopItemsCallback(10, "user_id", "item_id", postprocessors=[SeenItemsFilter(n_items)])
    build_trainer([top], limit_predict_batches=2).predict(module, data, return_predictions=False)
    taken = []
    for _ in range(given.rounds):
        began = time.perf_counter()
        build_trainer([top]).predict(module, data, return_predictions=False)
        answers = top.get_result()
        taken.append(time.perf_counter() - began)
    assert len(answers) == n_users * 10, len(answers)
    return {
        "users_per_s": round(n_users / statistics.median(taken), 1),
        "users": n_users,
        "seconds": round(statistics.median(taken), 2),
        "peak_rss_mb": peak_rss_mb(),
    }


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Prepare, build, measure, and describe what was run."""
    import torch

    warnings.filterwarnings("ignore")
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    with tempfile.TemporaryDirectory() as name:
        by_length = given.command == "recommend" and given.trim
        n_users, n_items, longest = write_splits(given.events, Path(name), by_length=by_length)
        schema, module = build_module(n_items, given)
        data = build_data(schema, Path(name), n_items, longest, given)
        if given.command == "train":
            measured = train(module, data, n_items, given.seconds)
        else:
            measured = recommend(module, data, n_users, n_items, given)
    settings = {name: value for name, value in vars(given).items() if name not in ("events", "seconds")}
    return {
        "peer": f"RePlay {version('replay-rec')}",
        **measured,
        **settings,
        "parameters": sum(weights.numel() for weights in module.model.parameters()),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Speed and memory of RePlay's SasRec")
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train, validate and print one JSON line")
    training.add_argument("--seconds", type=float, default=60)
    training.add_argument("--batch", type=int, default=128)
    training.add_argument(
        "--bucket-rows", type=int, default=0, help="rows of its LengthBucketedQueryEncoder; 0, its default, is without"
    )
    answering = commands.add_parser("recommend", help="top 10 of every user; print one JSON line")
    answering.add_argument("--batch", type=int, default=256)
    answering.add_argument("--rounds", type=int, default=1, help="timed calls; the median counts")
    answering.add_argument("--trim", action="store_true", help="users by length, AdaptiveTrimTransform")
    answering.set_defaults(bucket_rows=0)  # it acts in training only
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
