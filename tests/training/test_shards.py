"""Rows in files: each is seen once an epoch, files of any size are divided, and a run of two processes resumes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from habitus.errors import DataError
from habitus.training import LabelledStudy, Training
from habitus.training.shards import ShardStudy
from tests.training import shard_ranks

OPTIONS = Training(batch_tokens=200, batch_rows=16, tracker=None)


def seen(study, epoch, process=0, n_processes=1):
    batches = study.epoch_batches(epoch, OPTIONS, 0, process, n_processes)
    return [(number, row) for number, rows in batches for row in rows.tolist()]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return shard_ranks.write_files(tmp_path_factory.mktemp("shards"))


def test_an_epoch_sees_every_row_of_every_file_once_in_an_order_of_its_own(files):
    study = shard_ranks.study(files)
    sizes = [len(shard_ranks.read(path)) for path in files[0]]
    first, second = seen(study, 0), seen(study, 1)
    assert sorted(first) == [(number, row) for number, size in enumerate(sizes) for row in range(size)]
    assert sorted(first) == sorted(second) and first != second and first == seen(study, 0)
    assert study.n_rows == study.n_targets == sum(sizes)


def test_it_judges_and_learns_as_a_study_in_memory(files):
    study, (train, validation) = shard_ranks.study(files), files
    network = shard_ranks.network()
    rows = shard_ranks.read(validation[0])
    whole = LabelledStudy(shard_ranks.TASK, shard_ranks.read(train[0]), rows)
    alone = ShardStudy(shard_ranks.TASK, train[:1], validation[:1], shard_ranks.read, shard_ranks.read)
    assert alone.validate(network) == pytest.approx(whole.validate(network))
    batch = study.gather((0, np.arange(4)))
    assert float(study.loss(network, batch)[0].detach()) == pytest.approx(float(whole.loss(network, batch)[0].detach()))
    assert 0 <= study.padding_waste(study.epoch_batches(0, OPTIONS, 0, 0, 1)) < 0.5


def test_a_process_without_rows_is_refused_in_a_sentence(files):
    train, validation = files
    study = ShardStudy(shard_ranks.TASK, train[:1], validation, shard_ranks.read, shard_ranks.read, 1, 2)
    with pytest.raises(DataError, match="has no row to train on"):
        study.epoch_batches(0, OPTIONS, 0, 1, 2)


def run_ranks(folder, *more):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, str(Path(__file__).with_name("shard_ranks.py")), str(folder), *more],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        timeout=400,
    )


@pytest.mark.slow
def test_two_processes_with_files_of_unequal_size_end_alike_and_resume_to_the_same_weights(tmp_path):
    for name in ("whole", "killed"):
        shard_ranks.write_files(tmp_path / name)
    done = run_ranks(tmp_path / "whole")
    assert done.returncode == 0, done.stderr[-2000:]
    ends = [json.loads((tmp_path / "whole" / f"end-{rank}.json").read_text()) for rank in range(2)]
    assert ends[0] == ends[1] and ends[0]["steps"] > 8
    killed = run_ranks(tmp_path / "killed", "--die-at", "13")
    assert killed.returncode != 0 and not list((tmp_path / "killed").glob("end-*.json"))
    progress = json.loads((tmp_path / "killed" / "checkpoint" / "progress.json").read_text())
    assert 0 < progress["step"] < ends[0]["steps"]
    again = run_ranks(tmp_path / "killed", "--resume")
    assert again.returncode == 0, again.stderr[-2000:]
    assert json.loads((tmp_path / "killed" / "end-0.json").read_text()) == ends[0]
