"""What the objectives of pretraining ask: checked on slices of small histories, by plain loops."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from habitus.backbones import GRU, Transformer
from habitus.data.encode import EncodedSequences
from habitus.errors import ConfigError, DataError
from habitus.fields.category import PAD
from habitus.tasks import Inputs
from habitus.tasks.pretrain import OBJECTIVES, Pretrain, build_pretrain_network
from habitus.training import Training, train
from habitus.training.pretrain import STUDIES, ContrastiveStudy, FollowingStudy, MaskedStudy, OrderStudy

INPUTS = Inputs({"item": 40, "empty": 3}, {"amount": [-1.0, 0.0, 1.0]}, {}, {})
BATCH = {"training": Training(batch_rows=4, batch_tokens=64), "seed": 0, "process": 0, "n_processes": 1}


def rows(lengths, seed=0):
    """Histories whose items count up over all of them, so that an item says where it stands."""
    rng, lengths = np.random.default_rng(seed), np.asarray(lengths)
    total = int(lengths.sum())
    gap = rng.exponential(2.0, total).astype(np.float32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    gap[offsets[:-1][lengths > 0]] = 0
    bounds = itertools.pairwise(offsets)
    age = np.concatenate([gap[a:b][::-1].cumsum()[::-1] - gap[a:b] + 1.5 for a, b in bounds])
    return EncodedSequences(
        offsets=offsets,
        ids={"item": (3 + np.arange(total) % 37).astype(np.int32), "empty": np.full(total, 2, np.int32)},
        numbers={"amount": rng.normal(size=(total, 2)).astype(np.float32)},
        age_days=age.astype(np.float32),
        gap_days=gap,
        hour=rng.integers(0, 24, total).astype(np.int8),
        weekday=rng.integers(0, 7, total).astype(np.int8),
        profile_ids={},
        profile_numbers={},
        n_events=lengths,
        example=np.arange(len(lengths)),
    )


def study(objective, lengths=(9, 12, 5, 20, 7, 8), max_length=6, **options):
    made = rows(lengths)
    return STUDIES[objective](Pretrain(objective, **options), made, rows((12, 9), seed=1), max_length)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_slices_lie_within_one_history_and_are_the_same_for_the_same_epoch(objective):
    made = study(objective)
    batches = made.epoch_batches(3, **BATCH)
    again = made.epoch_batches(3, **BATCH)
    begin, end = rows((9, 12, 5, 20, 7, 8)).offsets[:-1], rows((9, 12, 5, 20, 7, 8)).offsets[1:]
    for one, same in zip(batches, again, strict=True):
        assert (begin[one.row] <= one.start).all() and (one.stop <= end[one.row]).all()
        assert (one.lengths > 0).all() and (one.lengths <= 6).all() and (one.wait_days >= 0).all()
        np.testing.assert_array_equal(one.start, same.start)
        np.testing.assert_array_equal(one.wait_days, same.wait_days)


def test_every_event_but_the_first_of_a_history_is_asked_once_by_next():
    made, asked = study("next"), []
    for chosen in made.epoch_batches(0, **BATCH):
        batch = made.gather(chosen)
        following = batch.upcoming.ids["item"][batch.upcoming.is_target]
        current = batch.ids["item"][batch.upcoming.is_target]
        np.testing.assert_array_equal((following - 3) % 37, (current - 3 + 1) % 37)  # items count up
        positions = chosen.start[:, None] + 1 + np.arange(batch.is_step.shape[1])
        asked += positions[batch.upcoming.is_target.numpy()].tolist()
    offsets = rows((9, 12, 5, 20, 7, 8)).offsets
    assert sorted(asked) == sorted(set(range(offsets[-1])) - set(offsets[:-1].tolist()))
    assert len(asked) == made.n_targets


def test_ages_of_a_slice_count_from_its_own_moment():
    made = study("next")
    (chosen, *_) = made.epoch_batches(0, **BATCH)
    batch, source = made.gather(chosen), rows((9, 12, 5, 20, 7, 8))
    for b, (start, stop, wait) in enumerate(zip(chosen.start, chosen.stop, chosen.wait_days, strict=True)):
        own = source.age_days[start:stop]
        np.testing.assert_allclose(batch.age_days[b, : stop - start], own - own[-1] + wait, atol=1e-5)
        assert batch.gap_days[b, 0] == 0
        if stop < source.offsets[chosen.row[b] + 1]:
            assert wait <= source.gap_days[stop]
        else:
            assert wait <= 1.5


def test_hidden_events_show_nothing_and_the_others_stay():
    made = study("masked", mask_share=0.5)
    n_asked = n_hidden = 0
    for chosen in made.epoch_batches(0, **BATCH):
        batch, plain = made.gather(chosen), made._train.gather(chosen)
        asked, hidden = batch.upcoming.is_target, batch.hidden
        assert asked.any(1).all() and not (asked & ~batch.is_step).any() and not (hidden & ~asked).any()
        assert (batch.ids["item"][hidden] == PAD).all() and (batch.numbers["amount"][hidden] == 0).all()
        torch.testing.assert_close(batch.ids["item"][~asked], plain.ids["item"][~asked])
        torch.testing.assert_close(batch.upcoming.ids["item"], plain.ids["item"])
        n_asked, n_hidden = n_asked + int(asked.sum()), n_hidden + int(hidden.sum())
    assert 0.35 < n_asked / made.n_events < 0.75 and 0.6 < n_hidden / n_asked < 0.95


def test_contrastive_slices_come_in_groups_of_an_entity_and_short_histories_give_none():
    made = study("contrastive", lengths=(2, 12, 30, 20, 3, 25), slices=3, shortest=4)
    for chosen in made.epoch_batches(0, **BATCH):
        target = made.gather(chosen).target.numpy()
        assert set(np.bincount(target)[np.unique(target)]) == {3} and not set(target) & {0, 4}
        assert (chosen.lengths >= 4).all()
    with pytest.raises(DataError, match="long enough"):
        study("contrastive", lengths=(2, 3), shortest=4).epoch_batches(0, **BATCH)


@given(st.integers(0, 1000))
def test_slices_of_any_seed_stay_within_their_histories(seed):
    made = ContrastiveStudy(Pretrain("contrastive", shortest=2), rows((9, 12, 5), seed), rows((8, 9)), 50)
    for one in made.epoch_batches(seed, **BATCH):
        assert (one.start >= made._train.begin[one.row]).all() and (one.stop <= made._train.end[one.row]).all()


@pytest.mark.parametrize(
    ("objective", "n_rows", "epochs"), [(one, 24, 6) for one in OBJECTIVES[:3]] + [("order", 600, 2)]
)
def test_training_lowers_the_loss(objective, n_rows, epochs):
    torch.manual_seed(0)
    made = study(objective, lengths=(30,) * n_rows)
    network = build_pretrain_network(INPUTS, GRU(hidden_size=16, dropout=0.0), made.task)
    made.begin(network)
    options = Training(epochs=epochs, batch_rows=n_rows // 3, learning_rate=0.02, tracker=None, average=0.0, patience=9)
    history = train(network, made, options).history
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_order_refuses_histories_in_which_nothing_stands_closer_than_by_chance():
    made = study("order")
    with pytest.raises(DataError, match="by chance"):
        made.begin(build_pretrain_network(INPUTS, GRU(hidden_size=4), made.task))


def test_a_next_step_sees_no_later_event():
    torch.manual_seed(0)
    made = study("next")
    network = build_pretrain_network(INPUTS, Transformer(hidden_size=8, n_layers=1, n_heads=2), made.task).eval()
    (chosen, *_) = made.epoch_batches(0, **BATCH)
    batch = made.gather(chosen)
    states = network.states(batch)
    batch.ids["item"][:, 3:] = 7
    torch.testing.assert_close(network.states(batch)[:, :3], states[:, :3], rtol=0, atol=0)
    with pytest.raises(ConfigError, match="causal"):
        build_pretrain_network(INPUTS, Transformer(causal=False), Pretrain("next"))


def test_the_classes_are_what_their_names_say():
    assert list(STUDIES.values()) == [FollowingStudy, MaskedStudy, ContrastiveStudy, OrderStudy]
