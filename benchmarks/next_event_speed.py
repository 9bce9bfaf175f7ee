"""Speed of next-event models on MovieLens-1M, beside the peers in the same run; every figure is a ratio.

    python benchmarks/next_event_speed.py train --replay ../peer-replay-venv/bin/python \
        --rectools ../peer-rectools-venv/bin/python
    python benchmarks/next_event_speed.py recommend --rectools ../peer-rectools-venv/bin/python
    python benchmarks/next_event_speed.py stream

Runs take turns (A B A B), each in a process of its own, and medians are compared; the machine must be otherwise idle.
Peers run in their own environments (see peers.md) on the same file with the same threads. Training counts targets a
second of steady steps, reading the file and warm-up left out; recommending counts users a second of the whole public
call; `stream` compares folding in one event with recomputing 200.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from habitus.config import build
from habitus.data.next_batch import HistoryTensors
from habitus.data.next_split import NextSplit
from habitus.data.options import Data
from habitus.model import NextOptions, SequenceModel, backbone_from
from habitus.model.next_event import NextEventModel
from habitus.model.presets import next_event_preset
from habitus.next_prepared import prepare_next
from habitus.tasks.next_event import NextEvent
from habitus.tasks.ranking import answer_states
from habitus.training import Training

EVENTS = Path(os.environ.get("HABITUS_DATA", "../shared/data")) / "ml-1m" / "events.parquet"
_WARM_UP = 5


def make_model(epochs: int = 1, **task: Any) -> NextEventModel:
    """Return an unfitted model of the preset "fast" without rivals."""
    sections = next_event_preset("fast", "item_id")
    options = {name: value for name, value in (sections["task"] | task).items() if name != "name"}
    training = sections["training"] | {"tracker": None, "epochs": epochs}
    model = SequenceModel(
        build(NextEvent, options, "[task]"),
        backbone_from(sections["backbone"]),
        data=build(Data, sections["data"], "[data]"),
        split=NextSplit("leave-one-out"),
        training=build(Training, training, "[training]"),
        options=NextOptions(baselines=()),
    )
    assert isinstance(model, NextEventModel)
    return model


class Clock:
    """Count targets a second of steady steps and stop the run after some time."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.rates, self.began = seconds, [], time.monotonic()

    def on_start(self, facts: Any) -> None:
        self.began = time.monotonic()

    def on_batch(self, facts: Any) -> None:
        self.rates.append(facts["events_per_s"])
        if time.monotonic() - self.began > self.seconds:
            raise KeyboardInterrupt

    def on_epoch(self, record: Any) -> None:
        pass

    def on_end(self) -> None:
        pass


def own_training(seconds: float, loss: str) -> dict[str, Any]:
    """Train for some time and return targets a second and the peak of memory."""
    model, clock = make_model(epochs=100, loss=loss), Clock(seconds)
    prepared = prepare_next(model.task, EVENTS, model.data, model.split)
    try:
        model.fit_prepared(prepared, callbacks=[clock])
    except KeyboardInterrupt:
        rates = clock.rates[_WARM_UP:]
    per_second = len(rates) / sum(1 / rate for rate in rates)  # batches hold about as many targets each
    return {"targets_per_s": round(per_second), "peak_rss_mb": _peak_mb(), "batches": len(rates)}


def own_recommending(rounds: int) -> dict[str, Any]:
    """Fit for one epoch, then time the whole public call for all users."""
    model = make_model().fit(EVENTS)
    events = pl.read_parquet(EVENTS)
    users, seconds = events["user_id"].n_unique(), []
    for _ in range(rounds):
        began = time.monotonic()
        model.recommend(events, k=10, filter_seen=True)
        seconds.append(time.monotonic() - began)
    return {"users_per_s": round(users / statistics.median(seconds)), "peak_rss_mb": _peak_mb()}


