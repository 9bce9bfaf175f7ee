"""What one process of a distributed training does: open the job, read its own files, train, and tell of it.

JOB/start.safetensors, start.json    the network before training, and how the model is configured (the driver writes it)
JOB/rows/                            sequence rows in Parquet parts that say their part of the split in `_part`
JOB/progress.jsonl                   the first process tells what happens
JOB/failed-RANK.json                 a process that fails leaves its traceback, which Spark would lose
JOB/trained.safetensors, result.json the network of the best epoch
JOB/checkpoint/                      to resume from

The folder must be one that every machine sees. Needs no Spark.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from torch import distributed

from habitus.atomic import write_file
from habitus.data.batch import SequenceTensors
from habitus.data.examples import Examples
from habitus.data.sequence import EXAMPLE, WINDOW
from habitus.model import LabelledModel
from habitus.model.base import configured
from habitus.prepared import target_columns
from habitus.training import train
from habitus.training.shards import ShardStudy, rank_of_environment


def run_rank(job: str, resume: bool, attempt: str) -> str:
    """Train in one process of several, started by torchrun or Spark's TorchDistributor; returns `attempt`."""
    rank, n_ranks = rank_of_environment()
    try:
        _train(Path(job), rank, n_ranks, resume, attempt)
    except BaseException as error:
        told = {"rank": rank, "error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        write_file(Path(job, f"failed-{rank}.json"), json.dumps({**told, "time": time.time()}).encode())
        raise
    return attempt


def _train(job: Path, rank: int, n_ranks: int, resume: bool, attempt: str) -> None:
    os.environ.setdefault("ACCELERATE_USE_CPU", "true")
    if n_ranks > 1 and not distributed.is_initialized():
        distributed.init_process_group("gloo")
    start = json.loads((job / "start.json").read_text("utf-8"))
    torch.set_num_threads(start["config"]["training"]["threads"] or 1)
    model = configured(start["config"], start["encoder"])
    assert isinstance(model, LabelledModel)
    tensors = load_file(job / "start.safetensors")
    network = model.network_
    network.load_state_dict({name[8:]: value for name, value in tensors.items() if name.startswith("network/")})
    rows = RowFiles(model, start["target"], tuple(start["labels"]), tensors)
    study = ShardStudy(model.task, files(job), files(job), rows.to_train, rows.to_judge, rank, n_ranks)
    result = train(
        network,
        study,
        replace(model.training, tracker=None, device="cpu"),
        seed=model.seed,
        folder=job,
        resume=resume,
        fingerprint=f"{start['fingerprint']}|{n_ranks} processes",
        callbacks=[Teller(job / "progress.jsonl", attempt)] if rank == 0 else [],
    )
    if rank == 0:
        save_file(network.state_dict(), job / "trained.tmp")
        (job / "trained.tmp").replace(job / "trained.safetensors")
        write_file(job / "result.json", json.dumps({**asdict(result), "attempt": attempt}).encode())
    if distributed.is_initialized():  # accelerate may have ended it with the training
        distributed.destroy_process_group()


def files(job: Path) -> list[Path]:
    """Return the files of rows, in order."""
    return sorted((job / "rows").glob("part-*.parquet"))


PART = "_part"  # as in `parts.py`, which needs Spark


class RowFiles:
    """Reads files of sequence rows as tensors.

    Args:
        model: configured; its encoder reads the rows.
        target, labels: of the examples, see `Examples`.
        tensors: `offset/key` (sorted) and `offset/value`, what the wide path says of the rows that it was fitted on.
    """

    def __init__(
        self, model: LabelledModel, target: str, labels: tuple[str, ...], tensors: Mapping[str, torch.Tensor]
    ) -> None:
        self._model, self._target, self._labels = model, target, labels
        self._known = tensors["offset/key"].numpy() if "offset/key" in tensors else None
        self._offset = tensors["offset/value"].numpy() if "offset/value" in tensors else None

    def to_judge(self, path: Path) -> SequenceTensors:
        """Return the validation rows with targets."""
        table = pq.read_table(path, filters=[(PART, "==", "validation")])
        return SequenceTensors(self._encoded(table), with_bags=self._model.network_.wide is not None)

    def to_train(self, path: Path) -> SequenceTensors:
        """Return the training rows with targets, and with what the wide path says without having seen them."""
        table = pq.read_table(path, filters=[(PART, "==", "train")])
        encoded, wide = self._encoded(table), self._model.network_.wide
        if wide is None or not len(encoded):
            return SequenceTensors(encoded)
        rows = SequenceTensors(encoded, with_bags=True)
        offset = np.concatenate([_of_wide(wide, rows, first) for first in range(0, len(rows), 4096)])
        if self._known is not None and self._offset is not None:
            key = row_keys(table)
            place = np.minimum(np.searchsorted(self._known, key), len(self._known) - 1)
            is_known = self._known[place] == key
            offset[is_known] = self._offset[place[is_known]]
        return SequenceTensors(encoded, offset=offset)

    def _encoded(self, table: pa.Table) -> Any:
        model = self._model
        frame = pl.DataFrame(table.select([self._target]))
        examples = Examples(frame, model.encoder_.schema, self._target, labels=self._labels)
        targets = target_columns(examples, model.task.target)
        numbered = table.set_column(
            table.column_names.index(EXAMPLE), EXAMPLE, pa.array(np.arange(table.num_rows))
        )  # a target for each row, windows of one example included
        return model.encoder_.encode_table(numbered).with_target(model.task.encode_target(targets))


def row_keys(table: pa.Table) -> np.ndarray:
    """Return a number for each sequence row that no other row of the examples has, int64 (n,)."""
    return np.asarray(table[EXAMPLE]) * 2**20 + np.asarray(table[WINDOW])


@torch.no_grad()
def _of_wide(wide: Any, rows: SequenceTensors, first: int) -> np.ndarray:
    found: np.ndarray = wide(rows.gather(np.arange(first, min(first + 4096, len(rows))))).numpy()
    return found


class Teller:
    """Writes what happens as JSON lines, from which the driver tells its own callbacks."""

    def __init__(self, path: Path, attempt: str) -> None:
        self._path, self._attempt = path, attempt

    def on_start(self, facts: Mapping[str, Any]) -> None:
        """Tell the facts."""
        self._tell("on_start", facts)

    def on_batch(self, facts: Mapping[str, Any]) -> None:
        """Tell the facts."""
        self._tell("on_batch", facts)

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        """Tell the record."""
        self._tell("on_epoch", record)

    def on_end(self) -> None:
        """Tell that it is over."""
        self._tell("on_end", {})

    def _tell(self, name: str, facts: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"attempt": self._attempt, "call": name, "facts": dict(facts)}) + "\n")
