"""Training speed of pytorch-lifestream 0.7 on sequences of very different lengths, at its best settings.

Runs in the peer's own environment (see peers.md), so it imports nothing of Habitus:

    python benchmarks/peer_lifestream.py make sequences.parquet --sequences 20000
    python benchmarks/peer_lifestream.py run sequences.parquet --model gru --seconds 30

The file has one row a user: `user_id`, lists of integers (categories, 0 is padding), lists of floats (numbers)
and an integer `target`. The peer is measured the way its own notebooks train: sequences in memory,
`SeqToTargetDataset`, `PtlsDataModule`, `SequenceToTarget`. It is given the best of four batch sizes, 0 and 1
loader workers, a plain loop and a Lightning `Trainer` around the same module, 2 and 1 threads. Only real events
are counted, padding never, and reading the file is outside the clock. One JSON line goes to stdout.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

BATCH_SIZES = (32, 64, 128, 256)
HIDDEN_SIZE = 64
SMALL_EMBEDDING = 16  # of every category field but the first, which takes the rest of the 64
WARM_UP_STEPS = 5
MODELS = ("gru", "transformer", "longformer")


@dataclass(frozen=True)
class Setting:
    """One way to run the peer."""

    model: str = "gru"
    batch_size: int = 64
    workers: int = 0
    loop: str = "plain"
    dropout: float = 0.1
    threads: int = 2


@dataclass(frozen=True)
class Measured:
    """What one run gave; `seconds` leave the warm-up out."""

    events_per_s: float
    steps: int
    seconds: float
    padding: float
    first_loss: float
    last_loss: float


class Clock:
    """Count real events and steps from the end of the warm-up until `seconds` or `max_steps` are over."""

    def __init__(self, seconds: float, max_steps: int | None):
        self.limit, self.max_steps = seconds, max_steps
        self.seen = self.steps = self.events = self.slots = 0
        self.started = self.elapsed = 0.0
        self.losses: list[float] = []

    def step(self, lengths: Any, loss: float) -> bool:
        """Count a batch; return whether the run is over."""
        self.seen += 1
        if self.seen <= WARM_UP_STEPS:
            self.started = time.perf_counter()
            return False
        self.steps += 1
        self.events += int(lengths.sum())
        self.slots += len(lengths) * int(lengths.max())
        self.losses.append(loss)
        self.elapsed = time.perf_counter() - self.started
        return self.elapsed >= self.limit or self.steps == self.max_steps

    def result(self) -> Measured:
        part = max(1, len(self.losses) // 5)
        return Measured(
            events_per_s=round(self.events / self.elapsed, 1),
            steps=self.steps,
            seconds=round(self.elapsed, 2),
            padding=round(1 - self.events / self.slots, 3),
            first_loss=round(float(np.mean(self.losses[:part])), 4),
            last_loss=round(float(np.mean(self.losses[-part:])), 4),
        )


def make_sequences(
    path: Path, n_sequences: int, *, mean_length: float = 58, max_length: int = 512, n_items: int = 3000, seed: int = 0
) -> None:
    """Write log-normal-length sequences; the target depends on how often even items were seen."""
    rng = np.random.default_rng(seed)
    sigma = 1.0
    lengths = rng.lognormal(np.log(mean_length) - sigma**2 / 2, sigma, n_sequences).round()
    lengths = np.clip(lengths, 1, max_length).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    taste = np.repeat(rng.beta(2, 2, n_sequences), lengths)
    item = (rng.zipf(1.3, offsets[-1]) % (n_items // 2)) * 2 + (rng.random(offsets[-1]) < taste) + 1
    odd = np.add.reduceat(item % 2, offsets[:-1]) / lengths
    target = (rng.random(n_sequences) < 1 / (1 + np.exp(-6 * (odd - 0.5)))).astype(np.int64)
    columns = {"item_id": item, "category_id": item % 50 + 1, "gap_days": rng.exponential(2.0, offsets[-1])}
    kinds = {"item_id": pa.int32(), "category_id": pa.int32(), "gap_days": pa.float32()}
    lists = {n: pa.ListArray.from_arrays(pa.array(offsets), pa.array(v, kinds[n])) for n, v in columns.items()}
    pq.write_table(pa.table({"user_id": np.arange(n_sequences), **lists, "target": target}), path)


def read_records(path: Path, target: str, max_length: int) -> tuple[list[dict[str, Any]], dict[str, int], list[str]]:
    """Return (records as the peer wants them, table size by category field, number fields)."""
    import torch

    table = pq.read_table(path)
    lists = [f for f in table.schema if pa.types.is_list(f.type) or pa.types.is_large_list(f.type)]
    categories = [f.name for f in lists if pa.types.is_integer(f.type.value_type)]
    numbers = [f.name for f in lists if pa.types.is_floating(f.type.value_type)]
    sizes = {name: pc.max(pc.list_flatten(table[name])).as_py() + 1 for name in categories}
    kinds = {**dict.fromkeys(categories, np.int64), **dict.fromkeys(numbers, np.float32)}
    columns = {name: table[name].to_numpy() for name in kinds}
    records = [
        {name: torch.from_numpy(columns[name][row][-max_length:].astype(kind)) for name, kind in kinds.items()}
        for row in range(len(table))
    ]
    for record, value in zip(records, table[target].to_pylist(), strict=True):
        record["target"] = int(value)
    return [record for record in records if len(record[categories[0]])], sizes, numbers


def build_module(setting: Setting, sizes: dict[str, int], numbers: Sequence[str]) -> Any:
    """Build the peer's supervised module.

    The embeddings are concatenated there, so their widths add up to exactly 64 and no projection is needed.
    """
    import torch
    import torchmetrics
    from ptls.frames.supervised import SequenceToTarget
    from ptls.nn import Head, LongformerSeqEncoder, RnnSeqEncoder, TransformerSeqEncoder, TrxEncoder

    first, *others = sizes
    widths = dict.fromkeys(others, SMALL_EMBEDDING)
    widths[first] = HIDDEN_SIZE - SMALL_EMBEDDING * len(others) - len(numbers)
    events = TrxEncoder(
        embeddings={name: {"in": size, "out": widths[name]} for name, size in sizes.items()},
        # "identity" is its only scaler that takes a whole batch at once; the others loop over rows
        numeric_values=dict.fromkeys(numbers, "identity"),
        emb_dropout=setting.dropout,
    )
    n_layers, wide = 2, 4 * HIDDEN_SIZE
    if setting.model == "gru":
        encoder = RnnSeqEncoder(trx_encoder=events, hidden_size=HIDDEN_SIZE, type="gru")
    elif setting.model == "transformer":
        encoder = TransformerSeqEncoder(
            trx_encoder=events, n_layers=n_layers, n_heads=4, dim_hidden=wide, dropout=setting.dropout
        )
    else:  # attention in a window of 16 events: less work than the others do, shown as its cheapest Transformer
        encoder = LongformerSeqEncoder(
            trx_encoder=events, num_hidden_layers=n_layers, num_attention_heads=4, intermediate_size=wide
        )
    return SequenceToTarget(
        seq_encoder=encoder,
        head=Head(input_size=HIDDEN_SIZE, objective="classification", num_classes=1),
        loss=torch.nn.BCELoss(),
        metric_list=torchmetrics.MeanMetric(),
        optimizer_partial=partial(torch.optim.AdamW, lr=1e-3, fused=True),
        lr_scheduler_partial=partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=1.0),
        train_update_n_steps=1_000_000_000,  # its training metric is not part of the race
    )


def build_data(records: list[dict[str, Any]], setting: Setting) -> Any:
    """Return the peer's data module: shuffled batches, padded to their longest sequence."""
    import torch
    from ptls.data_load.datasets import MemoryMapDataset
    from ptls.frames import PtlsDataModule
    from ptls.frames.supervised import SeqToTargetDataset

    data = SeqToTargetDataset(MemoryMapDataset(records), target_col_name="target", target_dtype=torch.float32)
    return PtlsDataModule(
        train_data=data, train_batch_size=setting.batch_size, train_num_workers=setting.workers, train_drop_last=True
    )


