"""The study of next events: every training event but a user's first is asked once an epoch, later ones never, and a
run that is stopped at any step and resumed ends in the bits of an undisturbed run."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.backbones import GRU, Transformer
from habitus.data.histories import Histories, latest
from habitus.data.next_batch import HistoryTensors
from habitus.data.next_split import NextSplit
from habitus.tasks import Inputs
from habitus.tasks.next_event import NextEvent, NextEventNetwork
from habitus.tasks.ranking import Questions, rank_targets
from habitus.training import Training, train
from habitus.training.next_event import NextEventStudy

N_IDS, MAX_LENGTH = 12, 4
OPTIONS = {
    "epochs": 3,
    "batch_rows": 4,
    "batch_tokens": 12,
    "learning_rate": 0.01,
    "patience": 99,
    "tracker": None,
    "device": "cpu",
}
VARIANTS = {
    "gru": {"backbone": GRU(hidden_size=8, dropout=0.2)},
    "transformer": {
        "backbone": Transformer(hidden_size=8, n_heads=2, n_layers=1, dropout=0.2, pooling="last"),
        "task": NextEvent("item", query_time=0.5, loss="sampled", negatives=3),
    },
    "accumulated": {"backbone": GRU(hidden_size=8, dropout=0.2), "accumulate": 2, "average": 0.0, "schedule": "linear"},
}


def make(lengths=(7, 9, 3, 1, 12, 5, 2, 8, 14, 6, 11), seed=0):
    """Histories on a ring of items; the flat position of an event is also its minute, so that batches tell it."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    items = np.concatenate([(rng.integers(N_IDS - 3) + np.arange(n)) % (N_IDS - 3) + 3 for n in lengths])
    return Histories(offsets, {"item": items.astype(np.int32)}, {}, np.arange(offsets[-1]) * 60_000_000)


def study(histories=None, by="leave-one-out", max_length=MAX_LENGTH):
    histories = histories or make()
    parts = NextSplit(by, quantile=0.8).divide(histories)
    begin, asked = histories.offsets[:-1], parts.validation
    questions = Questions(
        latest(begin[asked.row], asked.stop, max_length),
        begin[asked.row],
        asked.row,
        histories.ids["item"][asked.stop].astype(np.int64),
        histories.time_us[asked.stop],
    ).untold()
    return NextEventStudy(
        HistoryTensors(histories), begin, parts.train_stop, questions, max_length, "item", False
    ), parts


def network(backbone=None, task=None, seed=0):
    torch.manual_seed(seed)
    inputs = Inputs({"item": N_IDS}, {}, {}, {})
    return NextEventNetwork(inputs, backbone or GRU(hidden_size=8), task or NextEvent("item"), np.array([0.5, 1.0]))


def asked_positions(made, epoch, seed, **options):
    """Flat positions of all targets of an epoch, and of all inputs."""
    targets, inputs = [], []
    training = Training(**(OPTIONS | options))
    for windows in made.epoch_batches(epoch, training, seed, 0, 1):
        batch = made.gather(windows)
        steps = torch.from_numpy(windows.start)[:, None] + torch.arange(batch.is_step.shape[1])
        targets += (steps + 1)[batch.upcoming.is_target].tolist()
        inputs += steps[batch.is_step].tolist()
        items = torch.from_numpy(made.tensors.histories.ids["item"].astype(np.int64))
        assert torch.equal(batch.upcoming.ids["item"][batch.is_step], items[(steps + 1)[batch.is_step]])
    return targets, inputs


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 15), min_size=3, max_size=9),
    st.integers(0, 10**6),
    st.integers(0, 5),
    st.integers(1, 7),
    st.sampled_from(["leave-one-out", "none"]),
)
def test_every_training_event_but_the_first_is_asked_once_an_epoch(lengths, seed, epoch, max_length, by):
    histories = make([*lengths, 4])
    made, parts = study(histories, by, max_length)
    targets, inputs = asked_positions(made, epoch, seed, batch_tokens=20)
    expected = [p for a, b in zip(histories.offsets[:-1], parts.train_stop, strict=True) for p in range(a + 1, b)]
    assert sorted(targets) == expected and made.n_targets == len(expected)
    assert sorted(inputs) == [position - 1 for position in expected]


@pytest.mark.parametrize("by", ["leave-one-out", "temporal", "none"])
def test_events_that_choose_or_judge_are_never_learned_from_nor_read(by):
    histories = make([8, 11, 9, 14, 6, 10])
    rng = np.random.default_rng(3)  # the same minutes for all users, so that a cut divides every history
    times = [np.sort(rng.choice(1000, n, replace=False)) for n in histories.lengths]
    histories = Histories(histories.offsets, histories.ids, {}, np.concatenate(times) * 60_000_000)
    made, parts = study(histories, by)
    held = set(parts.validation.stop.tolist()).union(*(p.stop.tolist() for p in parts.test.values()))
    for epoch in range(5):
        targets, inputs = asked_positions(made, epoch, seed=1)
        assert targets and not held & set(targets) and not held & set(inputs)
        if by == "temporal":
            first_held = histories.time_us[parts.validation.stop].min()
            assert histories.time_us[targets].max() < first_held < parts.cut_us


