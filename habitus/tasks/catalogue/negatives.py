"""Draw the negatives of a batch, and say how often each was to be expected.

Negatives are drawn with replacement, once for the whole batch. A draw from the batch's own targets meets an item as
often as it is popular; `log_expected` lets a loss take that back. Draws come from torch's global generator unless
another is given, so that a training loop which saves and restores its state draws the same after a resume.
"""

from __future__ import annotations

import torch
from torch import Tensor

from habitus.fields.category import N_RESERVED


def draw_negatives(
    n: int,
    size: int,
    *,
    counts: Tensor | None = None,
    batch_targets: Tensor | None = None,
    in_batch_share: float = 0.0,
    first: int = N_RESERVED,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Return n ids and the log of the expected number of times each is drawn, both (n,).

    Yi et al. 2019 (Sampling-bias-corrected neural modeling, https://doi.org/10.1145/3298689.3346996) draw from the
    batch alone; differs from the paper in mixing in uniform draws and in counting the training log instead of
    estimating frequencies from a stream.

    Args:
        n: number of negatives.
        size: V, with the reserved ids, which are never drawn.
        counts: (V,) how often each id is a target in training; None: how often in this batch.
        batch_targets: int64 (N,), needed for a share above 0; the draws are made on its device.
        in_batch_share: share of negatives drawn from the batch's targets; the rest is uniform over the catalogue.
        first: the first id that can be an answer.
        generator: source of random numbers; None: torch's global one.

    >>> ids, log_expected = draw_negatives(4, 11)  # eight candidates: each expected half a time
    >>> bool((ids >= 3).all()), log_expected.exp().tolist()
    (True, [0.5, 0.5, 0.5, 0.5])
    """
    n_in_batch = round(n * in_batch_share)
    if n_in_batch and (batch_targets is None or not len(batch_targets)):
        raise ValueError(f"in_batch_share={in_batch_share} needs the batch's targets; give batch_targets.")
    device = torch.device("cpu") if batch_targets is None else batch_targets.device
    n_uniform = n - n_in_batch
    ids = torch.randint(first, size, (n_uniform,), generator=generator, device=device)
    expected = torch.full((n,), n_uniform / (size - first), device=device)
    if n_in_batch:
        assert batch_targets is not None
        at = torch.randint(len(batch_targets), (n_in_batch,), generator=generator, device=device)
        ids = torch.cat([ids, batch_targets[at]])
        expected += n_in_batch * _frequency(ids, size, counts, batch_targets)
    return ids, expected.log()


def _frequency(ids: Tensor, size: int, counts: Tensor | None, batch_targets: Tensor) -> Tensor:
    """Return each id's share among targets."""
    if counts is None:
        return torch.bincount(batch_targets, minlength=size)[ids] / len(batch_targets)
    # An id that training never counted would be expected never, and its correction infinite.
    return counts.to(ids.device)[ids].clamp(min=1) / counts.sum()
