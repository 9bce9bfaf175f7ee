"""From step states to one state: mean, count, max, parts, attention, last, or the state of the leading step (cls).

Padded steps never count. `count` is log(1 + sum of relu): each dimension learns what to detect and says how often it
was there, where a mean would dilute one telling event among many; a layer norm after it takes out what all dimensions
share, the length. `parts` is the largest value in each quarter of the row and a linear layer over the four: what was
there and about when, for rows that are one thing from begin to end, such as a spoken word. `attention` is a learned
query over the steps (Yang et al. 2016, "Hierarchical attention networks", eq. 5-7; differs in having no hidden layer
before the query).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Pooling = Literal["mean", "count", "max", "parts", "attention", "last", "cls"]
_N_PARTS = 4


class Pool(nn.Module):
    """Pool (B, T, D) to (B, D).

    Args:
        kind: which pooling.
        width: D.
    """

    def __init__(self, kind: Pooling, width: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "count":
            self.norm = nn.LayerNorm(width)
        if kind == "parts":
            self.mix = nn.Linear(_N_PARTS * width, width)
        if kind == "attention":
            self.query = nn.Linear(width, 1, bias=False)
            nn.init.zeros_(self.query.weight)  # starts as the mean

    def forward(self, states_BTD: Tensor, is_step_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Return (B, D)."""
        if self.kind == "cls":
            return states_BTD[:, 0]
        if self.kind == "last":
            return states_BTD[torch.arange(len(states_BTD), device=states_BTD.device), lengths_B - 1]
        if self.kind == "max":
            return states_BTD.masked_fill(~is_step_BT[..., None], float("-inf")).amax(1)
        if self.kind == "parts":
            return self.mix(largest_of_parts(states_BTD, lengths_B).flatten(1))
        if self.kind == "count":
            return self.norm(states_BTD.relu().masked_fill(~is_step_BT[..., None], 0.0).sum(1).log1p())
        if self.kind == "mean":
            return states_BTD.masked_fill(~is_step_BT[..., None], 0.0).sum(1) / lengths_B[:, None]
        weights_BT = self.query(states_BTD).squeeze(-1).masked_fill(~is_step_BT, float("-inf")).softmax(-1)
        return (states_BTD.masked_fill(~is_step_BT[..., None], 0.0) * weights_BT[..., None]).sum(1)


def largest_of_parts(states_BTD: Tensor, lengths_B: Tensor, n_parts: int = _N_PARTS) -> Tensor:
    """Return the largest values in each of the equal parts of each row, (B, n_parts, D).

    A step stands in every part that it touches, so that a row of one step fills all of them.

    >>> largest_of_parts(torch.tensor([[[1.0], [5.0], [2.0], [9.0]]]), torch.tensor([3]), 2).flatten().tolist()
    [5.0, 5.0]
    """
    place_T = torch.arange(states_BTD.shape[1], device=states_BTD.device)
    parts = []
    for part in range(n_parts):
        first_B, behind_B = part * lengths_B // n_parts, -(-(part + 1) * lengths_B // n_parts)
        is_in_BT = (place_T >= first_B[:, None]) & (place_T < behind_B[:, None])
        parts.append(states_BTD.masked_fill(~is_in_BT[..., None], float("-inf")).amax(1))
    return torch.stack(parts, 1)
