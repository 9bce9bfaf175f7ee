"""Cross-entropy over the whole catalogue, chunk by chunk, with the gradients made on the way forward.

Expects: the catalogue's logits are `states @ weight.T + bias`, weight being the item embedding.
Choose it: up to about ten thousand items; nothing is sampled, so nothing is estimated. Neighbours: `sampled_softmax`
beyond that; `gbce` where calibrated probabilities from sampled negatives are wanted.
Worked number: one state (1, 0), items (ln 3, 0) and (0, 0), the first is the target: loss = -ln(3/4) = 0.2877.

A chunk's softmax is in the cache when it is made; there and then it becomes both gradients, so that backward has only
to multiply by what comes in. That halves the work on logits and stores none of them.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from habitus.fields.category import N_RESERVED
from habitus.tasks.catalogue.chunks import chunks, rows_in_cache

# Below this share of probability its logarithm, or the share itself, is not to be trusted in fp32.
_TOO_SMALL = 1e-30


def full_softmax(
    states: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    *,
    first: int = N_RESERVED,
    chunk_rows: int | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Tensor:
    """Return the sum over rows of -log softmax(states @ weight.T + bias)[target] over the ids from `first`.

    Args:
        states: (N, D).
        weight: (V, D), the item embedding; rows below `first` are no candidates and get no gradient.
        bias: (V,) or None.
        target: int64 (N,), ids from `first`.
        first: the first id that can be an answer.
        chunk_rows: rows of logits at a time; None: as many as stay in the cache.
        precision: "bf16" rounds what goes into and comes out of the three products; the softmax stays as it is.

    There are no second derivatives.

    >>> states, weight = torch.tensor([[1.0, 0.0]]), torch.zeros(5, 2)
    >>> weight[3, 0] = 3.0
    >>> weight[3, 0] = weight[3, 0].log()
    >>> round(full_softmax(states, weight, None, torch.tensor([3])).item(), 4)
    0.2877
    """
    assert not len(target) or int(target.min()) >= first, f"target {int(target.min())} is a reserved id"
    rows = chunk_rows or rows_in_cache(len(weight) - first, weight.element_size())
    # Under autocast the products with a given output would mix types; our own `precision` decides here.
    with torch.autocast(states.device.type, enabled=False):
        states = states.to(weight.dtype)
        if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (states, weight, bias)):
            return _FullSoftmax.apply(states, weight, bias, target, first, rows, precision)
        return _value(states, weight, bias, target, first, rows)


def _value(states: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, first: int, rows: int) -> Tensor:
    """Return the loss alone."""
    items, item_bias = weight[first:], None if bias is None else bias[first:]
    losses = states.new_empty(len(states))
    for at in chunks(len(states), rows):
        logits = F.linear(states[at], items, item_bias)
        losses[at] = F.cross_entropy(logits, target[at] - first, reduction="none")
    return losses.sum()


class _FullSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        first: int,
        rows: int,
        precision: str,
    ) -> Tensor:
        products = (_Bf16Products if precision == "bf16" else _Products)(states, weight, bias, first, rows)
        target = (target - first)[:, None]  # as columns of the logits
        losses = states.new_empty(len(states), 1)
        for at in chunks(len(states), rows):
            losses[at] = _chunk(products, at, target[at])
        ctx.save_for_backward(products.grad_states, products.grad_weight(), products.grad_bias)
        return losses.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        made = zip(ctx.saved_tensors, ctx.needs_input_grad[:3], strict=True)
        return *(x * grad if x is not None and needed else None for x, needed in made), None, None, None, None


def _chunk(products: _Products, at: slice, column: Tensor) -> Tensor:
    """Add a chunk's gradients and return its losses (R, 1)."""
    block = products.logits(at)  # (R, C)
    torch.softmax(block, 1, out=block)  # one fused pass, in place
    share = block.gather(1, column)
    losses = -share.log()
    lost = share[:, 0] < _TOO_SMALL
    if lost.any():  # rare, so made again from the logits
        losses[lost] = F.cross_entropy(products.logits_again(at, lost), column[lost, 0], reduction="none")[:, None]
    products.add_gradients(at, block.scatter_(1, column, share - 1))
    return losses


class _Products:
    """The three products of a chunk (logits, both gradients), into buffers made once."""

    def __init__(self, states: Tensor, weight: Tensor, bias: Tensor | None, first: int, rows: int) -> None:
        self.states, self.items = states, weight[first:]
        self.items_across = self.items.t().contiguous()  # (D, C): products with it gain a third at 10,000 items
        self.item_bias = None if bias is None else bias[first:]
        self.buffer = states.new_empty(min(rows, len(states)), len(self.items))
        self.grad_states = torch.empty_like(states, memory_format=torch.contiguous_format)
        # (D, V), a third faster to add to than (V, D): the products of a chunk then run along its rows
        self.grad_across = weight.new_zeros(weight.shape[1], len(weight))
        self.grad_bias = None if bias is None else torch.zeros_like(bias)
        self.grad_items_across = self.grad_across[:, first:]  # views: what is added here lands there
        self.grad_item_bias = None if self.grad_bias is None else self.grad_bias[first:]

    def grad_weight(self) -> Tensor:
        """Return the gradient of the item embedding, (V, D)."""
        return self.grad_across.t().contiguous()

    def logits(self, at: slice) -> Tensor:
        """Return the logits (R, C) of a chunk, valid until the next call."""
        block = self.buffer[: at.stop - at.start]
        if self.item_bias is None:
            return torch.mm(self.states[at], self.items_across, out=block)
        return torch.addmm(self.item_bias, self.states[at], self.items_across, out=block)

    def logits_again(self, at: slice, rows: Tensor) -> Tensor:
        """Return the logits of some rows of a chunk, in memory of their own."""
        return F.linear(self.states[at][rows], self.items, self.item_bias)

    def add_gradients(self, at: slice, block: Tensor) -> None:
        """Add what `block`, the gradient of the chunk's logits, means for states, items and bias."""
        torch.mm(block, self.items, out=self.grad_states[at])
        self.grad_items_across.addmm_(self.states[at].t(), block)
        if self.grad_item_bias is not None:
            self.grad_item_bias += block.sum(0)


class _Bf16Products(_Products):
    """The same with bf16 inputs; sums over chunks stay in the type of the weights."""

    def __init__(self, states: Tensor, weight: Tensor, bias: Tensor | None, first: int, rows: int) -> None:
        super().__init__(states, weight, bias, first, rows)
        self.states16, self.items16 = states.bfloat16(), self.items.bfloat16()

    def logits(self, at: slice) -> Tensor:
        block = self.buffer[: at.stop - at.start].copy_(torch.mm(self.states16[at], self.items16.t()))
        return block if self.item_bias is None else block.add_(self.item_bias)

    def add_gradients(self, at: slice, block: Tensor) -> None:
        block16 = block.bfloat16()
        self.grad_states[at] = torch.mm(block16, self.items16)
        self.grad_items_across += torch.mm(self.states16[at].t(), block16)  # addmm_ would add up in bf16
        if self.grad_item_bias is not None:
            self.grad_item_bias += block.sum(0)
