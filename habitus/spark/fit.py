"""Fit a model of labelled examples where the data lives: prepared by Spark, trained on the executors.

    Spark: rows by part, in Parquet -> driver: encoder, targets, wide path (on a sample) -> executors: training
    -> driver: calibration, rivals and judgement (on the sample) -> the same model, the same bundle as everywhere

What the driver reads is bounded: at most `sample_rows` rows, of whole files, which hold whole entities by chance. Up to
so many rows the sample is everything and the result is that of one machine but for the order of the batches; beyond,
the notes of the evaluation say of how many rows the wide path, the calibration, the rivals and the figures are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pyspark.sql import SparkSession
from safetensors.torch import save_file

from habitus.atomic import write_file
from habitus.data.encode import EncodedSequences, Encoder
from habitus.data.examples import Examples
from habitus.data.sequence import EXAMPLE, N_EVENTS, WINDOW, Sequences
from habitus.errors import ConfigError
from habitus.model import LabelledModel
from habitus.prepared import Prepared, target_columns
from habitus.spark.estimator import SAMPLE_ROWS
from habitus.spark.folder import read_manifest, write_rows
from habitus.spark.parts import PART
from habitus.spark.prepare import SparkRows, sequence_rows
from habitus.spark.rank import files, row_keys
from habitus.spark.train import is_local, refuse_too_many, train_on_executors
from habitus.trained_on import TrainedOn
from habitus.training import Callback


def fit_on_spark(
    spark: SparkSession,
    model: LabelledModel,
    events: Any,
    examples: Any,
    job: str | Path,
    *,
    processes: int = 2,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    sample_rows: int = SAMPLE_ROWS,
) -> Prepared:
    """Fit a model in place; return what the driver read of the data, for its run folder.

    Args:
        spark: the session.
        model: not fitted yet, of classify or regress.
        events, examples: Spark DataFrames, or paths that every node sees.
        job: a folder that every machine sees under the same path; holds rows and checkpoints, see `rank.py`.
        processes: how many train together; at most the slots of the cluster.
        resume: go on from the rows and the checkpoint of a job that failed.
        callbacks: watch the training at the driver.
        sample_rows: most rows that the driver reads.

    Raises:
        ConfigError: if the model is of another kind, or there are too few slots.
        DataError: as `fit` on one machine.
        TrainingError: if a process fails or dies.
    """
    if not isinstance(model, LabelledModel) or model.data.text is not None:
        raise ConfigError(f"A model of the task '{model.task.name}' is not trained on Spark; classify and regress are.")
    refuse_too_many(spark, processes)  # before hours of preparing
    job = Path(job).absolute()
    job.mkdir(parents=True, exist_ok=True)
    rows = _rows(spark, model, events, examples, processes)
    encoder = _write_rows(rows, job, resume)
    prepared, keys, n_rows = _prepared(model, rows, encoder, job, sample_rows)
    train_rows, validation_rows = prepared.rows("train"), prepared.rows("validation")
    offset = model.begin_fit(prepared.encoder, train_rows, validation_rows, prepared.entity_codes())
    _write_start(model, prepared, job, offset, keys)
    result, weights = train_on_executors(spark, job, processes, resume=resume, callbacks=callbacks)
    model.network_.load_state_dict(weights)
    model.network_.eval()
    model.end_fit(prepared, validation_rows, result)
    model.trained_on_ = _trained_on(job, prepared.encoder)
    if model.evaluation_ is not None and len(prepared.encoded) < n_rows:
        said = (
            f"Trained on all rows on {processes} processes; the wide path, the calibration, the rivals and these "
            f"figures are of {len(prepared.encoded):,} of {n_rows:,} rows, drawn by entity."
        )
        model.evaluation_ = replace(model.evaluation_, notes=[*model.evaluation_.notes, said])
    return prepared


def _rows(spark: SparkSession, model: LabelledModel, events: Any, examples: Any, processes: int) -> SparkRows:
    partitions = int(str(spark.conf.get("spark.sql.shuffle.partitions")))
    if is_local(spark):  # 200 tasks a shuffle are for clusters
        partitions = min(partitions, 4 * spark.sparkContext.defaultParallelism)
    target = model.task.target
    return sequence_rows(
        spark,
        events,
        examples,
        target=target if isinstance(target, str) else list(target),
        data=model.data,
        split=model.split,
        partitions=max(2 * processes, partitions),
    )


def _write_rows(rows: SparkRows, job: Path, resume: bool) -> Encoder:
    """Write the rows, unless a job that is resumed has them; return what was learned from the training part."""
    folder = job / "rows"
    if resume and folder.is_dir():
        read_manifest(folder)
        return Encoder.from_json(json.loads((folder / "encoder.json").read_text("utf-8")))
    return write_rows(rows, folder).encoder


def _prepared(
    model: LabelledModel, rows: SparkRows, encoder: Encoder, job: Path, sample_rows: int
) -> tuple[Prepared, np.ndarray, int]:
    """Return what the driver reads, the key of each of its rows by example, and how many rows there are."""
    table, n_rows = _sample(job, sample_rows)
    number, first = np.unique(np.asarray(table[EXAMPLE]), return_index=True)
    keys = row_keys(table)
    dense = pa.array(np.searchsorted(number, np.asarray(table[EXAMPLE])))
    table = table.set_column(table.column_names.index(EXAMPLE), EXAMPLE, dense)
    one_each = table.take(pa.array(first))
    part = np.asarray(one_each[PART]).astype(str)
    sequences = Sequences(rows.schema, len(number), (table.drop_columns([PART]),), rows.max_length, rows.history)
    task, target = model.task, rows.examples.target
    assert target is not None
    examples = _examples(rows, one_each)
    task.fit_target(_train_targets(job, rows, model))
    encoded = encoder.encode(sequences).with_target(task.encode_target(target_columns(examples, task.target)))
    prepared = Prepared(rows.log.known, examples, sequences, encoder, encoded, part)
    order = np.lexsort((np.asarray(table[WINDOW]), np.asarray(table[EXAMPLE])))
    return prepared, keys[order], n_rows


def _sample(job: Path, sample_rows: int) -> tuple[pa.Table, int]:
    """Read whole files, one at least, up to so many rows; return them, and how many rows there are in all."""
    n_rows = {path: pq.read_metadata(path).num_rows for path in files(job)}
    chosen: list[Path] = []
    for path, own in n_rows.items():
        if chosen and sum(n_rows[one] for one in chosen) + own > sample_rows:
            break
        chosen.append(path)
    return pa.concat_tables([pq.read_table(path) for path in chosen]), sum(n_rows.values())


def _examples(rows: SparkRows, one_each: pa.Table) -> Examples:
    known, schema = rows.examples, rows.schema
    lists = (schema.time, *schema.fields)
    frame = pl.DataFrame(one_each.drop_columns([EXAMPLE, WINDOW, N_EVENTS, PART, *lists]))
    return Examples(frame, schema, known.target, list(known.notes), known.rejects, tuple(known.labels))


def _train_targets(job: Path, rows: SparkRows, model: LabelledModel) -> pl.DataFrame:
    """Return the targets of all training examples, one column a label."""
    target = str(rows.examples.target)
    is_train = (pl.col(WINDOW) == 0) & (pl.col(PART) == "train")
    scanned = pl.scan_parquet(files(job)).filter(is_train).select(target)
    examples = Examples(scanned.collect(engine="streaming"), rows.schema, target, labels=tuple(rows.examples.labels))
    return target_columns(examples, model.task.target)


def _trained_on(job: Path, encoder: Encoder) -> TrainedOn:
    who, when = encoder.schema.entity, encoder.schema.cutoff
    is_seen = (pl.col(WINDOW) == 0) & pl.col(PART).is_in(["train", "validation"])
    seen = pl.scan_parquet(files(job)).filter(is_seen).select(who, when).collect(engine="streaming")
    return TrainedOn.remember(seen, who, when)


def _write_start(
    model: LabelledModel, prepared: Prepared, job: Path, offset: np.ndarray | None, keys: np.ndarray
) -> None:
    """Write what every process begins with."""
    tensors = {f"network/{name}": value.contiguous() for name, value in model.network_.state_dict().items()}
    if offset is not None:
        own = keys[_is_train(prepared)]
        order = np.argsort(own)
        tensors["offset/key"] = torch.from_numpy(own[order])
        tensors["offset/value"] = torch.from_numpy(np.ascontiguousarray(offset[order]))
    document = {
        "config": model.config(),
        "encoder": prepared.encoder.to_json(),
        "target": prepared.examples.target,
        "labels": list(prepared.examples.labels),
        "fingerprint": _fingerprint(model, job),
    }
    save_file(tensors, job / "start.tmp")
    (job / "start.tmp").replace(job / "start.safetensors")
    write_file(job / "start.json", json.dumps(document).encode())


def _is_train(prepared: Prepared) -> np.ndarray:
    encoded: EncodedSequences = prepared.encoded
    return prepared.part[encoded.example] == "train"


def _fingerprint(model: LabelledModel, job: Path) -> str:
    """Return a hash of the training files and the options: a checkpoint of others is refused."""
    digest = hashlib.sha256(json.dumps([str(model.backbone), str(model.options), model.task.to_json()]).encode())
    for name, entry in sorted(read_manifest(job / "rows")["files"].items()):
        digest.update(f"{name} {entry}".encode())
    return digest.hexdigest()