def test_changing_held_out_events_changes_no_training_batch():
    histories = make()
    made, parts = study(histories)
    is_held = np.arange(len(histories.time_us)) >= np.repeat(parts.train_stop, histories.lengths)
    changed = Histories(
        histories.offsets,
        {"item": np.where(is_held, 3, histories.ids["item"]).astype(np.int32)},
        {},
        np.where(is_held, histories.time_us + 10**15, histories.time_us),
    )
    other, _ = study(changed)
    weights = []
    for one in (made, other):
        trained = network(VARIANTS["transformer"]["backbone"])
        train(trained, one, Training(**(OPTIONS | {"epochs": 1})))
        weights.append(trained.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_cuts_move_and_repeat_with_seed_and_epoch():
    made, training = study()[0], Training(**OPTIONS)

    def windows(epoch, seed):
        return [(w.start.tolist(), w.stop.tolist()) for w in made.epoch_batches(epoch, training, seed, 0, 1)]

    assert windows(1, 0) == windows(1, 0) != windows(2, 0) and windows(1, 0) != windows(1, 1)


def test_processes_share_the_batches_and_take_equally_many():
    made, training = study()[0], Training(**OPTIONS)
    whole = [tuple(w.start) for w in made.epoch_batches(0, training, 0, 0, 1)]
    parts = [[tuple(w.start) for w in made.epoch_batches(0, training, 0, process, 3)] for process in range(3)]
    assert len({len(part) for part in parts}) == 1
    taken = Counter(start for part in parts for start in part)
    assert set(taken) == set(whole) and sum(taken.values()) - len(whole) < 3


def test_batches_keep_to_their_budget():
    made, training = study()[0], Training(**OPTIONS)
    for windows in made.epoch_batches(0, training, 0, 0, 1):
        batch = made.gather(windows)
        assert len(windows) <= 4 and (batch.is_step.numel() <= 12 or len(windows) == 1)
        assert batch.is_step.shape[1] <= MAX_LENGTH
    batches = made.epoch_batches(0, training, 0, 0, 1)
    slots = sum(made.gather(windows).is_step.numel() for windows in batches)
    assert made.padding_waste(batches) == pytest.approx(1 - made.n_targets / slots)


def test_the_loss_counts_every_target_and_validation_is_ndcg():
    made = study()[0]
    trained = network()
    loss, n = made.loss(trained, made.gather(made.epoch_batches(0, Training(**OPTIONS), 0, 0, 1)[0]))
    assert n >= 1 and loss.requires_grad and loss.isfinite()
    found = made.validate(trained)
    ranks = rank_targets(trained, made.tensors, made.questions, filter_seen=False)
    by_hand = np.mean([1 / math.log2(rank + 1) if rank <= 10 else 0 for rank in ranks])
    assert found["validation_metric"] == pytest.approx(by_hand) == 1 - found["validation_loss"]
    assert found["monitor"] == "ndcg@10"


# -- resuming


def run(folder, variant="gru", resume=False, callbacks=(), **options):
    given = {key: value for key, value in VARIANTS[variant].items() if key not in ("backbone", "task")}
    made = network(VARIANTS[variant]["backbone"], VARIANTS[variant].get("task"))
    training = Training(**(OPTIONS | given | options))
    return made, train(
        made, study()[0], training, folder=folder, resume=resume, callbacks=callbacks, fingerprint="data"
    )


def end_of(tiny, folder, made, result):
    return tiny.digest(made), tiny.checkpoint_digest(folder), tiny.without_clocks(result.history)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_stopped_again_and_again_ends_in_the_same_bits(tiny, tmp_path, variant):
    undisturbed = end_of(tiny, tmp_path / "whole", *run(tmp_path / "whole", variant))
    n_stops, n_batches = 0, VARIANTS[variant].get("accumulate", 1) + 1
    while n_stops < 99:
        try:
            stop = tiny.stop_after(n_batches)
            ended = run(tmp_path / "cut", variant, resume=True, callbacks=[stop], checkpoint_every_s=0.0)
            break
        except tiny.Stopped:
            n_stops += 1
    assert n_stops >= 8
    assert end_of(tiny, tmp_path / "cut", *ended) == undisturbed


def test_epochs_may_have_different_numbers_of_batches(tmp_path):
    made, training = study()[0], Training(**(OPTIONS | {"batch_rows": 1}))
    sizes = [len(made.epoch_batches(epoch, training, 0, 0, 1)) for epoch in range(3)]
    assert len(set(sizes)) > 1  # cuts move, so that epochs differ
    _, result = run(tmp_path, batch_rows=1)
    assert [record["step"] for record in result.history] == np.cumsum(sizes).tolist()
    assert np.isfinite([record["train_loss"] for record in result.history]).all()


def test_another_log_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(Exception, match="another"):
        train(network(), study()[0], Training(**OPTIONS), folder=tmp_path, resume=True, fingerprint="other data")
