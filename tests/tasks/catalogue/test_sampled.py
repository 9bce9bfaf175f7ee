"""Sampled losses: those of a loop over rows; collisions left out; the correction on negatives only."""

import math

import pytest
import torch
import torch.nn.functional as F

from habitus.tasks.catalogue import (
    binary_cross_entropy,
    full_softmax,
    gbce,
    gbce_beta,
    sampled,
    sampled_softmax,
)

NEGATIVES = torch.tensor([4, 7, 7, 5, 3, 9])  # an id twice


def batch(n=9, d=4, v=11, bias=True, dtype=torch.float32, seed=0):
    rng = torch.Generator().manual_seed(seed)
    states, weight = torch.randn(n, d, generator=rng, dtype=dtype), torch.randn(v, d, generator=rng, dtype=dtype)
    offsets = torch.randn(v, generator=rng, dtype=dtype) if bias else None
    leaves = [x if x is None else x.requires_grad_() for x in (states, weight, offsets)]
    return (*leaves, torch.randint(3, v, (n,), generator=rng))


def logits_of_rows(states, weight, bias, target, negatives, log_expected=None):
    """Yield (target's logit, logits of the negatives that are not the target)."""
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    for i in range(len(states)):
        ids = negatives if negatives.ndim == 1 else negatives[i]
        z = weight @ states[i] + bias
        others = z[ids] if log_expected is None else z[ids] - log_expected
        yield z[target[i]], others[ids != target[i]]


def loop_softmax(*arguments):
    return sum(torch.logsumexp(torch.cat([hit[None], miss]), 0) - hit for hit, miss in logits_of_rows(*arguments))


def loop_binary(*arguments, beta=1.0):
    width = 1 + arguments[4].shape[-1]
    return sum(
        (-beta * F.logsigmoid(hit) - F.logsigmoid(-miss).sum()) / width for hit, miss in logits_of_rows(*arguments)
    )


def assert_same(loss, expected, leaves):
    leaves = [x for x in leaves if x is not None]
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, leaves), torch.autograd.grad(expected, leaves))


