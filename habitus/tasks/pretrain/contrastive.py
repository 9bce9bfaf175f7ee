"""Contrastive slices: which slices of histories are of one entity?

Babaev et al. 2022, "CoLES: Contrastive Learning for Event Sequences with Self-Supervision", arXiv:2002.08232, section
3. Differs from the paper in the loss: a softmax over the slices of the batch (Khosla et al. 2020, arXiv:2004.11362, eq.
2) in place of a margin with mined negatives, which has one number to choose less; and in a linear projection before
it, which is thrown away (Chen et al. 2020, arXiv:2002.05709, section 4.2).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ContrastiveHead(nn.Module):
    """Project pooled states and compare them.

    Args:
        width: D.
        temperature: of the softmax over cosines.
    """

    def __init__(self, width: int, temperature: float) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)
        self.temperature = temperature

    def forward(self, pooled_BD: Tensor) -> Tensor:
        """Return vectors of length one, (B, D)."""
        return F.normalize(self.project(pooled_BD), dim=-1)

    def loss(self, projected_BD: Tensor, entity_B: Tensor) -> Tensor:
        """Return `contrastive_loss` at the head's temperature."""
        return contrastive_loss(projected_BD, entity_B, self.temperature)


def contrastive_loss(projected_BD: Tensor, entity_B: Tensor, temperature: float) -> Tensor:
    """Return the sum over slices of the mean of -log softmax over the slices of the same entity.

    Args:
        projected_BD: vectors of length one.
        entity_B: int (B,), whose slice each is; every entity has two slices or more.
        temperature: divides the cosines.

    >>> pairs = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> round(contrastive_loss(pairs, torch.tensor([0, 0, 1, 1]), 1.0).item() / 4, 4)  # -ln(e / (e + 2))
    0.5514
    """
    own = torch.eye(len(entity_B), dtype=torch.bool, device=entity_B.device)
    scores = (projected_BD @ projected_BD.T / temperature).masked_fill(own, float("-inf"))
    same = (entity_B[:, None] == entity_B) & ~own
    log_share = scores.log_softmax(-1).masked_fill(~same, 0.0)
    return -(log_share.sum(-1) / same.sum(-1)).sum()


def share_recognised(projected_BD: Tensor, entity_B: Tensor) -> float:
    """Return the share of slices whose nearest other slice is of the same entity."""
    scores = (projected_BD @ projected_BD.T).fill_diagonal_(float("-inf"))
    return float((entity_B[scores.argmax(-1)] == entity_B).float().mean())
