"""Pooled dropout does what dropout does, and a restored random state drops the same elements."""

import torch

from habitus.backbones.dropout import Dropout


def test_the_share_is_dropped_and_the_mean_is_kept():
    torch.manual_seed(0)
    out = Dropout(0.3)(torch.ones(200, 500))
    assert abs((out == 0).float().mean() - 0.3) < 0.01
    assert abs(out.mean() - 1) < 0.02
    assert torch.allclose(out[out > 0], torch.tensor(1 / 0.7))


def test_two_calls_drop_different_elements_and_a_restored_state_the_same():
    layer, x = Dropout(0.5), torch.ones(1000)
    torch.manual_seed(1)
    first, second = layer(x), layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first) and not torch.equal(first, second)


def test_nothing_is_dropped_outside_training_or_at_zero():
    x = torch.randn(10)
    assert torch.equal(Dropout(0.5).eval()(x), x) and torch.equal(Dropout(0.0)(x), x)


def test_the_gradient_passes_only_where_elements_were_kept():
    x = torch.ones(100, requires_grad=True)
    out = Dropout(0.5)(x)
    out.sum().backward()
    assert torch.equal(x.grad == 0, out == 0)


def test_a_tensor_larger_than_the_pool_is_dropped_as_well():
    out = Dropout(0.5)(torch.ones(3_000_000))
    assert abs((out == 0).float().mean() - 0.5) < 0.01