def train_plain(module: Any, data: Any, clock: Clock) -> None:
    """Train in a plain loop."""
    optimizer = module.optimizer_partial(module.parameters())
    module.train()
    while True:
        for inputs, target in data.train_dataloader():
            optimizer.zero_grad(set_to_none=True)
            loss = module.loss(module(inputs), target)
            loss.backward()
            optimizer.step()
            if clock.step(inputs.seq_lens, loss.item()):
                return


def train_lightning(module: Any, data: Any, clock: Clock) -> None:
    """Train with a Lightning `Trainer` that logs, draws and saves nothing."""
    import pytorch_lightning as lightning

    class Stop(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            trainer.should_stop |= clock.step(batch[0].seq_lens, outputs["loss"].item())

    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Stop()],
    )
    trainer.fit(module, data)


LOOPS = {"plain": train_plain, "lightning": train_lightning}


def measure(
    setting: Setting, records: list[dict[str, Any]], sizes: dict[str, int], numbers: Sequence[str], clock: Clock
) -> Measured:
    """Build a fresh model and train it until the clock says stop."""
    import torch

    torch.set_num_threads(setting.threads)
    torch.manual_seed(0)
    LOOPS[setting.loop](build_module(setting, sizes, numbers), build_data(records, setting), clock)
    return clock.result()


