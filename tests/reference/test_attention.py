"""Softmax and attention against torch, with every mask, and rows that may see nothing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose
from torch import nn

from habitus import reference as ref

B, Q, T, H, D = 2, 3, 5, 2, 4
LENGTHS = np.array([5, 2])
MASKS = {"none": None, "causal": ref.causal_mask(T), "padding": ref.padding_mask(LENGTHS, T)}
MASKS["both"] = MASKS["causal"] & MASKS["padding"]


def test_softmax(rng, autograd, by_differences):
    x, grad = rng.normal(0, 3, (B, T)), rng.normal(size=(B, T))
    weights, cache = ref.softmax_forward(x)
    expected, (by_x,) = autograd(lambda s: s.softmax(-1), grad, x)
    assert_allclose(weights, expected, atol=1e-6)
    assert_allclose(ref.softmax_backward(grad, cache), by_x, atol=1e-5)
    differences = by_differences(lambda: (ref.softmax_forward(x)[0] * grad).sum(), x)
    assert_allclose(ref.softmax_backward(grad, cache), differences, atol=1e-5)


def test_softmax_of_huge_scores_is_finite_and_blind_to_a_shift(rng):
    scores = rng.normal(size=T)
    assert_allclose(ref.softmax_forward(scores + 1e4)[0], ref.softmax_forward(scores)[0], atol=1e-9)
    assert_allclose(ref.softmax_forward(np.array([1e300, 0.0, -1e300]))[0], [1, 0, 0])


def test_a_row_that_may_see_nothing_is_zero_with_no_gradient(rng):
    mask = np.array([[True] * T, [False] * T])
    query, key, value = rng.normal(size=(2, D)), rng.normal(size=(T, D)), rng.normal(size=(T, D))
    output, cache = ref.attention_forward(query, key, value, mask)
    expected = F.scaled_dot_product_attention(*map(torch.tensor, (query, key, value)), attn_mask=torch.tensor(mask))
    assert_allclose(output, expected, atol=1e-6)
    assert (output[1] == 0).all()
    gradients = ref.attention_backward(np.ones((2, D)), cache)
    assert all(np.isfinite(each).all() for each in gradients)
    assert (gradients[0][1] == 0).all()
    assert_allclose(gradients[2].sum(), D)  # what is handed to the values comes from the first row alone


@pytest.mark.parametrize("name", MASKS)
def test_attention(rng, autograd, by_differences, name):
    mask = MASKS[name]
    query, key, value, grad = (rng.normal(size=(B, H, T, D)) for _ in range(4))
    seen = None if mask is None else torch.tensor(mask)
    output, cache = ref.attention_forward(query, key, value, mask)
    expected, theirs = autograd(
        lambda *qkv: F.scaled_dot_product_attention(*qkv, attn_mask=seen), grad, query, key, value
    )
    assert_allclose(output, expected, atol=1e-6)
    own = ref.attention_backward(grad, cache)
    for array, gradient, by_torch in zip((query, key, value), own, theirs, strict=True):
        assert_allclose(gradient, by_torch, atol=1e-5)
        differences = by_differences(lambda: (ref.attention_forward(query, key, value, mask)[0] * grad).sum(), array)
        assert_allclose(gradient, differences, atol=1e-5)


def test_the_causal_mask_hides_what_comes_later(rng):
    x = rng.normal(size=(1, T, D))
    params = ref.multi_head_init(rng, D)
    before = ref.multi_head_forward(x, x, params, H, ref.causal_mask(T))[0]
    x[0, 3:] += 1.0
    after = ref.multi_head_forward(x, x, params, H, ref.causal_mask(T))[0]
    assert_allclose(after[0, :3], before[0, :3])
    assert np.abs(after[0, 3:] - before[0, 3:]).max() > 0.01


def test_padding_changes_nothing(rng):
    x, params = rng.normal(size=(B, T, D)), ref.multi_head_init(rng, D)
    padded = ref.multi_head_forward(x, x, params, H, MASKS["padding"])[0][1, :2]
    alone = ref.multi_head_forward(x[1:, :2], x[1:, :2], params, H)[0][0]
    assert_allclose(padded, alone)


@pytest.mark.parametrize("padded", [False, True])
def test_multi_head_attention(rng, autograd, by_differences, padded):
    x, memory, grad = rng.normal(size=(B, Q, D)), rng.normal(size=(B, T, D)), rng.normal(size=(B, Q, D))
    params = {name: rng.normal(size=value.shape) * 0.5 for name, value in ref.multi_head_init(rng, D).items()}
    theirs = nn.MultiheadAttention(D, H, batch_first=True).double()
    rows = ("query", "key", "value")
    weights = [np.concatenate([params[f"{row}.{kind}"] for row in rows]) for kind in ("weight", "bias")]
    values = dict(zip(("in_proj_weight", "in_proj_bias"), map(torch.tensor, weights), strict=True))
    values |= {"out_proj.weight": torch.tensor(params["out.weight"]), "out_proj.bias": torch.tensor(params["out.bias"])}
    theirs.load_state_dict(values)
    ignored = torch.tensor(~MASKS["padding"][:, 0, 0]) if padded else None

    mask = MASKS["padding"] if padded else None
    y, cache = ref.multi_head_forward(x, memory, params, H, mask)
    grad_x, grad_memory, grads = ref.multi_head_backward(grad, cache)
    expected, (by_x, by_memory) = autograd(lambda a, m: theirs(a, m, m, ignored)[0], grad, x, memory)
    assert_allclose(y, expected, atol=1e-6)
    assert_allclose(grad_x, by_x, atol=1e-5)
    assert_allclose(grad_memory, by_memory, atol=1e-5)
    together = np.concatenate([grads[f"{row}.weight"] for row in rows])
    assert_allclose(together, theirs.in_proj_weight.grad, atol=1e-5)
    for name, value in params.items():
        loss = by_differences(lambda: (ref.multi_head_forward(x, memory, params, H, mask)[0] * grad).sum(), value)
        assert_allclose(grads[name], loss, atol=1e-5, err_msg=name)


def test_positions():
    from habitus.backbones.attention import sinusoidal_positions

    assert_allclose(ref.sinusoidal_positions(40, 6), sinusoidal_positions(40, 6), atol=1e-5)
    assert ref.sinusoidal_positions(3, 5).shape == (3, 5)
    one_step = [ref.sinusoidal_positions(9, 8)[t] @ ref.sinusoidal_positions(9, 8)[t + 1] for t in range(8)]
    assert_allclose(one_step, one_step[0])  # how alike two positions are depends on their distance alone
