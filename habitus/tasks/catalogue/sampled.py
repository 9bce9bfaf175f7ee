"""Losses that compare each target with sampled negatives instead of the whole catalogue.

    sampled_softmax        which of the target and the negatives is it?        large catalogues; nearest to full softmax
    binary_cross_entropy   is this the item, yes or no, for each one           SASRec; for comparison
    gbce                   the same, with overconfidence taken back            calibrated probabilities

Each takes negatives shared by the batch, int64 (M,); the binary ones also negatives of each row's own, (N, K).
A negative that is the row's own target is left out of that row. Like `full_softmax` it works in chunks and makes the
gradients on the way forward, for the rows of the embedding that were met only; backward spreads them.
Worked numbers in the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from habitus.tasks.catalogue.chunks import chunks, rows_in_cache

# Takes logits (R, 1+M), the target's first; turns them into their gradient in place and returns the losses (R,).
Link = Callable[[Tensor], Tensor]


def sampled_softmax(
    states: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    *,
    negatives: Tensor,
    log_expected: Tensor | None = None,
) -> Tensor:
    """Return the sum over rows of the cross-entropy of the target among itself and the negatives.

    `log_expected` is the logQ correction of Bengio & Senecal 2008 (https://doi.org/10.1109/TNN.2007.912312) and Yi et
    al. 2019 (https://doi.org/10.1145/3298689.3346996): subtracted from a negative's logit, it makes the sum over
    negatives an unbiased estimate of the sum over the catalogue. Differs from the papers in leaving the target's logit
    alone, since the target is not drawn but always there (Khrylchenko et al. 2025, https://arxiv.org/abs/2507.09331,
    whose weights of rows are not used).

    Args:
        states: (N, D).
        weight: (V, D), the item embedding.
        bias: (V,) or None.
        target: int64 (N,).
        negatives: int64 (M,), shared by all rows; an id may come twice.
        log_expected: (M,), log of the expected number of draws of each; None: uniform draws, left uncorrected.

    >>> weight = torch.zeros(6, 2)  # all logits 0: one of the target and two negatives, 5 being the target itself
    >>> loss = sampled_softmax(torch.ones(1, 2), weight, None, torch.tensor([5]), negatives=torch.tensor([3, 4, 5]))
    >>> round(loss.item(), 4)  # ln 3
    1.0986
    """
    assert negatives.ndim == 1, negatives.shape
    return _shared(states, weight, bias, target, negatives, log_expected, _softmax_link)


def binary_cross_entropy(
    states: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, negatives: Tensor
) -> Tensor:
    """Return the sum over rows of the mean binary cross-entropy of the target (1) and its negatives (0).

    Kang & McAuley 2018 (SASRec, https://arxiv.org/abs/1808.09781, section 3.6). Differs from the paper in taking the
    mean over the target and its negatives, which with one negative is half the paper's sum; in leaving out only
    the row's own target, not all items of the history; and in allowing more negatives than one.

    Args:
        states: (N, D).
        weight: (V, D), the item embedding.
        bias: (V,) or None.
        target: int64 (N,).
        negatives: int64 (M,) shared by all rows, or (N, K) of each row's own.

    >>> ones = torch.tensor([5])
    >>> loss = binary_cross_entropy(torch.ones(1, 2), torch.zeros(6, 2), None, ones, torch.tensor([[3]]))
    >>> round(loss.item(), 4)  # ln 2
    0.6931
    """
    return gbce(states, weight, bias, target, negatives, beta=1.0)


def gbce_beta(t: float, sampling_rate: float) -> float:
    """Return the exponent beta = a (t (1 - 1/a) + 1/a) of `gbce`, a being the sampling rate.

    Args:
        t: 0 (plain binary cross-entropy) to 1 (calibrated probabilities).
        sampling_rate: negatives of a row over the number of items that could be negatives.

    >>> gbce_beta(0.0, 0.1), gbce_beta(0.5, 0.5), gbce_beta(1.0, 0.25)
    (1.0, 0.75, 0.25)
    """
    return 1.0 - t * (1.0 - sampling_rate)  # the formula, multiplied out


def gbce(
    states: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, negatives: Tensor, *, beta: float
) -> Tensor:
    """Return the sum over rows of the generalised binary cross-entropy, -(log s(z+)^beta + sum log(1-s(z-))) / (1+K).

    Petrov & Macdonald 2023 (gSASRec, https://arxiv.org/abs/2308.07192, the definition of L_gBCE). Differs from the
    paper in that negatives may be shared by the batch, and in leaving out negatives that are the row's target.

    Args:
        states: (N, D).
        weight: (V, D), the item embedding.
        bias: (V,) or None.
        target: int64 (N,).
        negatives: int64 (M,) shared by all rows, or (N, K) of each row's own.
        beta: exponent of the target's probability, see `gbce_beta`; 1 is plain binary cross-entropy.

    >>> one, five = torch.ones(1, 2), torch.tensor([5])
    >>> round(gbce(one, torch.zeros(6, 2), None, five, torch.tensor([3, 4]), beta=0.5).item(), 4)  # 2.5 ln 2 / 3
    0.5776
    """
    if negatives.ndim == 1:
        return _shared(states, weight, bias, target, negatives, None, partial(_binary_link, beta=beta))
    hit, missed = _logits_of(states, weight, bias, target[:, None]), _logits_of(states, weight, bias, negatives)
    missed = missed.masked_fill(negatives == target[:, None], -torch.inf)
    return (beta * F.softplus(-hit).sum() + F.softplus(missed).sum()) / (1 + negatives.shape[1])


def _logits_of(states: Tensor, weight: Tensor, bias: Tensor | None, ids: Tensor) -> Tensor:
    """Return the logits (N, K) of ids (N, K)."""
    logits = (F.embedding(ids, weight) * states[:, None]).sum(-1)
    return logits if bias is None else logits + bias[ids]


def _softmax_link(block: Tensor) -> Tensor:
    hit, highest = block[:, 0].clone(), block.amax(1)
    torch.softmax(block, 1, out=block)
    # The highest logit's probability is at least 1/(1+M), so its logarithm gives back the log of the sum safely.
    losses = highest - block.amax(1).log() - hit
    block[:, 0] -= 1
    return losses


def _binary_link(block: Tensor, beta: float) -> Tensor:
    width = block.shape[1]
    block[:, 0].neg_()
    each = F.softplus(block)
    losses = (each[:, 0] * beta + each[:, 1:].sum(1)) / width
    block.sigmoid_().div_(width)
    block[:, 0] *= -beta
    return losses


def _shared(
    states: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    negatives: Tensor,
    log_expected: Tensor | None,
    link: Link,
) -> Tensor:
    """Return the summed loss with negatives (M,) shared by all rows."""
    wanted = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (states, weight, bias))
    # Under autocast the products with a given output would mix types.
    with torch.autocast(states.device.type, enabled=False):
        arguments = (states.to(weight.dtype), weight, bias, target, negatives, log_expected, link, wanted)
        return _SharedNegatives.apply(*arguments)


class _SharedNegatives(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        negatives: Tensor,
        log_expected: Tensor | None,
        link: Link,
        wanted: bool,
    ) -> Tensor:
        # What is met of the catalogue
        items, hits = weight[negatives], weight[target]  # (M, D), (N, D)
        hit, offset = (states * hits).sum(1), states.new_zeros(len(negatives))
        if bias is not None:
            hit, offset = hit + bias[target], bias[negatives]
        if log_expected is not None:
            offset = offset - log_expected
        # Room for a chunk's logits and for the gradients
        rows = rows_in_cache(1 + len(negatives), weight.element_size())
        buffer = states.new_empty(min(rows, len(states)), 1 + len(negatives))
        losses, grad_hit, grad_states = torch.empty_like(hit), torch.empty_like(hit), torch.empty_like(states)
        grad_items, grad_offset = torch.zeros_like(items), torch.zeros_like(offset)
        same_row, same_column = _collisions(target, negatives)
        for at in chunks(len(states), rows):
            # Logits, the target's first
            block = buffer[: at.stop - at.start]
            missed = block[:, 1:]
            block[:, 0] = hit[at]
            torch.addmm(offset, states[at], items.t(), out=missed)
            inside = (same_row >= at.start) & (same_row < at.stop)
            missed[same_row[inside] - at.start, same_column[inside]] = -torch.inf
            # From here on the block holds gradients
            losses[at] = link(block)
            if wanted:
                torch.mm(missed, items, out=grad_states[at])
                grad_items.addmm_(missed.t(), states[at])
                grad_offset += missed.sum(0)
                grad_hit[at] = block[:, 0]
        if wanted:
            grad_states.addcmul_(grad_hit[:, None], hits)
            ctx.save_for_backward(states, target, negatives, grad_states, grad_items, grad_offset, grad_hit)
            ctx.size, ctx.has_bias = len(weight), bias is not None
        return losses.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        states, target, negatives, grad_states, grad_items, grad_offset, grad_hit = ctx.saved_tensors
        needs_states, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        ids, grad_hit = torch.cat([negatives, target]), grad_hit * grad
        weight_rows = torch.cat([grad_items * grad, grad_hit[:, None] * states]) if needs_weight else None
        bias_rows = torch.cat([grad_offset * grad, grad_hit])[:, None] if ctx.has_bias and needs_bias else None
        return (
            grad_states * grad if needs_states else None,
            None if weight_rows is None else _spread(weight_rows, ids, ctx.size),
            None if bias_rows is None else _spread(bias_rows, ids, ctx.size)[:, 0],
            *[None] * 5,
        )


def _spread(rows: Tensor, ids: Tensor, size: int) -> Tensor:
    """Return (size, D) with each row added at its id; `scatter_add_` took half the time of `index_add_`."""
    return rows.new_zeros(size, rows.shape[1]).scatter_add_(0, ids[:, None].expand_as(rows), rows)


def _collisions(target: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows (ascending) and columns of the negatives that are the row's own target.

    Sorting finds the few there are; comparing every row with every negative would cost as much as a product.
    """
    ordered, order = negatives.sort()
    begin, end = torch.searchsorted(ordered, target), torch.searchsorted(ordered, target, right=True)
    found = end - begin
    row = torch.arange(len(target), device=target.device).repeat_interleave(found)
    nth = torch.arange(len(row), device=row.device) - (found.cumsum(0) - found).repeat_interleave(found)
    return row, order[begin[row] + nth]
