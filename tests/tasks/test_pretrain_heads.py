"""Losses of pretraining against loops, and factors against a dense decomposition."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from habitus.backbones.embed import EventEmbedding
from habitus.data.batch import SequenceTensors, Upcoming
from habitus.data.encode import EncodedSequences
from habitus.errors import ConfigError
from habitus.tasks import Inputs
from habitus.tasks.factors import factored_fields, find_factors
from habitus.tasks.pretrain import Pretrain
from habitus.tasks.pretrain.contrastive import contrastive_loss, share_recognised
from habitus.tasks.pretrain.fields import FieldHeads
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