def stream_latency() -> None:
    """Print p50 of folding in one event against recomputing 200 of them, one thread, both from encoded events."""
    torch.set_num_threads(1)
    model = make_model().fit(pl.read_parquet(EVENTS).filter(pl.col("user_id") <= 500))
    begin = datetime(2001, 1, 1, tzinfo=UTC)
    items = model.vocabulary_.values
    rng = np.random.default_rng(0)
    stream, folds, whole = model.stream(), [], []
    history = [(begin + timedelta(minutes=int(m)), items[rng.integers(len(items))]) for m in range(199)]
    for user in range(60):
        for moment, item in history:
            stream.push(user, {"timestamp": moment, "item_id": item})
        began = time.perf_counter()
        stream.push(user, {"timestamp": begin + timedelta(minutes=200), "item_id": items[3]})
        folds.append(time.perf_counter() - began)
    log = pl.DataFrame(
        {"user_id": 1, "timestamp": [m for m, _ in history], "item_id": [i for _, i in history]}
    ).vstack(pl.DataFrame({"user_id": [1], "timestamp": [begin + timedelta(minutes=200)], "item_id": [items[3]]},
                          schema_overrides={"user_id": pl.Int32}))  # fmt: skip
    from habitus.next_prepared import questions_at_end, read_histories

    _, _, histories = read_histories(model.encoder_, log, model.data)
    tensors, questions = HistoryTensors(histories), questions_at_end(histories, model.data.max_length)
    for _ in range(60):
        began = time.perf_counter()
        state = answer_states(model.network_, tensors, questions)
        whole.append(time.perf_counter() - began)
    raw = []
    for _ in range(20):
        began = time.perf_counter()
        model.embed(log)
        raw.append(time.perf_counter() - began)
    difference = np.abs(stream.state(0) - state.numpy()[0]).max()
    fold, full, frame = (statistics.median(seconds) * 1e3 for seconds in (folds, whole, raw))
    print(f"one event folded in: p50 {fold:.3f} ms (raw event to state); 200 events recomputed: p50 {full:.3f} ms "
          f"(encoded events to state), {frame:.1f} ms (raw events to state, embed()); ratios {full / fold:.1f} and "
          f"{frame / fold:.0f}; states differ by at most {difference:.1e}")  # fmt: skip


def compare(contestants: dict[str, list[str]], key: str, rounds: int) -> None:
    """Run each in turn and print medians and ratios to the first."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, command in contestants.items():
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name} failed: {done.stderr[-600:]}", file=sys.stderr)
                continue
            found[name].append(json.loads(done.stdout.strip().splitlines()[-1]))
            print(name, found[name][-1], flush=True)
    medians = {name: statistics.median(r[key] for r in rows) for name, rows in found.items() if rows}
    own = next(iter(medians.values()))
    print(f"\n{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, "
          f"{datetime.now(UTC).date()}\n\n| | {key} | ours / this | peak MB |\n|---|---|---|---|")  # fmt: skip
    for name, value in medians.items():
        memory = max(row["peak_rss_mb"] for row in found[name])
        print(f"| {name} | {value:,.0f} | {own / value:.1f} | {memory:,.0f} |")


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["train", "recommend", "stream", "own-train", "own-recommend"])
    parser.add_argument("--replay", help="python of the peer's environment")
    parser.add_argument("--rectools", help="python of the peer's environment")
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--loss", default="auto")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    here, events = Path(__file__).parent, ["--events", str(EVENTS)]
    own = [sys.executable, __file__]
    seconds = ["--seconds", str(arguments.seconds)]
    if arguments.name == "stream":
        stream_latency()
    elif arguments.name == "own-train":
        print(json.dumps(own_training(arguments.seconds, arguments.loss)))
    elif arguments.name == "own-recommend":
        print(json.dumps(own_recommending(3)))
    elif arguments.name == "train":
        contestants = {
            "Habitus fast": [*own, "own-train", *seconds, "--loss", "auto"],
            "Habitus fast, sampled softmax": [*own, "own-train", *seconds, "--loss", "sampled"],
        }
        if arguments.replay:
            peer = [arguments.replay, str(here / "peer_replay.py"), "train", *events, *seconds]
            contestants |= {"RePlay SasRec, batch 32": [*peer, "--batch", "32"]}
        if arguments.rectools:
            contestants |= {
                "RecTools SASRec": [arguments.rectools, str(here / "peer_rectools.py"), "train", *events, *seconds]
            }
        compare(contestants, "targets_per_s", arguments.rounds)
    else:
        contestants = {"Habitus recommend()": [*own, "own-recommend"]}
        if arguments.rectools:
            peer = [arguments.rectools, str(here / "peer_rectools.py"), "recommend", *events, "--rounds", "3"]
            contestants |= {"RecTools recommend()": peer}
        compare(contestants, "users_per_s", arguments.rounds)


if __name__ == "__main__":
    main()
