"""Attention within a window: each step sees its neighbours and the leading step, at a cost that grows with T alone.

Sliding-window attention with one global step (Beltagy et al. 2020, "Longformer", arXiv:2004.05150, section 3.1): steps
are cut into chunks, and a chunk attends to itself, to its neighbours and to the leading step by one call of
`scaled_dot_product_attention` under a small mask that all chunks share. Differs from the paper: one window for all
heads and layers, no dilation, no projections of its own for the global step, which reads the others only when not
causal. A window of w steps counts the step itself.

What is not there (before the first chunk, after the last, padding) and how attention fades with the days between two
steps enter through two more dimensions of queries and keys, as in `attention.fading_keys`: no chunk has a mask or bias
of its own. Days are counted from the chunk's first step, which keeps them exact and looks at no later one.
Shapes: N chunks of c steps, S steps around a chunk.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_SHORTEST_CHUNK = 64  # shorter ones cost more in calls than they save in products
_NEVER = -1e9  # a score whose exponential is 0; finite, so that no difference of two is NaN


def windowed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    days_BT: Tensor | None,
    rate_H: Tensor | None,
    *,
    window: int,
    causal: bool,
) -> Tensor:
    """Return what every step but the leading one mixes of the steps that it sees, (B, H, T - 1, d).

    Step i sees step 0 and the steps j with 0 <= i - j < window; if not causal, those with |i - j| < window.

    Args:
        q, k, v: (B, H, T, d); step 0 is the leading step.
        mask: bool, True where a step may be seen (B, 1, 1, T); None where padding needs none.
        days_BT, rate_H: when each step was, in days, and how fast each head fades, per day; or None. Within a row days
            do not decrease.
        window: steps that a step sees on a side, itself included.
        causal: no step sees a later one.
    """
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # as the linear layers before and after have them
    chunk, (B, T, H, d) = max(window, _SHORTEST_CHUNK), q.shape
    is_there_BT = torch.ones_like(q[:, :, 0, 0], dtype=torch.bool) if mask is None else mask[:, 0, 0]
    q, k, v = _chunks(q[:, 1:], chunk), _around(k, chunk, causal), _around(v, chunk, causal)
    more_q, more_k = torch.ones_like(q[..., :1]), torch.zeros_like(k[..., :1])
    if days_BT is not None and rate_H is not None:
        more_q, more_k = _fading(days_BT, rate_H * d**0.5, chunk, causal)  # SDPA divides by sqrt(d)
    is_missing = ~_around(is_there_BT, chunk, causal)
    more_k = torch.cat([more_k[..., :1].masked_fill(is_missing[..., None, None], _NEVER), more_k[..., 1:]], -1)
    q, k, v = torch.cat([q, more_q], -1), torch.cat([k, more_k], -1), F.pad(v, (0, more_k.shape[-1]))
    q, k, v = (x.flatten(0, 1).transpose(1, 2) for x in (q, k, v))  # (B * N, H, c or S, d and more)
    seen = band(chunk, window, causal=causal).to(q.device)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=d**-0.5)
    return mixed[..., :d].transpose(1, 2).reshape(B, -1, H, d)[:, : T - 1].transpose(1, 2)


def band(chunk: int, window: int, *, causal: bool) -> Tensor:
    """Return which of the steps around it each step of a chunk sees, bool (c, S); `_around` says which they are.

    >>> band(2, 2, causal=True).int().tolist()  # leading step, two before, the two themselves
    [[1, 0, 1, 1, 0], [1, 0, 0, 1, 1]]
    """
    own, around = torch.arange(chunk)[:, None], torch.arange(2 * chunk)
    back, ahead = own - (around - chunk), around - own
    parts = [torch.ones(chunk, 1, dtype=torch.bool), (back >= 0) & (back < window)]
    return torch.cat(parts if causal else [*parts, (ahead > 0) & (ahead < window)], dim=1)


def seen_by_last(last_B: Tensor, n_steps: int, window: int) -> Tensor:
    """Return which steps the step `last_B` of each row sees, bool (B, 1, 1, T).

    >>> seen_by_last(torch.tensor([4, 1]), 6, 2).int()[:, 0, 0].tolist()
    [[1, 0, 0, 1, 1, 0], [1, 1, 0, 0, 0, 0]]
    """
    back = last_B[:, None] - torch.arange(n_steps, device=last_B.device)
    seen_BT = (back >= 0) & (back < window)
    seen_BT[:, 0] = True
    return seen_BT[:, None, None]


def _fading(days_BT: Tensor, rate_H: Tensor, chunk: int, causal: bool) -> tuple[Tensor, Tensor]:
    """Return two more dimensions of queries (B, N, c, H, 2) and keys (B, N, S, H, 2), whose products fade with time.

    For a step j before i: -rate * (days_i - days_j) = [1, rate * days_i] . [rate * days_j, -1]; after i: minus that.
    """
    own_BNc = _chunks(days_BT[:, 1:], chunk)
    first = own_BNc[:, :, :1]
    side_S = _sides(chunk, causal).to(days_BT)
    days_BNS = (_around(days_BT, chunk, causal) - first) * side_S
    queries = [
        torch.ones_like(own_BNc)[..., None].expand(*own_BNc.shape, len(rate_H)),
        (own_BNc - first)[..., None] * rate_H,
    ]
    keys = [days_BNS[..., None] * rate_H, -side_S[:, None].expand(*days_BNS.shape, len(rate_H))]
    return torch.stack(queries, -1), torch.stack(keys, -1)


def _sides(chunk: int, causal: bool) -> Tensor:
    """Return 0 for the leading step, 1 for steps that are seen looking back, -1 for those seen looking ahead, (S,)."""
    sides = [torch.zeros(1), torch.ones(2 * chunk)]
    return torch.cat(sides if causal else [*sides, -torch.ones(2 * chunk)])


def _around(x_BT: Tensor, chunk: int, causal: bool) -> Tensor:
    """Return what each chunk attends to, (B, T, ...) -> (B, N, S, ...); zeros where there is no chunk.

    The leading step, the chunk before and the chunk itself; if not causal, then the chunk itself again, for looking
    ahead, and the chunk after it.
    """
    own = _chunks(x_BT[:, 1:], chunk)
    none = torch.zeros_like(own[:, :1])
    lead = x_BT[:, None, :1].expand(-1, own.shape[1], *x_BT[:, :1].shape[1:])
    parts = [lead, torch.cat([none, own[:, :-1]], dim=1), own]
    return torch.cat(parts if causal else [*parts, own, torch.cat([own[:, 1:], none], dim=1)], dim=2)


def _chunks(x_BT: Tensor, chunk: int) -> Tensor:
    """Return (B, T, ...) -> (B, N, c, ...), with zeros after the end."""
    missing = -x_BT.shape[1] % chunk
    return F.pad(x_BT, (0, 0) * (x_BT.ndim - 2) + (0, missing)).unflatten(1, (-1, chunk))