def tune(start: Setting, seconds: float, *loaded: Any) -> tuple[Setting, list[dict[str, Any]]]:
    """Return the fastest setting and every trial: the batch size, then the worker, the loop and one thread."""
    speed: dict[Setting, float] = {}

    def best_of(settings: Sequence[Setting]) -> Setting:
        for setting in (one for one in settings if one not in speed):
            speed[setting] = measure(setting, *loaded, Clock(seconds, None)).events_per_s
            print(f"{setting}: {speed[setting]:,.0f} events/s", file=sys.stderr)
        return max(speed, key=lambda setting: speed[setting])

    best = best_of([replace(start, batch_size=size) for size in BATCH_SIZES])
    best = best_of([replace(best, workers=1)])
    best = best_of([replace(best, loop="lightning")])
    best = best_of([replace(best, threads=1)])
    return best, [{**asdict(setting), "events_per_s": value} for setting, value in speed.items()]


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Tune, measure once more at the best setting, and describe what was run."""
    import torch

    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    loaded = read_records(arguments.path, arguments.target, arguments.max_length)
    best = Setting(
        arguments.model,
        arguments.batch_size or BATCH_SIZES[0],
        arguments.workers,
        arguments.loop,
        arguments.dropout,
        arguments.threads,
    )
    tried: list[dict[str, Any]] = []
    if not arguments.batch_size:
        best, tried = tune(best, arguments.tune_seconds, *loaded)
    result = measure(best, *loaded, Clock(arguments.seconds, arguments.steps))
    module = build_module(best, *loaded[1:])
    return {
        "peer": "pytorch-lifestream 0.7.0",
        **asdict(best),
        **asdict(result),
        "parameters": sum(weights.numel() for weights in module.parameters()),
        "sequences": len(loaded[0]),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "tried": tried,
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Training speed of pytorch-lifestream")
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="write a file of made-up sequences")
    make.add_argument("path", type=Path)
    make.add_argument("--sequences", type=int, default=20_000)
    make.add_argument("--mean-length", type=float, default=58)
    make.add_argument("--max-length", type=int, default=512)
    make.add_argument("--seed", type=int, default=0)
    train = commands.add_parser("run", help="train and print one JSON line")
    train.add_argument("path", type=Path)
    train.add_argument("--model", choices=MODELS, default="gru")
    train.add_argument("--seconds", type=float, default=30)
    train.add_argument("--steps", type=int, help="stop after so many steps, if that is sooner")
    train.add_argument("--tune-seconds", type=float, default=8, help="for each setting tried")
    train.add_argument("--batch-size", type=int, help="use this one and tune nothing")
    train.add_argument("--workers", type=int, default=0)
    train.add_argument("--loop", choices=tuple(LOOPS), default="plain")
    train.add_argument("--dropout", type=float, default=0.1)
    train.add_argument("--threads", type=int, default=2)
    train.add_argument("--target", default="target")
    train.add_argument("--max-length", type=int, default=512)
    return parser.parse_args(arguments)


def main() -> None:
    arguments = parse()
    if arguments.command == "make":
        make_sequences(
            arguments.path,
            arguments.sequences,
            mean_length=arguments.mean_length,
            max_length=arguments.max_length,
            seed=arguments.seed,
        )
    else:
        print(json.dumps(run(arguments)))


if __name__ == "__main__":
    main()
