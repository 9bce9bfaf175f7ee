"""Losses of pretraining against loops, and factors against a dense decomposition."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from habitus.backbones.embed import EventEmbedding
from habitus.data.batch import Batch, SequenceTensors, Upcoming
from habitus.data.encode import EncodedSequences
from habitus.errors import ConfigError
from habitus.tasks import Inputs
from habitus.tasks.factors import factored_fields, find_factors
from habitus.tasks.pretrain import Pretrain
from habitus.tasks.pretrain.contrastive import contrastive_loss, share_recognised
from habitus.tasks.pretrain.fields import FieldHeads
from habitus.tasks.pretrain.order import PAIR_DAYS, RECENT_DAYS, OrderHead, statistics
from habitus.tasks.wide import WideBag


def test_the_contrastive_loss_is_that_of_a_loop():
    torch.manual_seed(0)
    z, who = F.normalize(torch.randn(6, 4), dim=-1), torch.tensor([0, 1, 0, 2, 1, 2])
    expected = 0.0
    for i in range(6):
        others = [j for j in range(6) if j != i]
        log_sum = torch.logsumexp(torch.stack([z[i] @ z[j] / 0.3 for j in others]), 0)
        own = [j for j in others if who[j] == who[i]]
        expected += -sum(float(z[i] @ z[j] / 0.3 - log_sum) for j in own) / len(own)
    assert contrastive_loss(z, who, 0.3).item() == pytest.approx(expected, rel=1e-5)
    nearest = [max((j for j in range(6) if j != i), key=lambda j, i=i: float(z[i] @ z[j])) for i in range(6)]
    assert share_recognised(z, who) == pytest.approx(np.mean([who[j] == who[i] for i, j in enumerate(nearest)]))


@given(st.integers(0, 10_000))
def test_statistics_of_order_are_those_of_a_loop(seed):
    rng = np.random.default_rng(seed)
    lengths, n_kinds = rng.integers(1, 9, 3), 3
    ids, ages = np.zeros((3, 8), np.int64), np.zeros((3, 8), np.float32)
    for row, n in enumerate(lengths):
        ids[row, :n] = rng.integers(1, 8, n)  # 1 and 2 are reserved, 6 and 7 are kinds too rare to be asked
        ages[row, :n] = np.sort(rng.choice([0.25, 0.5, 1.5, 6.0, 20.0, 40.0, 120.0], n))[::-1]
    is_step = np.arange(8) < lengths[:, None]
    forever = float("inf")
    found = statistics(torch.tensor(ids), torch.tensor(ages), torch.tensor(is_step), n_kinds)
    for row, n in enumerate(lengths):
        own = list(zip(ids[row, :n] - 3, ages[row, :n], strict=True))
        before = [(a, b, s - t, t) for i, (a, s) in enumerate(own) for b, t in own[i + 1 :]]
        pairs = [
            [
                any(x == a and y == b and gap <= days and t <= (ago or forever) for x, y, gap, t in before)
                for a in range(3)
                for b in range(3)
            ]
            for days, ago in PAIR_DAYS
        ]
        recent = [[any(x == a and t <= days for x, t in own) for a in range(3)] for days in RECENT_DAYS]
        counts = [np.log1p(sum(x == a for x, _ in own)) for a in range(3)]
        np.testing.assert_allclose(found[row], np.concatenate([*pairs, *recent, counts]), rtol=1e-6)


def arranged(n, seed):
    """Rows with one 3 and one 4: in half of them 4 follows within a day; 5 and 6 stand anywhere."""
    rng = np.random.default_rng(seed)
    age = np.sort(rng.uniform(0, 100, (n, 8)), 1)[:, ::-1].copy()
    ids = rng.integers(5, 7, (n, 8))
    at = rng.integers(0, 7, n)
    rows = np.arange(n)
    ids[rows, at], ids[rows, at + 1] = 3, 4
    age[rows[::2], at[::2]] = age[rows[::2], at[::2] + 1] + 0.5
    order = np.argsort(-age, 1, kind="stable")
    ids, age = np.take_along_axis(ids, order, 1), np.take_along_axis(age, order, 1)
    return batch_of(torch.tensor(ids), torch.tensor(age, dtype=torch.float32))


def batch_of(ids, age):
    nothing, n = torch.zeros(ids.shape), torch.full((len(ids),), ids.shape[1])
    return Batch({"item": ids}, {}, age, nothing, nothing.long(), nothing.long(), {}, n,
                 torch.ones(ids.shape, dtype=torch.bool), {}, {}, None, None, False)  # fmt: skip


def test_asked_is_the_pair_that_stands_close_and_the_other_way_round():
    head = OrderHead({"item": 7}, 4)
    assert not head.weight.any()
    head.measure([arranged(400, seed) for seed in range(4)])
    within_a_day = head.weight[:16].view(4, 4)
    assert within_a_day[0, 1] == within_a_day[1, 0] == within_a_day.max() > 0
    assert set(within_a_day.nonzero()[:, 0].tolist()) == {0, 1}
    again = OrderHead({"item": 7}, 4)
    again.measure([arranged(400, seed) for seed in range(4)])
    torch.testing.assert_close(again.weight, head.weight, rtol=0, atol=0)


def test_telling_the_mean_costs_the_variance_and_telling_what_is_there_nothing():
    torch.manual_seed(0)
    head, batch = OrderHead({"item": 7}, 4), arranged(500, 0)
    head.measure([batch])
    target = (statistics(batch.ids["item"], batch.age_days, batch.is_step, 4) - head.mean) / head.deviation
    variance = (target.var(0, correction=0) * head.weight).sum() / head.weight.sum()
    assert head.loss(torch.zeros_like(target), batch).item() / 500 == pytest.approx(variance.item(), rel=1e-4)
    assert head.loss(target, batch).item() == pytest.approx(0.0, abs=1e-6)


def test_the_loss_over_fields_is_that_of_a_loop():
    torch.manual_seed(0)
    inputs = Inputs({"item": 9}, {"amount": [0.0, 1.0]}, {}, {})
    embed, heads = EventEmbedding(inputs.sizes, inputs.knots, 4, 0.0), FieldHeads(inputs, 4, with_gap=True)
    states, is_target = torch.randn(2, 3, 4), torch.tensor([[True, False, True], [True, True, False]])
    ids = torch.tensor([[3, 0, 1], [8, 4, 0]])  # 1 is unknown, and no answer
    numbers = torch.randn(2, 3, 2)
    numbers[..., 1] = torch.tensor([[0.0, 0, 1], [0, 0, 0]])  # one is missing
    gap = torch.tensor([[0.0, 1, 3.5], [100, 0.3, 2]])
    asked = Upcoming({"item": ids}, {"amount": numbers}, gap, is_target, torch.zeros(2, dtype=torch.bool))
    found = heads(states, asked, embed)
    expected = 0.0
    for b, t in is_target.nonzero().tolist():
        state = states[b, t]
        if ids[b, t] >= 3:
            logits = embed.categories["field_item"].weight[3:] @ heads.project["field_item"](state)
            expected += F.cross_entropy(logits, ids[b, t] - 3)
        expected += (heads.numbers(state)[0] - numbers[b, t, 0]).abs() * (1 - numbers[b, t, 1])
        interval = sum(float(gap[b, t]) > edge for edge in heads.edges.tolist())
        expected += F.cross_entropy(heads.gap(state), torch.tensor(interval))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{"objective": "nxt"}, {"mask_share": 1.0}, {"slices": 1}, {"temperature": 0.0}, {"longest_share": 0.0}]
)
def test_an_option_that_cannot_be_is_refused_by_name(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Pretrain(**options)


def encoded(n=60, size=43, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, n)
    total = int(lengths.sum())
    empty = np.zeros(total, np.float32)
    return EncodedSequences(
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        ids={"item": rng.integers(0, size, total).astype(np.int32), "few": rng.integers(3, 6, total).astype(np.int32)},
        numbers={}, age_days=empty, gap_days=empty, hour=empty.astype(np.int8), weekday=empty.astype(np.int8),
        profile_ids={}, profile_numbers={}, n_events=lengths, example=np.arange(n), target=rng.integers(0, 2, n),
    )  # fmt: skip


def test_factors_span_what_a_dense_decomposition_spans():
    rows, sizes = encoded(), {"item": 43, "few": 6}
    found = find_factors(rows, sizes, 5)
    assert list(found) == factored_fields(sizes, 5) == ["item"]
    counts = np.zeros((len(rows), 43))
    for row, (a, b) in enumerate(zip(rows.offsets, rows.offsets[1:], strict=False)):
        for one in rows.ids["item"][a:b]:
            counts[row, one] += one >= 3
    rarity = np.log(len(rows) / np.maximum((counts > 0).sum(0), 1)) * ((counts > 0).sum(0) > 0)
    scaled = np.log1p(counts) * rarity
    scaled /= np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-9)
    best = (np.linalg.svd(scaled, compute_uv=False)[:5] ** 2).sum()
    across = found["item"] / np.where(rarity > 0, rarity, 1)[:, None]
    np.testing.assert_allclose(across.T @ across, np.eye(5), atol=1e-4)
    assert 0.98 * best < (np.linalg.norm(scaled @ across) ** 2) <= best * (1 + 1e-6)  # the SVD is randomised


def test_the_linear_path_reads_factors_in_a_batch_as_it_was_fitted_on_them():
    rows, sizes = encoded(), {"item": 43, "few": 6}
    wide = WideBag(sizes, {}, 2, n_factors=5)
    wide.factors["field_item"].data.copy_(torch.from_numpy(find_factors(rows, sizes, 5)["item"]))
    rng = np.random.default_rng(0)
    seen = {}

    def linear(x, target, x_validation, target_validation):
        seen.setdefault("x", x.toarray())
        seen.setdefault("answer", (rng.normal(size=(2, x.shape[1])), rng.normal(size=2)))
        return seen["answer"]

    wide.fit(rows, rows, linear)
    coefficients, bias = seen["answer"]
    coefficients = coefficients.copy()
    coefficients[:, [0, 43]] = 0  # padding weighs nothing
    batch = SequenceTensors(rows, with_bags=True).gather(np.arange(len(rows)))
    expected = seen["x"] @ coefficients.T + bias
    np.testing.assert_allclose(wide(batch).numpy(), expected, atol=1e-4)
    assert seen["x"].shape[1] == 43 + 6 + 5
