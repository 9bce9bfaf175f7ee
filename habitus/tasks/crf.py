"""A linear-chain conditional random field: the tags of a row are scored together (Lafferty, McCallum, Pereira 2001).

    score(tags) = start[y_1] + sum_t emission[t, y_t] + sum_t transition[y_t-1, y_t] + stop[y_T]
    p(tags) = exp(score(tags)) / sum over all tags of exp(score)

https://repository.upenn.edu/cis_papers/159, equation 1; the sum by the forward algorithm, the best tags by Viterbi's.
Differs from the paper in that a step may be unlabelled: its tag is then summed out of the numerator as well (Tsuboi et
al. 2008, https://aclanthology.org/C08-1113, section 3). Padding stands on the right and adds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

FORBIDDEN = -1e4  # a score that no path survives: its weight is 0 in float32
_TINY = 1e-37


class CRF(nn.Module):
    """Score the tags of a row together.

    Args:
        n_labels: C.

    >>> crf = CRF(2)  # all scores 0: four equally likely taggings of two steps
    >>> labels, is_step = torch.tensor([[0, 1]]), torch.ones(1, 2, dtype=torch.bool)
    >>> round(crf.loss(torch.zeros(1, 2, 2), labels, is_step).item(), 4)
    1.3863
    """

    def __init__(self, n_labels: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(n_labels))
        self.transition = nn.Parameter(torch.zeros(n_labels, n_labels))  # from, to
        self.stop = nn.Parameter(torch.zeros(n_labels))

    def loss(self, emission_BTC: Tensor, labels_BT: Tensor, is_step_BT: Tensor) -> Tensor:
        """Return minus the log-likelihood of each row's labels, (B,); a negative label is unknown."""
        wanted = nn.functional.one_hot(labels_BT.clamp_min(0), emission_BTC.shape[-1]).bool()
        given = emission_BTC.masked_fill(~wanted & (labels_BT >= 0)[..., None], FORBIDDEN)
        both, is_step = torch.cat([emission_BTC, given]), is_step_BT.repeat(2, 1)  # one loop over steps for the two
        total, part = self.log_total(both, is_step).chunk(2)
        return total - part

    def log_total(self, emission_BTC: Tensor, is_step_BT: Tensor) -> Tensor:
        """Return the logarithm of the sum of exp(score) over all taggings of each row, (B,): the forward algorithm.

        A step is a product of matrices instead of a sum of exponentials over pairs, which is several times faster.
        """
        weight = self.transition.exp()
        alpha = self.start + emission_BTC[:, 0]
        for t in range(1, emission_BTC.shape[1]):
            most = alpha.max(dim=-1, keepdim=True).values.detach()
            ahead = ((alpha - most).exp() @ weight).clamp_min(_TINY).log() + most + emission_BTC[:, t]
            alpha = torch.where(is_step_BT[:, t, None], ahead, alpha)
        return (alpha + self.stop).logsumexp(dim=-1)

    def marginals(self, emission_BTC: Tensor, is_step_BT: Tensor) -> Tensor:
        """Return the probability of each tag at each step, (B, T, C): the gradient of the log-total."""
        with torch.enable_grad():
            scores = emission_BTC.detach().requires_grad_()
            (found,) = torch.autograd.grad(self.log_total(scores, is_step_BT).sum(), scores)
        return found


def viterbi(emission_BTC: Tensor, transition_CC: Tensor, start_C: Tensor, stop_C: Tensor, is_step_BT: Tensor) -> Tensor:
    """Return the tagging with the highest score of each row, int64 (B, T); 0 on padding.

    >>> emission = torch.tensor([[[0.0, 1.0], [0.6, 0.5]]])
    >>> stay, free = torch.tensor([[0.0, -9.0], [-9.0, 0.0]]), torch.zeros(2)
    >>> viterbi(emission, stay, free, free, torch.ones(1, 2, dtype=torch.bool)).tolist()
    [[1, 1]]
    """
    n_rows, n_steps, n_labels = emission_BTC.shape
    best = start_C + emission_BTC[:, 0]
    back = []
    stay = torch.arange(n_labels, device=best.device).expand(n_rows, -1)
    for t in range(1, n_steps):
        score, source = (best[:, :, None] + transition_CC).max(dim=1)
        is_step = is_step_BT[:, t, None]
        best = torch.where(is_step, score + emission_BTC[:, t], best)
        back.append(torch.where(is_step, source, stay))
    tag = (best + stop_C).argmax(dim=-1)
    path = [tag]
    for source in reversed(back):
        tag = source.gather(1, tag[:, None])[:, 0]
        path.append(tag)
    return torch.stack(path[::-1], dim=1) * is_step_BT


def forbidden_transitions(labels: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return what BIO tags forbid, as scores to be added: transitions (C, C) and starts (C,).

    `I-x` follows only `B-x` and `I-x`, unless no label is `B-x`.

    >>> transition, start = forbidden_transitions(["B-x", "I-x", "O"])
    >>> (transition < 0).tolist(), (start < 0).tolist()
    ([[False, False, False], [False, False, False], [False, True, False]], [False, True, False])
    """
    known = set(labels)
    inside = [name.startswith("I-") and f"B-{name[2:]}" in known for name in labels]
    pairs = list(zip(labels, inside, strict=True))
    starts = torch.tensor([FORBIDDEN if is_inside else 0.0 for is_inside in inside])
    rows = [
        [FORBIDDEN if is_inside and before not in (f"B-{after[2:]}", after) else 0.0 for after, is_inside in pairs]
        for before in labels
    ]
    return torch.tensor(rows), starts
