"""What the driver says of a training: progress while it comes, and whose fault it was when it fails."""

import json

import pytest

from habitus.errors import TrainingError
from habitus.spark.rank import Teller
from habitus.spark.train import _Follower, _result, _told


class Watch:
    def __init__(self):
        self.calls = []

    def on_start(self, facts):
        self.calls.append(("start", facts))

    def on_batch(self, facts):
        self.calls.append(("batch", facts))

    def on_epoch(self, record):
        self.calls.append(("epoch", record))

    def on_end(self):
        self.calls.append(("end", {}))


def test_what_a_process_tells_reaches_the_callbacks_of_the_driver_once(tmp_path):
    path, watch = tmp_path / "progress.jsonl", Watch()
    old = Teller(path, "an older attempt")
    old.on_start({"n_batches": 9})
    follower = _Follower(path, "now", [watch])
    teller = Teller(path, "now")
    teller.on_start({"n_batches": 2})
    for number in range(2):
        teller.on_batch({"loss": number})
    teller.on_epoch({"epoch": 1})
    teller.on_end()
    with path.open("a") as file:
        file.write('{"attempt": "now", "call": "on_ba')  # a line that is still being written
    follower.stop()
    assert watch.calls == [
        ("start", {"n_batches": 2}),
        ("batch", {"loss": 0}),
        ("batch", {"loss": 1}),
        ("epoch", {"epoch": 1}),
        ("end", {}),
    ]


def test_a_training_that_never_began_is_not_ended(tmp_path):
    watch = Watch()
    _Follower(tmp_path / "progress.jsonl", "now", [watch]).stop()
    assert watch.calls == []


def failed(folder, rank, error, time):
    told = {"rank": rank, "error": error, "traceback": "Traceback ...\n  File x, line 7\n    y\n" + error, "time": time}
    (folder / f"failed-{rank}.json").write_text(json.dumps(told))


def test_the_process_at_fault_is_named_not_the_one_that_lost_it(tmp_path):
    failed(tmp_path, 0, "RuntimeError: gloo: Connection closed by peer", 1.0)
    failed(tmp_path, 1, "ValueError: a broken row", 2.0)
    (tmp_path / "checkpoint").mkdir()
    said = str(_told(tmp_path, RuntimeError("of Spark"), 2))
    assert said.startswith("Process 1 of 2 failed: ValueError: a broken row (File x, line 7")
    assert "failed-1.json" in said and "--resume" in said


def test_a_process_that_died_without_a_word_is_said_to_have_died(tmp_path):
    failed(tmp_path, 0, "RuntimeError: gloo: Connection closed by peer", 1.0)
    said = str(_told(tmp_path, RuntimeError("Barrier stage failed\n at x"), 2))
    assert said.startswith("A process of the training died (Barrier stage failed; process 0 lost the others")
    assert "resume" not in said  # there is no checkpoint


def test_a_result_of_another_attempt_is_no_result(tmp_path):
    for document in (None, {"attempt": "before"}):
        if document:
            (tmp_path / "result.json").write_text(json.dumps(document))
        with pytest.raises(TrainingError, match="without a result"):
            _result(tmp_path, "now", "now")
