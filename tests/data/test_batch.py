"""Batches: what `gather` pads in one index operation equals a loop; counts weigh log(1 + n)."""

import numpy as np
import pytest
import torch

from habitus.data.batch import SequenceTensors, bag_weights
from habitus.data.encode import EncodedSequences
from habitus.fields.category import MISSING, PAD


def make(lengths, seed=0):
    rng = np.random.default_rng(seed)
    lengths = np.asarray(lengths)
    total, n = int(lengths.sum()), len(lengths)
    return EncodedSequences(
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        ids={"item": rng.integers(1, 6, total).astype(np.int32)},
        numbers={"amount": rng.normal(size=(total, 2)).astype(np.float32)},
        age_days=rng.exponential(9, total).astype(np.float32),
        gap_days=rng.exponential(1, total).astype(np.float32),
        hour=rng.integers(0, 24, total).astype(np.int8),
        weekday=rng.integers(0, 7, total).astype(np.int8),
        profile_ids={"region": rng.integers(1, 4, n).astype(np.int32)},
        profile_numbers={"income": rng.normal(size=(n, 2)).astype(np.float32)},
        n_events=lengths.astype(np.int64),
        example=np.arange(n),
        target=rng.integers(0, 2, n),
    )


LENGTHS = [3, 0, 1, 7, 2, 0, 7]
EVENT_FIELDS = ("age_days", "gap_days", "hour", "weekday")


@pytest.mark.parametrize("rows", [[0], [1], [3, 6], [2, 0, 4], [6, 5, 4, 3, 2, 1, 0], [1, 5], [3, 3]])
def test_gather_equals_a_loop(rows):
    encoded = make(LENGTHS)
    batch = SequenceTensors(encoded, with_bags=True).gather(np.array(rows))
    longest = max(1, *(LENGTHS[row] for row in rows))
    assert batch.is_step.shape == (len(rows), longest)
    for place, row in enumerate(rows):
        length, own = LENGTHS[row], slice(encoded.offsets[row], encoded.offsets[row + 1])
        assert batch.lengths[place] == max(length, 1)
        assert batch.is_step[place].tolist() == [step < max(length, 1) for step in range(longest)]
        assert batch.ids["item"][place, length:].tolist() == ([MISSING] if not length else []) + [PAD] * (
            longest - max(length, 1)
        )
        np.testing.assert_array_equal(batch.ids["item"][place, :length], encoded.ids["item"][own])
        np.testing.assert_array_equal(batch.numbers["amount"][place, :length], encoded.numbers["amount"][own])
        for name in EVENT_FIELDS:
            np.testing.assert_array_equal(getattr(batch, name)[place, :length], getattr(encoded, name)[own])
        weights = bag_weights(encoded.offsets, encoded.ids["item"])[own]
        np.testing.assert_array_equal(batch.bag_weights["item"][place, :length], weights)
    np.testing.assert_array_equal(batch.profile_ids["region"], encoded.profile_ids["region"][rows])
    np.testing.assert_array_equal(batch.profile_numbers["income"], encoded.profile_numbers["income"][rows])
    np.testing.assert_array_equal(batch.target, encoded.target[rows])
    assert batch.has_padding == (len({max(LENGTHS[row], 1) for row in rows}) > 1)


def test_an_empty_history_is_one_event_of_which_all_is_missing():
    batch = SequenceTensors(make([0, 2]), with_bags=True).gather(np.array([0]))
    assert batch.lengths.tolist() == [1] and batch.is_step.tolist() == [[True]]
    assert batch.ids["item"].tolist() == [[MISSING]] and batch.numbers["amount"].tolist() == [[[0.0, 1.0]]]
    assert batch.age_days.item() == batch.gap_days.item() == batch.hour.item() == batch.weekday.item() == 0
    assert batch.bag_weights["item"].item() == 0  # it counts nothing


def test_rows_without_any_event_at_all_make_a_batch():
    batch = SequenceTensors(make([0, 0]), with_bags=True).gather(torch.tensor([1, 0]))
    assert batch.ids["item"].tolist() == [[MISSING], [MISSING]] and not batch.has_padding


def counts_of(encoded, weights):
    """Sum the weights of each value of each row: the loop that the linear path stands for."""
    rows = [slice(*encoded.offsets[row : row + 2]) for row in range(len(encoded))]
    ids = encoded.ids["item"]
    return [{value: weights[part][ids[part] == value].sum() for value in np.unique(ids[part])} for part in rows]


def largest_error(encoded, weights):
    """How far the summed weights are from log(1 + count), at most over all rows and values."""
    counted, summed = counts_of(encoded, np.ones(len(weights))), counts_of(encoded, weights)
    pairs = zip(counted, summed, strict=True)
    return max(abs(weight[value] - np.log1p(n)) for count, weight in pairs for value, n in count.items())


def test_the_weights_of_a_value_sum_to_the_log_of_one_plus_its_count():
    encoded = make(np.random.default_rng(3).integers(0, 40, 30))
    assert largest_error(encoded, bag_weights(encoded.offsets, encoded.ids["item"])) < 1e-5


@pytest.mark.parametrize("broken", [np.ones_like, lambda w: np.roll(w, 1)], ids=["plain counts", "one event late"])
def test_other_weights_would_be_noticed(broken):
    encoded = make(np.random.default_rng(3).integers(0, 40, 30))
    assert largest_error(encoded, broken(bag_weights(encoded.offsets, encoded.ids["item"]))) > 0.1


def test_a_value_that_two_rows_share_is_counted_in_each_row_anew():
    weights = bag_weights(np.array([0, 1, 3]), np.array([5, 5, 5]))
    np.testing.assert_allclose(weights, np.log([2, 2, 1.5]), rtol=1e-6)


def test_moving_to_the_same_device_gives_the_same_batch():
    batch = SequenceTensors(make(LENGTHS)).gather(np.array([0, 1]))
    assert batch.to(torch.device("cpu")) is batch
    moved = batch.to(torch.device("meta"))
    assert (
        moved.ids["item"].device.type == moved.lengths.device.type == "meta" and moved.has_padding == batch.has_padding
    )
