"""Pooling equals a loop over the true steps of each row; padding never counts."""

import pytest
import torch

from habitus.backbones import Pool

B, T, D = 4, 5, 3
KINDS = ["mean", "count", "max", "parts", "attention", "last", "cls"]
LENGTHS = torch.tensor([5, 1, 3, 4])
IS_STEP = torch.arange(T) < LENGTHS[:, None]


def states(padding=0.0):
    values = torch.randn(B, T, D, generator=torch.Generator().manual_seed(0))
    return torch.where(IS_STEP[..., None], values, padding)


def by_hand(kind, row, module):
    """Pool the true steps (length, D) of one row."""
    if kind == "attention":
        weights = torch.softmax(row @ module.query.weight[0], 0)
        return sum(weight * step for weight, step in zip(weights, row, strict=True))
    if kind == "count":  # how often each dimension fired, normed over the dimensions (whose weights start at 1 and 0)
        fired = torch.log(1 + sum(step.clamp_min(0) for step in row))
        return (fired - fired.mean()) / (fired.var(correction=0) + 1e-5).sqrt()
    if kind == "parts":
        quarters = [[at for at in range(len(row)) if touches(at, k, len(row))] for k in range(4)]
        largest = torch.cat([row[quarter].max(0).values for quarter in quarters])
        return module.mix.weight @ largest + module.mix.bias
    return {"mean": row.mean(0), "max": row.max(0).values, "last": row[-1], "cls": row[0]}[kind]


def touches(at, quarter, length):
    """Say whether the step from `at` to `at + 1` overlaps a quarter of a row."""
    return max(at, quarter * length / 4) < min(at + 1, (quarter + 1) * length / 4)


def pool(kind, padding=0.0):
    torch.manual_seed(0)
    module = Pool(kind, D)
    if kind == "attention":
        torch.nn.init.normal_(module.query.weight, generator=torch.Generator().manual_seed(1))
    return module(states(padding), IS_STEP, LENGTHS), module


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_pooling_equals_a_loop(kind):
    pooled, module = pool(kind)
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(pooled[row], by_hand(kind, states()[row, :length], module))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padding", [1e6, -1e6, float("inf"), float("nan")])
@torch.no_grad()
def test_what_padding_holds_changes_nothing(kind, padding):
    assert torch.equal(pool(kind, padding)[0], pool(kind)[0])


@torch.no_grad()
def test_a_mean_over_the_padding_would_be_noticed():
    assert (states().mean(1) - pool("mean")[0]).abs().max() > 0.1


@torch.no_grad()
def test_attention_starts_as_the_mean():
    torch.testing.assert_close(Pool("attention", D)(states(), IS_STEP, LENGTHS), pool("mean")[0])


def test_gradients_of_padding_are_zero():
    for kind in ("mean", "count", "max", "parts", "attention"):
        values = states().requires_grad_()
        module = Pool(kind, D)
        module(values, IS_STEP, LENGTHS).square().sum().backward()
        assert not values.grad[~IS_STEP].any() and values.grad.any()