@pytest.fixture(params=[None, 2], ids=["one chunk", "chunks of two"])
def chunked(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(sampled, "rows_in_cache", lambda *_: request.param)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("corrected", [True, False])
def test_sampled_softmax_is_that_of_a_loop(bias, corrected, chunked):
    *leaves, target = batch(bias=bias)
    log_expected = torch.linspace(-2, 1, len(NEGATIVES)) if corrected else None
    assert set(target.tolist()) & set(NEGATIVES.tolist())  # some collide
    loss = sampled_softmax(*leaves, target, negatives=NEGATIVES, log_expected=log_expected)
    assert_same(loss, loop_softmax(*leaves, target, NEGATIVES, log_expected), leaves)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_binary_losses_are_those_of_a_loop(bias, own, beta, chunked):
    *leaves, target = batch(bias=bias)
    negatives = torch.randint(3, 11, (9, 2), generator=torch.Generator().manual_seed(1)) if own else NEGATIVES
    loss = gbce(*leaves, target, negatives, beta=beta)
    assert_same(loss, loop_binary(*leaves, target, negatives, beta=beta), leaves)


@pytest.mark.parametrize("loss_of", [sampled_softmax, lambda *x, negatives: gbce(*x, negatives, beta=0.4)])
def test_gradients_are_those_of_finite_differences(loss_of):
    states, weight, bias, target = batch(n=3, v=10, dtype=torch.float64)
    check = lambda *x: loss_of(*x, target, negatives=NEGATIVES)  # noqa: E731
    assert torch.autograd.gradcheck(check, (states, weight, bias))


def test_gbce_with_beta_one_is_binary_cross_entropy():
    *leaves, target = batch()
    for negatives in (NEGATIVES, NEGATIVES[:, None].repeat(2, 1)[:9]):
        loss = gbce(*leaves, target, negatives, beta=1.0)
        assert loss == binary_cross_entropy(*leaves, target, negatives)


def test_with_one_negative_binary_cross_entropy_is_half_of_sasrecs_sum():
    states, weight, _, target = batch(bias=False)
    own = torch.where(target == 3, 4, 3)[:, None]
    hit, miss = (states * weight[target]).sum(1), (states * weight[own[:, 0]]).sum(1)
    expected = F.binary_cross_entropy_with_logits(hit, torch.ones(9), reduction="sum")
    expected = expected + F.binary_cross_entropy_with_logits(miss, torch.zeros(9), reduction="sum")
    torch.testing.assert_close(2 * binary_cross_entropy(states, weight, None, target, own), expected)


def test_beta_by_the_formula_of_the_paper():
    for t in (0.0, 0.5, 0.75, 1.0):
        for rate in (0.01, 0.5, 1.0):
            assert gbce_beta(t, rate) == pytest.approx(rate * (t * (1 - 1 / rate) + 1 / rate))


def test_the_correction_touches_negatives_only_worked_by_hand():
    # Logits: target 0, negative ln 2 expected half a time: worth 2 / 0.5 = 4. Loss = -ln(1 / (1 + 4)).
    states, weight = torch.ones(1, 1), torch.zeros(5, 1)
    weight[4] = math.log(2)
    arguments = {"negatives": torch.tensor([4]), "log_expected": torch.tensor([0.5]).log()}
    loss = sampled_softmax(states, weight, None, torch.tensor([3]), **arguments)
    assert loss.item() == pytest.approx(math.log(5), rel=1e-6)


def test_corrected_draws_of_every_item_are_the_full_softmax():
    # Each of eight candidates twice, each expected twice: the estimate is the sum itself.
    *leaves, target = batch()
    negatives = torch.arange(3, 11).repeat(2)
    log_expected = torch.full((16,), math.log(2))
    loss = sampled_softmax(*leaves, target, negatives=negatives, log_expected=log_expected)
    assert_same(loss, full_softmax(*leaves, target), leaves)


def test_collisions_are_found_with_repeats():
    target, negatives = torch.tensor([7, 3, 8, 4, 7]), torch.tensor([7, 4, 7, 3])
    row, column = sampled._collisions(target, negatives)
    found = sorted([r, c] for r, c in zip(row.tolist(), column.tolist(), strict=True))
    assert found == torch.nonzero(target[:, None] == negatives).tolist()
    assert row.tolist() == sorted(row.tolist())


def test_when_every_negative_is_the_target_only_the_target_is_left():
    states, weight, bias, target = batch()
    target, negatives = torch.full_like(target, 5), torch.tensor([5, 5])
    loss = sampled_softmax(states, weight, bias, target, negatives=negatives)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert all(x.abs().max() < 1e-6 for x in torch.autograd.grad(loss, (states, weight, bias)))


@pytest.mark.parametrize("loss_of", [sampled_softmax, lambda *x, negatives: gbce(*x, negatives, beta=0.4)])
def test_huge_logits_stay_finite(loss_of):
    *leaves, target = batch(bias=False)
    with torch.no_grad():
        leaves[1].mul_(1e5)
    loss = loss_of(*leaves, target, negatives=NEGATIVES)
    assert loss.isfinite() and loss > 100
    assert all(x.isfinite().all() for x in torch.autograd.grad(loss, leaves[:2]))


@pytest.mark.parametrize("loss_of", [sampled_softmax, lambda *x, negatives: gbce(*x, negatives, beta=0.4)])
def test_an_incoming_factor_scales_and_only_met_rows_get_gradients(loss_of):
    *leaves, target = batch()
    loss = loss_of(*leaves, target, negatives=NEGATIVES)
    once = torch.autograd.grad(loss, leaves, retain_graph=True)
    tenth = torch.autograd.grad(loss / 10, leaves)
    torch.testing.assert_close(tenth, tuple(x / 10 for x in once))
    met = set(target.tolist()) | set(NEGATIVES.tolist())
    assert set(once[1].abs().sum(1).nonzero()[:, 0].tolist()) == met
    assert set(once[2].nonzero()[:, 0].tolist()) == met


def test_evaluation_keeps_no_gradients_and_gives_the_same_value(chunked):
    *leaves, target = batch()
    expected = sampled_softmax(*leaves, target, negatives=NEGATIVES)
    with torch.no_grad():
        loss = sampled_softmax(*leaves, target, negatives=NEGATIVES)
    assert loss == expected and not loss.requires_grad


def test_autocast_rounds_no_product():
    *leaves, target = batch()
    states16 = leaves[0].bfloat16()  # what a network under autocast hands over
    expected = sampled_softmax(states16.float(), *leaves[1:], target, negatives=NEGATIVES)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(sampled_softmax(states16, *leaves[1:], target, negatives=NEGATIVES), expected)


def test_no_rows_make_no_loss():
    *leaves, target = batch(n=0)
    loss = sampled_softmax(*leaves, target, negatives=NEGATIVES)
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, leaves)[1].any()
