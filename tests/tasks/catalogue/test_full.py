"""Full softmax: the values and gradients of torch's cross-entropy, in chunks; reserved ids are no candidates."""

import pytest
import torch
import torch.nn.functional as F

from habitus.tasks.catalogue import full, full_softmax

FIRST = 3


def batch(n=9, d=4, v=13, bias=True, dtype=torch.float32, seed=0):
    rng = torch.Generator().manual_seed(seed)
    states, weight = torch.randn(n, d, generator=rng, dtype=dtype), torch.randn(v, d, generator=rng, dtype=dtype)
    offsets = torch.randn(v, generator=rng, dtype=dtype) if bias else None
    leaves = [x if x is None else x.requires_grad_() for x in (states, weight, offsets)]
    return (*leaves, torch.randint(FIRST, v, (n,), generator=rng))


def whole(states, weight, bias, target):
    logits = F.linear(states, weight[FIRST:], None if bias is None else bias[FIRST:])
    return F.cross_entropy(logits, target - FIRST, reduction="sum")


def gradients(loss, *leaves):
    return torch.autograd.grad(loss, [x for x in leaves if x is not None])


@pytest.mark.parametrize("chunk_rows", [None, 1, 4, 9, 100])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_torch_on_whole_logits(bias, chunk_rows):
    *leaves, target = batch(bias=bias)
    loss, expected = full_softmax(*leaves, target, chunk_rows=chunk_rows), whole(*leaves, target)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradients(loss, *leaves), gradients(expected, *leaves))


def test_gradients_are_those_of_finite_differences():
    states, weight, bias, target = batch(n=3, v=7, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *x: full_softmax(*x, target, chunk_rows=2), (states, weight, bias))


def test_bf16_products_stay_near_and_keep_the_type():
    *leaves, target = batch(n=64, d=16, v=53)
    loss, expected = full_softmax(*leaves, target, chunk_rows=16, precision="bf16"), whole(*leaves, target)
    torch.testing.assert_close(loss, expected, rtol=1e-2, atol=0)
    for made, exact in zip(gradients(loss, *leaves), gradients(expected, *leaves), strict=True):
        assert made.dtype == torch.float32
        assert (made - exact).norm() < 2e-2 * exact.norm()


def test_an_incoming_factor_scales_the_gradients_and_backward_can_run_twice():
    *leaves, target = batch()
    loss = full_softmax(*leaves, target)
    once = torch.autograd.grad(loss, leaves, retain_graph=True)
    tenth = gradients(loss / 10, *leaves)
    torch.testing.assert_close(tenth, tuple(x / 10 for x in once))


def test_reserved_ids_get_no_probability_and_no_gradient():
    states, weight, bias, target = batch()
    with torch.no_grad():
        weight[:FIRST] += 1e6
        bias[:FIRST] += 1e6
    loss = full_softmax(states, weight, bias, target)
    assert loss < 1e3
    _, of_weight, of_bias = gradients(loss, states, weight, bias)
    assert not of_weight[:FIRST].any() and not of_bias[:FIRST].any()


def test_a_reserved_target_is_refused():
    *leaves, target = batch()
    with pytest.raises(AssertionError, match="reserved"):
        full_softmax(*leaves, target * 0)


@pytest.mark.parametrize("scale", [1e3, 1e6])
def test_huge_logits_and_hopeless_targets_stay_finite(scale):
    states, weight, _, target = batch(bias=False)
    with torch.no_grad():
        weight.mul_(scale)
    loss, expected = full_softmax(states, weight, None, target, chunk_rows=4), whole(states, weight, None, target)
    torch.testing.assert_close(loss, expected)
    assert loss > 100  # some probabilities are 0 in fp32, and their loss is still right
    torch.testing.assert_close(gradients(loss, states, weight), gradients(expected, states, weight))


def test_autocast_rounds_no_product():
    *leaves, target = batch()
    states16 = leaves[0].bfloat16()  # what a network under autocast hands over
    expected = whole(states16.float(), *leaves[1:], target)
    for gradient in (True, False):
        with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(gradient):
            torch.testing.assert_close(full_softmax(states16, *leaves[1:], target), expected)


def test_evaluation_makes_no_gradients(monkeypatch):
    *leaves, target = batch()
    monkeypatch.setattr(full, "_Products", None)  # would be called
    with torch.no_grad():
        torch.testing.assert_close(full_softmax(*leaves, target, chunk_rows=4), whole(*leaves, target))
    detached = [x.detach() for x in leaves]
    assert not full_softmax(*detached, target).requires_grad


def test_a_frozen_part_is_left_alone():
    states, weight, bias, target = batch()
    full_softmax(states, weight.detach(), bias.detach(), target).backward()
    assert states.grad.abs().sum() > 0 and weight.grad is None and bias.grad is None


def test_no_rows_make_no_loss():
    states, weight, bias, target = batch(n=0)
    loss = full_softmax(states, weight, bias, target)
    assert loss.item() == 0
    assert not any(x.any() for x in gradients(loss, states, weight, bias))


def test_logits_are_never_whole(monkeypatch):
    seen = []
    make = full._Products.logits
    monkeypatch.setattr(full._Products, "logits", lambda self, at: seen.append(make(self, at)) or seen[-1])
    *leaves, target = batch(n=10)
    full_softmax(*leaves, target, chunk_rows=4)
    assert [len(block) for block in seen] == [4, 4, 2]
    assert len({block.data_ptr() for block in seen}) == 1  # the same memory each time
