"""What an `Embed` network learns by: losses over vectors of two sides, (B, D) each, summed over the batch's units.

Vectors are brought to length one here, so that products are cosines; `at_sizes` does it for every width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PairLoss = Callable[[Tensor, Tensor], Tensor]


def at_sizes(left_BD: Tensor, right_BD: Tensor, sizes: Sequence[int], loss: PairLoss) -> Tensor:
    """Return the mean loss over the whole vectors and those that are cut to each size.

    Kusupati et al. 2022, arXiv:2205.13147, eq. 1, with equal weights. Differs from the paper in the mean in place of
    the sum, so that the learning rate means the same with and without sizes.

    >>> a = torch.tensor([[1.0, 1.0]]); b = torch.tensor([[1.0, 0.0]])
    >>> round(at_sizes(a, b, (1,), lambda x, y: (x * y).sum()).item(), 4)  # (cos 45° + 1) / 2
    0.8536
    """
    widths = [left_BD.shape[-1], *(size for size in sizes if size < left_BD.shape[-1])]
    losses = [loss(*(F.normalize(side[:, :width], dim=-1) for side in (left_BD, right_BD))) for width in widths]
    return torch.stack(losses).mean()


def negatives_loss(
    left_BD: Tensor, right_BD: Tensor, temperature: float, is_pair_B: Tensor, group_B2: Tensor
) -> Tensor:
    """Return -log softmax of the own right side among those of the batch, and the same from right to left, halved.

    van den Oord et al. 2018, arXiv:1807.03748, eq. 4, with cosines over a temperature; Henderson et al. 2017,
    arXiv:1705.00652, section 4, from left to right alone. Sides that equal the own one on either side (repeated texts,
    texts of one class) are no negatives, and a right side that is known not to belong (`is_pair_B` False) is one for
    all others but asks nothing itself.

    >>> a = torch.eye(2)
    >>> both = negatives_loss(a, a, 1.0, torch.tensor([True, True]), torch.tensor([[0, 0], [1, 1]]))
    >>> round(both.item() / 2, 4)  # ln(1 + exp(-1))
    0.3133
    """
    own = torch.eye(len(left_BD), dtype=torch.bool, device=left_BD.device)
    same = (group_B2[:, None] == group_B2).any(-1) & ~own
    known_apart = ~is_pair_B[None, :] & (group_B2[:, None, 1] != group_B2[:, 1]) & ~own
    scores = left_BD @ right_BD.T / temperature
    forward = scores.masked_fill(same & ~known_apart, float("-inf")).log_softmax(1).diagonal()
    backward = scores.T.masked_fill(same, float("-inf")).log_softmax(1).diagonal()
    return -((forward + backward) / 2)[is_pair_B].sum()


def cosent_loss(left_BD: Tensor, right_BD: Tensor, score_B: Tensor, temperature: float) -> Tensor:
    """Return B log(1 + sum of exp((cos_i - cos_j) / temperature)) over all i whose score is below that of j.

    Su 2022, https://kexue.fm/archives/8847. Choose it over the squared error where the order of the scores matters and
    their distances do not, as for a rank correlation.

    >>> one = torch.eye(2)
    >>> round(cosent_loss(one, one, torch.tensor([0.0, 1.0]), 1.0).item() / 2, 4)  # ln(1 + exp(0))
    0.6931
    """
    cosine = (left_BD * right_BD).sum(-1) / temperature
    gaps = (cosine[:, None] - cosine).masked_fill(score_B[:, None] >= score_B, float("-inf")).flatten()
    return len(cosine) * torch.cat([gaps.new_zeros(1), gaps]).logsumexp(0)


def cosine_loss(left_BD: Tensor, right_BD: Tensor, share_B: Tensor) -> Tensor:
    """Return the squared error of cosines against scores from 0 to 1, summed.

    Reimers and Gurevych 2019, arXiv:1908.10084, section 3, regression objective.

    >>> one = torch.eye(2)
    >>> cosine_loss(one, one, torch.tensor([1.0, 0.5])).item()
    0.25
    """
    return ((left_BD * right_BD).sum(-1) - share_B).square().sum()
