"""Every backbone with every task whose target is in the log itself: fit, answer, save, load, same answer, pads ignored,
the future unseen: the promises of `test_grid.py`, for histories without examples.

A new part joins by being registered in `habitus.model`; a new task names its cases in `CASES`.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch

from habitus.backbones import Transformer
from habitus.data.histories import Windows, latest
from habitus.data.next_batch import HistoryTensors
from habitus.data.next_split import NextSplit
from habitus.data.options import Data
from habitus.fields import Category
from habitus.model import BACKBONES, TASKS, NextEventModel, NextOptions, SequenceModel, load
from habitus.next_prepared import read_histories
from habitus.tasks.ranking import Questions, answer_states, rank_targets
from habitus.training import Training

START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=120)
N_USERS, N_ITEMS, MAX_LENGTH = 40, 14, 6
CASES = {
    "next-event": {
        "item only": {"item": "item", "when": False, "calendar": False},
        "time and fields": {"item": "item", "also": ("kind", "amount")},
        "may be told when": {"item": "item", "query_time": 0.5},
        "always told when": {"item": "item", "query_time": 1.0},
    }
}
GRID = [
    pytest.param(backbone, task, case, id=f"{backbone}-{task}-{case}")
    for backbone in BACKBONES
    for task, kind in SequenceModel.kinds.items()
    if kind is NextEventModel
    for case in CASES.get(task, {"no case": None})
]
WINDOWED = "windowed transformer"
GRID += [
    pytest.param(WINDOWED, "next-event", case, id=f"{WINDOWED}-next-event-{case}")
    for case in ("time and fields", "may be told when")
]
BODIES = {name: kind(hidden_size=8) for name, kind in BACKBONES.items()} | {
    WINDOWED: Transformer(hidden_size=8, window=3, pooling="last")
}
every_pair = pytest.mark.parametrize(("backbone", "task", "case"), GRID)


def make(seed=0):
    """Histories of 1 to 11 events, some longer than a window."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(N_USERS), 1 + np.arange(N_USERS) * 7 % 11)
    minutes = rng.permutation(90 * 1440)[: len(who)]
    return pl.DataFrame(
        {
            "user_id": [f"user {entity}" for entity in who],
            "timestamp": [START + timedelta(minutes=m) for m in minutes.tolist()],
            "item": [f"item {item}" for item in rng.integers(0, N_ITEMS, len(who)) // (1 + who % 2)],
            "kind": rng.choice(["x", "y"], len(who)),
            "amount": rng.normal(size=len(who)),
        }
    )


@pytest.fixture(scope="module")
def fitted():
    """Return a function that fits each pair once."""
    known, log = {}, make()

    def of(backbone, task, case):
        if case not in CASES.get(task, {}):
            pytest.fail(f"Task '{task}' is registered, but CASES in this file names no case for it.")
        if (backbone, task, case) not in known:
            model = SequenceModel(
                TASKS[task](**CASES[task][case]),
                BODIES[backbone],
                data=Data(fields={"item": Category(min_count=1)}, max_length=MAX_LENGTH),
                split=NextSplit("leave-one-out"),
                training=Training(epochs=2, batch_rows=16, learning_rate=0.01, tracker=None, device="cpu"),
                options=NextOptions(baselines=("most popular",)),
            )
            known[backbone, task, case] = model.fit(log)
        return known[backbone, task, case], log

    return of


def told(model):
    """What an answer must be given besides the log."""
    return {"at": NOW} if model.task.query_time == 1 else {}


def answers(model, log):
    """All numbers of all answers by user: states, predicted values, and the score of every item."""
    frame = model.predict(log, **told(model))
    users, found = frame["user_id"].to_list(), [model.embed(log, **told(model))]
    found.append(frame.select(pl.selectors.float()).to_numpy())
    ranked = model.recommend(log, k=N_ITEMS, filter_seen=False, **told(model)).sort("item", maintain_order=True)
    scores = ranked.group_by("user_id", maintain_order=True).agg("score")
    by_user = dict(scores.iter_rows())
    found.append(np.array([by_user[user] for user in users]))
    return dict(zip(users, np.concatenate(found, axis=1), strict=True))


def furthest(one, other, users=None):
    return max(np.abs(one[user] - other[user]).max() for user in users or one)


@every_pair
def test_it_trains_answers_and_is_judged(fitted, backbone, task, case):
    model, log = fitted(backbone, task, case)
    found = np.array(list(answers(model, log).values()))
    assert found.shape[0] == N_USERS and np.isfinite(found).all() and found.std(0).max() > 1e-4
    assert len(model.history_) == 2 and all(np.isfinite(record["train_loss"]) for record in model.history_)
    n_judged = (log.group_by("user_id").len()["len"] >= 3).sum()
    for judged in model.evaluation_.targets.values():
        assert judged.n == n_judged and "most popular" in judged.baselines
        assert all(0 <= judged.metrics[name].value <= 1 for name in ("ndcg@10", "hr@10", "mrr"))


@every_pair
def test_saved_and_loaded_it_gives_the_same_bits(fitted, tmp_path, backbone, task, case):
    model, log = fitted(backbone, task, case)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert furthest(answers(again, log), answers(model, log)) == 0.0
    assert again.evaluate(log).to_json() == model.evaluate(log).to_json()


@every_pair
def test_padding_and_company_change_nothing(fitted, backbone, task, case):
    model, log = fitted(backbone, task, case)
    whole = answers(model, log)
    for chosen in ([0], [7], [1, 7, 0, 15], [39, 3]):
        users = [f"user {number}" for number in chosen]
        few = pl.concat([log.filter(pl.col("user_id") == user) for user in users])
        assert furthest(answers(model, few), whole, users) <= 1e-5


@every_pair
def test_the_order_of_rows_matters_only_for_ties(fitted, backbone, task, case):
    model, log = fitted(backbone, task, case)
    mixed = log.sample(fraction=1.0, shuffle=True, seed=1)
    assert furthest(answers(model, mixed), answers(model, log)) <= 1e-5
    tied = log.with_columns(timestamp=pl.lit(START))
    assert furthest(answers(model, tied.reverse()), answers(model, tied)) > 1e-4


@every_pair
def test_the_future_is_unseen(fitted, backbone, task, case):
    """Judged positions and training steps: changing every event from a position on changes nothing before it."""
    model, log = fitted(backbone, task, case)
    log = log.sort("user_id", "timestamp")
    place, n = pl.int_range(pl.len()).over("user_id"), pl.len().over("user_id")
    is_later = place >= n // 2
    changed = log.with_columns(
        item=pl.when(is_later).then(pl.lit("item 1")).otherwise("item"),
        kind=pl.when(is_later).then(pl.lit("y")).otherwise("kind"),
        amount=pl.when(is_later).then(9.0).otherwise("amount"),
        timestamp=pl.when(is_later).then(pl.col("timestamp") + timedelta(days=5000)).otherwise("timestamp"),
    )
    found, trained = [], []
    for one in (log, changed):
        _, _, histories = read_histories(model.encoder_, one, model.data)
        tensors, begin = HistoryTensors(histories), histories.offsets[:-1]
        asked = begin + histories.lengths // 2
        rows = np.flatnonzero(asked > begin)
        windows = latest(begin[rows], asked[rows], MAX_LENGTH)
        target = np.full(len(rows), 5)
        at_us = np.full(len(rows), int(NOW.timestamp() * 1e6))
        questions = Questions(windows, begin[rows], rows, target, at_us)
        for asked_so in (questions, questions.untold()):
            states = answer_states(model.network_, tensors, asked_so).numpy()
            ranks = rank_targets(model.network_, tensors, asked_so, filter_seen=True)
            found.append(np.column_stack([states, ranks]))
        trained.append(steps_before(model, tensors, begin[rows], asked[rows], histories.offsets[1:][rows]))
    assert (found[0] == found[2]).all() and (found[1] == found[3]).all()
    assert len(trained[0]) and (trained[0] == trained[1]).all()


@torch.no_grad()
def steps_before(model, tensors, begin, asked, stop):
    """States that training gives the steps before each asked position, of windows that reach beyond it."""
    batch = tensors.training(Windows(begin, stop))
    states = model.network_.backbone(model.network_._steps(batch, batch.upcoming), batch)
    before = torch.arange(states.shape[1]) < torch.from_numpy(asked - begin)[:, None]
    return states[before].numpy()


@every_pair
def test_a_later_event_does_change_the_answer(fitted, backbone, task, case):
    model, log = fitted(backbone, task, case)
    more = (
        log.group_by("user_id", maintain_order=True).last().with_columns(timestamp=pl.lit(NOW), item=pl.lit("item 2"))
    )
    longer, whole = answers(model, pl.concat([log, more.select(log.columns)])), answers(model, log)
    assert all(np.abs(longer[user] - whole[user]).max() > 1e-6 for user in whole)


@every_pair
def test_it_reads_its_latest_events_and_the_gap_before_them(fitted, backbone, task, case):
    model, log = fitted(backbone, task, case)
    log = log.sort("user_id", "timestamp")
    kept = log.filter(pl.int_range(pl.len()).over("user_id") >= pl.len().over("user_id") - MAX_LENGTH - 1)
    assert kept.height < log.height
    assert furthest(answers(model, kept), answers(model, log)) <= 1e-5


@every_pair
def test_a_stream_answers_as_the_model(fitted, backbone, task, case):
    model, log = fitted(backbone, task, case)
    if model.task.query_time == 1:
        pytest.skip("a stream does not know when the next event will be")
    stream, few = model.stream(), log.filter(pl.len().over("user_id") <= MAX_LENGTH).sort("timestamp")
    for event in few.to_dicts():
        stream.push(event.pop("user_id"), event)
    users = few["user_id"].unique(maintain_order=True).to_list()
    states = dict(zip(users, model.embed(few), strict=True))
    assert max(np.abs(stream.state(user) - states[user]).max() for user in users) <= 1e-5


def test_every_backbone_has_a_stream_and_a_last_state():
    for kind in BACKBONES.values():
        stack = kind(hidden_size=8).build()
        assert {"start", "step", "forward_last"} <= set(dir(stack))
    assert Transformer().is_causal
