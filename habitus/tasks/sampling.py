"""Choose the next item from scores when histories are continued, more or less boldly.

The order is: rules and reserved ids mask scores out, repetition penalty, temperature, top-k, top-p, one draw; so the k
best are the k best of what is allowed. Equal scores are ordered by id, the more frequent item first, as in rankings.
Repetition penalty: Keskar et al. 2019, arXiv:1909.05858, section 4.1; top-p: Holtzman et al. 2020, arXiv:1904.09751,
section 3.1. Differs from the papers in multiplying negative scores by the penalty instead of dividing them (which would
favour a repetition), as libraries do. Knows nothing about the model behind the scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from habitus.errors import ConfigError, DataError
from habitus.tasks.rules import Past, Rule, allowed_ids

_LOWEST_TEMPERATURE = 1e-4  # nearer to 0 the division overflows; 0 itself is greedy


@dataclass(frozen=True)
class Sampling:
    """Say how boldly items are drawn.

    Args:
        temperature: scores are divided by it: below 1 safer, above 1 more varied; 0 takes the best (greedy).
        top_k: draw from the k best only.
        top_p: draw from the fewest best items that together have at least this probability.
        repetition_penalty: above 1, items of the history score worse: positive scores are divided by it and
            negative ones multiplied. It depends on where the scores have their zero; give logits.
        no_repeat: an item of the history never comes again.
        seed: of `generator()`.

    >>> Sampling(temperature=0.8, top_p=0.9).is_greedy
    False
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0
    no_repeat: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.temperature == 0 or _LOWEST_TEMPERATURE <= self.temperature < math.inf):
            raise ConfigError(
                f"temperature={self.temperature}; use 0 to take the best item, or {_LOWEST_TEMPERATURE} or more."
            )
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top_k={self.top_k} leaves no item; use 1 or more, or None for all.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p={self.top_p} is a probability above 0 and up to 1; None keeps all items.")
        if not 0 < self.repetition_penalty < math.inf:
            raise ConfigError(f"repetition_penalty={self.repetition_penalty} must be positive; 1 is none.")

    @property
    def is_greedy(self) -> bool:
        """Whether the best item is always taken, so that no generator is needed."""
        return self.temperature == 0

    def generator(self, device: str | torch.device = "cpu") -> torch.Generator:
        """Return a fresh generator from the seed; make one for a whole run, not one for each step."""
        return torch.Generator(device).manual_seed(self.seed)


def choose(
    scores: Tensor,
    histories: Sequence[np.ndarray] | Past,
    sampling: Sampling,
    rules: Sequence[Rule] = (),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the next item of each row, ids int64 (B,).

    Args:
        scores: logits of every id, (B, V).
        histories: ids of each row's whole history, or a `Past`, which saves reading them again at every step;
            bring it up to date with `past.add(ids)` after each choice.
        sampling: how boldly to draw.
        rules: what may come, bound to the vocabulary.
        generator: on the device of the scores; needed unless greedy. `sampling.generator()` makes one.

    Raises:
        DataError: if the rules leave a row nothing, or an allowed score is NaN or infinite.

    >>> scores = torch.tensor([[9.0, 9.0, 9.0, 2.0, 1.0], [0.0, 0.0, 0.0, 1.0, 1.0]])
    >>> choose(scores, [np.array([3]), np.array([4])], Sampling(temperature=0, no_repeat=True)).tolist()
    [4, 3]
    """
    past = histories if isinstance(histories, Past) else Past(histories, scores.shape[1])
    if scores.shape != past.seen.shape:
        raise DataError(f"scores have shape {tuple(scores.shape)} for histories of {past.seen.shape} rows and ids.")
    if generator is None and not sampling.is_greedy:
        raise ConfigError("Drawing needs a generator; make one for the whole run by sampling.generator().")
    logits = _allowed_logits(scores, past, sampling, rules)
    if sampling.is_greedy:
        return logits.argmax(-1)  # of equal ones the first
    logits = (logits - logits.amax(-1, keepdim=True)) / sampling.temperature
    return _draw(_best(logits, sampling.top_k, sampling.top_p), generator)


def _allowed_logits(scores: Tensor, past: Past, sampling: Sampling, rules: Sequence[Rule]) -> Tensor:
    """Return penalised scores (B, V), -inf where a rule says no."""
    allowed = torch.from_numpy(allowed_ids(rules, past, no_repeat=sampling.no_repeat)).to(scores.device)
    logits = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if not (logits.isfinite() | ~allowed).all():
        raise DataError("A score of an allowed item is NaN or infinite; the model's weights or inputs are broken.")
    if sampling.repetition_penalty != 1:
        seen, penalty = torch.from_numpy(past.seen).to(scores.device), sampling.repetition_penalty
        logits = torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)
    return logits.masked_fill(~allowed, -math.inf)


def _best(logits: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """Return logits (B, V) with -inf outside the k best, and then outside the fewest that reach probability p."""
    n_kept = min(top_k or logits.shape[1], logits.shape[1])
    if n_kept < logits.shape[1]:
        logits = _k_best(logits, n_kept)
    return logits if top_p is None else _nucleus(logits, n_kept, top_p)


def _k_best(logits: Tensor, k: int) -> Tensor:
    """Keep exactly k of each row, of equal ones the first; many times faster than sorting."""
    least = logits.topk(k, dim=-1).values[:, -1:]
    tied = logits == least
    room = k - (logits > least).sum(-1, keepdim=True)
    return logits.masked_fill((logits < least) | (tied & (tied.cumsum(-1) > room)), -math.inf)


def _nucleus(logits: Tensor, n_kept: int, top_p: float) -> Tensor:
    """Keep the fewest best of each row that reach probability p; at most `n_kept` are not -inf."""
    ids = torch.arange(logits.shape[1], device=logits.device).expand_as(logits)
    if n_kept < logits.shape[1]:
        ids = logits.topk(n_kept, dim=-1).indices.sort(dim=-1).values  # by id, so that the stable sort orders ties so
    ordered, places = logits.gather(-1, ids).sort(dim=-1, descending=True, stable=True)
    share = ordered.softmax(-1, dtype=torch.float64)
    ordered[share.cumsum(-1) - share >= top_p] = -math.inf  # the better ones reach p without it
    return torch.full_like(logits, -math.inf).scatter(-1, ids.gather(-1, places), ordered)


def _draw(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw from softmax(logits) by the Gumbel-max trick, which can never take an item of probability 0."""
    noise = torch.empty_like(logits).exponential_(generator=generator).clamp_(min=torch.finfo(logits.dtype).tiny)
    return (logits - noise.log()).argmax(-1)
