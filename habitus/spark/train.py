"""Train on the executors: data-parallel processes under Spark's TorchDistributor, each with its own files.

    driver: slots counted -> job folder written -> TorchDistributor -> progress told -> result checked

What Spark does not do is done here: more processes than slots are refused at once (Spark would wait for ever), a
failed process's traceback is told, a job without a result is an error, and `resume` goes on from the checkpoint.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession
from safetensors.torch import load_file

from habitus.errors import ConfigError, HabitusError, TrainingError
from habitus.spark.rank import run_rank
from habitus.spark.session import is_connect
from habitus.training import Callback, TrainingResult

_WAIT_S = 20.0  # for executors that are about to register


def train_on_executors(
    spark: SparkSession,
    job: Path,
    processes: int,
    *,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
) -> tuple[TrainingResult, dict[str, torch.Tensor]]:
    """Train what a job folder describes; return the result and the weights of the best epoch.

    Args:
        spark: the session.
        job: see `rank.py`; a folder that every machine sees under the same path.
        processes: how many train together.
        resume: go on from the checkpoint that a failed job left.
        callbacks: watch the run at the driver.

    Raises:
        ConfigError: if the cluster has fewer slots than processes.
        TrainingError: if a process fails or dies, with what it said and how to go on.
    """
    refuse_too_many(spark, processes)
    for stale in [*job.glob("failed-*.json"), job / "progress.jsonl", job / "trained.safetensors", job / "result.json"]:
        stale.unlink(missing_ok=True)
    attempt = uuid.uuid4().hex
    teller = _Follower(job / "progress.jsonl", attempt, callbacks)
    # a distributor's INFO lines repeat every line of every process
    logging.getLogger("TorchDistributor").setLevel(logging.ERROR)
    try:
        distributor = TorchDistributor(num_processes=processes, local_mode=is_local(spark), use_gpu=False)
        answer = distributor.run(run_rank, str(job), resume, attempt)
    except Exception as error:
        raise _told(job, error, processes) from error
    finally:
        teller.stop()
    return _result(job, attempt, answer)


def is_local(spark: SparkSession) -> bool:
    """Say whether Spark runs in one process on this machine."""
    return not is_connect(spark) and str(spark.sparkContext.master).startswith("local")


def slots(spark: SparkSession) -> int | None:
    """Return how many tasks can run at once now; None where that cannot be asked (Spark Connect)."""
    if is_connect(spark):
        return None
    context = spark.sparkContext
    found = re.match(r"local\[(\d+)", str(context.master))
    if found:
        return int(found[1])
    jvm: Any = context._jsc.sc()
    return int(jvm.maxNumConcurrentTasks(jvm.resourceProfileManager().defaultResourceProfile()))


def refuse_too_many(spark: SparkSession, processes: int) -> None:
    """Refuse more processes than the cluster can run at once, after executors had time to register."""
    if processes < 1:
        raise ConfigError(f"processes={processes} train nothing; give 1 or more.")
    deadline = time.monotonic() + (0 if is_connect(spark) or is_local(spark) else _WAIT_S)
    found = slots(spark)
    while found is not None and found < processes:
        if time.monotonic() >= deadline:
            raise ConfigError(
                f"processes={processes} need as many slots at once, and this Spark has {found}; give {found} or fewer "
                "(--processes), or more executors."
            )
        time.sleep(0.5)
        found = slots(spark)


def _told(job: Path, error: Exception, processes: int) -> HabitusError:
    """Return what a failed process said, or that one died."""
    told = [json.loads(path.read_text("utf-8")) for path in job.glob("failed-*.json")]
    failed = sorted(told, key=lambda one: one["time"])
    again = "Go on from the checkpoint with resume=True (--resume)." if (job / "checkpoint").is_dir() else ""
    # a process that loses its neighbour fails too, and says only that
    own = [one for one in failed if not re.search(r"(?i)gloo|connection|peer|DistNetwork|store", one["error"])]
    if own:
        one = own[0]
        where = one["traceback"].strip().splitlines()
        return TrainingError(
            f"Process {one['rank']} of {processes} failed: {one['error']} ({' '.join(where[-3:-1])[:200].strip()}). "
            f"The whole traceback is in '{job / ('failed-' + str(one['rank']) + '.json')}'. {again}"
        )
    lost = f"; process {failed[0]['rank']} lost the others: {failed[0]['error'][:200]}" if failed else ""
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return TrainingError(f"A process of the training died ({first[:200]}{lost}). {again}".strip())


def _result(job: Path, attempt: str, answer: object) -> tuple[TrainingResult, dict[str, torch.Tensor]]:
    """Return what the training left, if it is of this attempt."""
    path = job / "result.json"
    found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    if found.pop("attempt", None) != attempt or answer != attempt:
        raise TrainingError(
            f"The training ended without a result in '{job}'. Is that a folder that every machine of the cluster sees "
            "under the same path?"
        )
    return TrainingResult(**found), load_file(job / "trained.safetensors")


class _Follower:
    """Reads the lines of a `Teller` while they come, in a thread, and calls the callbacks of the driver."""

    def __init__(self, path: Path, attempt: str, callbacks: Sequence[Callback]) -> None:
        self._path, self._attempt, self._callbacks = path, attempt, callbacks
        self._done, self._read, self._begun = threading.Event(), 0, False
        self._thread = threading.Thread(target=self._follow, name="habitus-progress", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Tell what is left, and that it is over."""
        self._done.set()
        self._thread.join()
        if self._begun:
            for callback in self._callbacks:
                callback.on_end()

    def _follow(self) -> None:
        while not self._done.wait(0.3):
            self._tell()
        self._tell()

    def _tell(self) -> None:
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole, _, _ = file.read().rpartition(b"\n")  # the last line may still be written
        self._read += len(whole) + 1 if whole else 0
        for line in whole.splitlines():
            told = json.loads(line)
            if told["attempt"] != self._attempt or told["call"] == "on_end":
                continue
            self._begun = True
            for callback in self._callbacks:
                getattr(callback, told["call"])(told["facts"])
