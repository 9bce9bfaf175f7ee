"""Train on files in one of several processes; the rows, the network and the study of `test_shards.py`.

python -m torch.distributed.run --standalone --nproc-per-node 2 shard_ranks.py FOLDER [--die-at BATCH] [--resume]
"""

import hashlib
import json
import os
import sys
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import torch

from habitus.backbones import GRU
from habitus.data.batch import SequenceTensors
from habitus.data.simulate import simulate_installs
from habitus.model import LabelledModel, Options
from habitus.prepared import prepare
from habitus.tasks import Classify
from habitus.training import Training, train
from habitus.training.shards import ShardStudy, rank_of_environment

TASK = Classify("risk")
OPTIONS = Training(epochs=2, batch_tokens=400, batch_rows=16, checkpoint_every_s=0, tracker=None, threads=1)
SIZES = (90, 10, 20)  # of the files to train on


@cache
def prepared():
    log = simulate_installs(250, seed=0)
    model = LabelledModel(TASK, GRU(hidden_size=8), options=Options(wide=False, baselines=()))
    return model, prepare(TASK, log.events, log.labels, model.data, model.split)


def network():
    model, rows = prepared()
    model.encoder_ = rows.encoder
    torch.manual_seed(0)
    return model._build_network()


def write_files(folder):
    """Write which rows each file holds; return the files of both parts."""
    folder.mkdir(parents=True, exist_ok=True)
    bounds = np.cumsum([0, *SIZES])
    for part, cuts in (("train", bounds), ("validation", np.array([0, 7, 30]))):
        for number in range(len(cuts) - 1):
            rows = pl.DataFrame({"row": np.arange(cuts[number], cuts[number + 1])})
            rows.write_parquet(folder / f"{part}-{number}.parquet")
    return [sorted(folder.glob(f"{part}-*.parquet")) for part in ("train", "validation")]


def read(path):
    part = path.name.split("-")[0]
    return SequenceTensors(prepared()[1].rows(part).take(pl.read_parquet(path)["row"].to_numpy()))


def study(files, process=0, n_processes=1):
    return ShardStudy(TASK, *files, read, read, process, n_processes)


class DieAt:
    """Ends a process without a word in the middle of the training."""

    def __init__(self, batch):
        self.left = batch

    def on_start(self, facts): ...

    def on_epoch(self, record): ...

    def on_end(self): ...

    def on_batch(self, facts):
        self.left -= 1
        if not self.left:
            os._exit(9)


def main(folder, arguments):
    rank, n_ranks = rank_of_environment()
    torch.distributed.init_process_group("gloo")
    os.environ["ACCELERATE_USE_CPU"] = "true"
    files = [sorted(folder.glob(f"{part}-*.parquet")) for part in ("train", "validation")]
    own, watching = network(), []
    if "--die-at" in arguments and rank == 1:
        watching = [DieAt(int(arguments[arguments.index("--die-at") + 1]))]
    found = study(files, rank, n_ranks)
    result = train(own, found, OPTIONS, folder=folder, resume="--resume" in arguments, callbacks=watching)
    digest = hashlib.sha256(b"".join(value.numpy().tobytes() for value in own.state_dict().values())).hexdigest()
    end = {"digest": digest, "metrics": [one["validation_metric"] for one in result.history]}
    (folder / f"end-{rank}.json").write_text(json.dumps({**end, "steps": result.history[-1]["step"]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
