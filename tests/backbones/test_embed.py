"""Embeddings: fields add up, times are encoded as equation 1 of the paper says, padding has no vector."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from habitus.backbones.embed import KNOTS_DAYS, EventEmbedding, NumberEmbedding, PiecewiseLinear, ProfileEmbedding
from habitus.data.batch import SequenceTensors
from habitus.data.encode import EncodedSequences

SIZES, PROFILE_SIZES = {"item": 7, "shop.kind": 5}, {"region": 5}
KNOTS = {"amount": [-1.0, 0.0, 2.0]}
LENGTHS = [4, 0, 9, 1]


def make(ids=True, numbers=True, profile=True, seed=0):
    rng = np.random.default_rng(seed)
    n, total = len(LENGTHS), sum(LENGTHS)
    return EncodedSequences(
        offsets=np.concatenate([[0], np.cumsum(LENGTHS)]),
        ids={name: rng.integers(1, size, total).astype(np.int32) for name, size in SIZES.items()} if ids else {},
        numbers={"amount": rng.normal(size=(total, 2)).astype(np.float32)} if numbers else {},
        age_days=rng.exponential(90, total).astype(np.float32),
        gap_days=rng.exponential(1, total).astype(np.float32),
        hour=rng.integers(0, 24, total).astype(np.int8),
        weekday=rng.integers(0, 7, total).astype(np.int8),
        profile_ids={"region": rng.integers(1, 5, n).astype(np.int32)} if profile else {},
        profile_numbers={"income": rng.normal(size=(n, 2)).astype(np.float32)} if profile else {},
        n_events=np.array(LENGTHS),
        example=np.arange(n),
    )


def batch_of(encoded):
    return SequenceTensors(encoded, with_bags=True).gather(np.arange(len(encoded)))


def test_a_number_between_knots_is_how_far_it_has_passed_each_interval():
    module = PiecewiseLinear((0.0, 1.0, 3.0), 2)
    with torch.no_grad():
        module.project.weight.copy_(torch.eye(2))
        encoded = module(torch.tensor([0.0, 0.25, 1.0, 2.0, 3.0, 9.0]))
    assert encoded.tolist() == [[0, 0], [0.25, 0], [1, 0], [1, 0.5], [1, 1], [1, 1]]


@torch.no_grad()
def test_a_number_is_linear_and_bends_at_its_knots_unless_it_is_missing():
    module = NumberEmbedding([-1.0, 0.0, 2.0], 3)
    for value, passed in ((-5.0, [0, 0]), (-0.5, [0.5, 0]), (1.0, [1, 0.5]), (9.0, [1, 1])):
        straight = module.linear(torch.tensor([value, 0.0]))
        expected = straight + module.bends.project.weight @ torch.tensor(passed, dtype=torch.float32)
        torch.testing.assert_close(module(torch.tensor([value, 0.0])), expected)
    missing = torch.tensor([0.0, 1.0])
    torch.testing.assert_close(module(missing), module.linear(missing))


@pytest.mark.parametrize("knots", [[], [0.5]])
@torch.no_grad()
def test_a_number_without_two_knots_is_linear(knots):
    module, values = NumberEmbedding(knots, 3), torch.randn(4, 2)
    torch.testing.assert_close(module(values), module.linear(values))


@torch.no_grad()
def test_events_of_which_nothing_is_read_have_a_vector():
    module = EventEmbedding({}, {}, 4, 0.0, use_time=False)
    assert module(batch_of(make(ids=False, numbers=False))).shape == (4, 9, 4)


def test_knots_rise_from_zero():
    assert KNOTS_DAYS[0] == 0 and (np.diff(KNOTS_DAYS) > 0).all()


@torch.no_grad()
def test_event_vectors_are_the_norm_of_the_sum_of_their_fields():
    batch = batch_of(make())
    module = EventEmbedding(SIZES, KNOTS, 6, 0.5).eval()
    tables = dict(zip(SIZES, module.categories.values(), strict=True))
    total = sum(table(batch.ids[name]) for name, table in tables.items())
    total = total + next(iter(module.numbers.values()))(batch.numbers["amount"])
    total = total + module.age(batch.age_days) + module.gap(batch.gap_days)
    total = total + module.hour(batch.hour) + module.weekday(batch.weekday)
    torch.testing.assert_close(module(batch), module.norm(total))


@torch.no_grad()
def test_without_time_the_times_change_nothing():
    batch, other = batch_of(make()), make()
    for name in ("age_days", "gap_days", "hour", "weekday"):
        getattr(other, name)[:] = 1
    module = EventEmbedding(SIZES, KNOTS, 6, 0.0, use_time=False)
    assert torch.equal(module(batch_of(other)), module(batch))
    module = EventEmbedding(SIZES, KNOTS, 6, 0.0, use_time=True)
    assert not torch.equal(module(batch_of(other)), module(batch))


@torch.no_grad()
def test_profile_vectors_stand_side_by_side():
    module = ProfileEmbedding(PROFILE_SIZES, {"income": []}, 4)
    assert module.width == 8 and module(batch_of(make())).shape == (4, 8)
    assert ProfileEmbedding({}, {}, 4)(batch_of(make(profile=False))).shape == (4, 0)


@pytest.mark.parametrize("names", [("a.b", "a_db"), ("a.b", "a_b"), ("keys", "items"), ("a__b", "a_b")])
def test_any_two_field_names_have_tables_of_their_own(names):
    module = EventEmbedding(dict.fromkeys(names, 5), dict.fromkeys(names, ()), 4, 0.0)
    assert len(module.categories) == len(module.numbers) == 2


def test_padding_has_no_vector_and_learns_none():
    module = EventEmbedding({"item": 7}, {}, 4, 0.0, use_time=False)
    table = next(iter(module.categories.values()))
    assert not table.weight[0].any() and table.weight[1:].any()
    table(torch.tensor([0, 3])).sum().backward()
    assert not table.weight.grad[0].any() and table.weight.grad[3].any()


def test_in_training_some_values_of_a_large_field_are_read_as_unknown():
    ids = torch.full((1, 4000), 300)
    batch = batch_of(make(numbers=False, profile=False))
    module = EventEmbedding({"item": 1000, "kind": 9}, {}, 4, 0.0, value_dropout=0.25, use_time=False)
    tables = dict(zip(("item", "kind"), module.categories.values(), strict=True))
    seen = {}
    for name, table in tables.items():
        table.register_forward_pre_hook(lambda module, inputs, name=name: seen.update({name: inputs[0]}))
    module.train()(replace(batch, ids={"item": ids, "kind": ids.clamp_max(8)}))
    assert (seen["item"] == 1).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert set(seen["item"].unique().tolist()) == {1, 300} and seen["kind"].unique().tolist() == [8]
    module.eval()(replace(batch, ids={"item": ids, "kind": ids.clamp_max(8)}))
    assert seen["item"].unique().tolist() == [300]


def test_padding_is_never_read_as_unknown():
    module, seen = EventEmbedding({"item": 1000}, {}, 4, 0.0, value_dropout=0.9, use_time=False).train(), []
    next(iter(module.categories.values())).register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    batch = batch_of(make(numbers=False, profile=False))
    module(replace(batch, ids={"item": torch.zeros(1, 500, dtype=torch.long)}))
    assert not seen[0].any()
