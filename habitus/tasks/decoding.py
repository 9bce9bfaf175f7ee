"""Write answers: greedily, by beam search, or by drawing; whole batches, one token of every answer at a time.

Beam search keeps the `beam_size` best beginnings of each row. One that ends leaves the beam and is scored by

    log P(Y | X) / lp(Y),   lp(Y) = ((5 + |Y|) / (5 + 1))^alpha          Wu et al. 2016, arXiv:1609.08144, eq. 14

without that paper's coverage penalty; |Y| counts the end mark. A row is done when nothing that is still in its beam can
beat its best answer. With a beam of one that is greedy search. Answers that reach the longest length compete as they
are. PAD, UNKNOWN and START are never written. Rows that are done leave the batch. Knows nothing about networks: it
is handed a function that reads a token and returns logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from habitus.backbones.encoder_decoder import DecoderState
from habitus.config import check_choice
from habitus.data.pairs.subwords import END, PAD, START
from habitus.errors import ConfigError
from habitus.tasks.rules import Past
from habitus.tasks.sampling import Sampling, choose

Step = Callable[[Tensor, DecoderState], tuple[Tensor, DecoderState]]
_COMPACT = 0.75  # rows that are done are dropped when no more than this share is still at work


@dataclass(frozen=True)
class Decoding:
    """Say how answers are written.

    Args:
        method: "beam", "greedy" or "sample".
        beam_size: beginnings that are kept of each answer.
        length_penalty: alpha above; 0 prefers short answers, 1 nearly the best token on average.
        sampling: how boldly tokens are drawn.

    >>> Decoding("greedy").beam_size
    4
    """

    method: Literal["beam", "greedy", "sample"] = "beam"
    beam_size: int = 4
    length_penalty: float = 0.6
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        check_choice("decoding", self.method, get_args(Literal["beam", "greedy", "sample"]))
        if self.beam_size < 1:
            raise ConfigError(f"beam_size={self.beam_size} keeps no beginning; use 1 (greedy) or more.")
        if self.length_penalty < 0:
            raise ConfigError(f"length_penalty={self.length_penalty} must be 0 or more; 0.6 is usual.")


@dataclass(frozen=True)
class Written:
    """Answers of B rows.

    Args:
        ids: of each answer, without the end mark.
        scores: of each answer: log P / lp of beam search, else log P of what was written.
    """

    ids: list[list[int]]
    scores: list[float]


@torch.no_grad()
def write(step: Step, state: DecoderState, n_rows: int, decoding: Decoding, max_length: int, size: int) -> Written:
    """Write the answers of a batch.

    Args:
        step: from the last tokens int64 (b,) and a state to logits (b, V) and the next state.
        state: of `n_rows` answers of which nothing is written yet.
        n_rows: B.
        decoding: how.
        max_length: most tokens of an answer, the end mark included.
        size: V.
    """
    if decoding.method == "beam" and decoding.beam_size > 1:
        return _beam(step, state, n_rows, decoding, max_length)
    return _one_by_one(step, state, n_rows, decoding, max_length, size)


def length_penalty(length: int, alpha: float) -> float:
    """Return lp(Y) of an answer of `length` tokens (Wu et al. 2016, eq. 14).

    >>> length_penalty(1, 0.6), length_penalty(7, 1.0)
    (1.0, 2.0)
    """
    return float(((5 + length) / 6) ** alpha)


def _one_by_one(
    step: Step, state: DecoderState, n_rows: int, decoding: Decoding, max_length: int, size: int
) -> Written:
    """Write the best token, or a drawn one, of every row at a time."""
    sampling = decoding.sampling if decoding.method == "sample" else Sampling(temperature=0)
    generator = None if sampling.is_greedy else sampling.generator()
    plain = sampling.is_greedy and sampling.repetition_penalty == 1 and not sampling.no_repeat
    past = None if plain else Past([np.zeros(0, np.int64)] * n_rows, size)
    last, rows = torch.full((n_rows,), START), torch.arange(n_rows)
    written, scores = torch.full((n_rows, max_length), PAD), torch.zeros(n_rows)
    is_done = torch.zeros(n_rows, dtype=torch.bool)
    for position in range(max_length):
        logits, state = step(last, state)
        log_shares = _allowed(logits)
        last = log_shares.argmax(-1) if past is None else choose(logits, past, sampling, (), generator)
        if past is not None:
            past.add(last.numpy())
        at_work = rows[~is_done[rows]]
        written[at_work, position] = last[~is_done[rows]]
        scores[at_work] += log_shares.gather(1, last[:, None])[:, 0][~is_done[rows]]
        is_done[rows] |= last == END
        if bool(is_done.all()):
            break
        kept = ~is_done[rows]
        if past is None and int(kept.sum()) <= _COMPACT * len(rows):
            chosen = torch.nonzero(kept)[:, 0]
            state, last, rows = state.take(chosen), last[chosen], rows[chosen]
    return Written([_without_end(row) for row in written.tolist()], scores.tolist())


@dataclass
class _Beams:
    """The beams of the rows that are still at work, b rows of K beginnings.

    Args:
        rows: which rows of the batch, (b,).
        ids: what is written, (b, K, t).
        scores: log probabilities, (b, K); -inf where a place is free.
        best: of all rows of the batch: the best score of an answer, (B,).
        answers: and the answer.
    """

    rows: Tensor
    ids: Tensor
    scores: Tensor
    best: Tensor
    answers: list[list[int]]

    @classmethod
    def empty(cls, n_rows: int, beam_size: int) -> _Beams:
        scores = torch.full((n_rows, beam_size), -math.inf)
        scores[:, 0] = 0.0  # all places begin alike: one is enough
        ids = torch.zeros(n_rows, beam_size, 0, dtype=torch.long)
        return cls(torch.arange(n_rows), ids, scores, torch.full((n_rows,), -math.inf), [[] for _ in range(n_rows)])

    def grow(self, log_shares: Tensor) -> Tensor:
        """Take the K best continuations of each row; return the beginning that each of them continues, (b, K)."""
        b, K, V = log_shares.shape
        total = (self.scores[:, :, None] + log_shares).reshape(b, K * V)
        n_best = min(K, K * V)
        self.scores, place = total.topk(n_best, dim=-1)
        origin = place // V
        before = self.ids.gather(1, origin[:, :, None].expand(-1, -1, self.ids.shape[2]))
        self.ids = torch.cat([before, (place % V)[:, :, None]], dim=2)
        return origin

    def collect(self, is_over: Tensor, penalty: float) -> None:
        """Score what has come to its end, keep each row's best, and free its places."""
        scored = torch.where(is_over, self.scores / penalty, -math.inf)
        value, place = scored.max(dim=1)
        for at in torch.nonzero(value > self.best[self.rows])[:, 0].tolist():
            row = int(self.rows[at])
            self.best[row] = value[at]
            self.answers[row] = _without_end(self.ids[at, int(place[at])].tolist())
        self.scores = self.scores.masked_fill(is_over, -math.inf)

    def drop_done(self, largest_penalty: float) -> Tensor:
        """Leave out rows whose best answer nothing can beat any more; return the places of those that stay."""
        # what is to come can only lower log P, and at most divide it by the largest penalty
        hope = self.scores.amax(dim=1) / largest_penalty
        kept = torch.nonzero(hope > self.best[self.rows])[:, 0]
        self.rows, self.ids, self.scores = self.rows[kept], self.ids[kept], self.scores[kept]
        return kept


def _beam(step: Step, state: DecoderState, n_rows: int, decoding: Decoding, max_length: int) -> Written:
    K, alpha = decoding.beam_size, decoding.length_penalty
    beams, largest = _Beams.empty(n_rows, K), length_penalty(max_length, alpha)
    state = state.take(torch.arange(n_rows).repeat_interleave(K))
    last = torch.full((n_rows * K,), START)
    for length in range(1, max_length + 1):
        logits, state = step(last, state)
        origin = beams.grow(_allowed(logits).unflatten(0, (-1, K)))
        is_end = beams.ids[:, :, -1] == END
        beams.collect(is_end | (length == max_length), length_penalty(length, alpha))
        kept = beams.drop_done(largest)
        if not len(kept):
            break
        rows = (kept[:, None] * K + origin[kept]).flatten()
        state = state.reorder(rows) if len(kept) == len(origin) else state.take(rows)
        last = beams.ids[:, :, -1].flatten()
    return Written(beams.answers, beams.best.tolist())


def _allowed(logits: Tensor) -> Tensor:
    """Return log probabilities among what may be written: anything but PAD, UNKNOWN and START."""
    logits = logits.float().clone()
    logits[..., :END] = -math.inf
    return logits.log_softmax(dim=-1)


def _without_end(ids: list[int]) -> list[int]:
    stops = [position for position, one in enumerate(ids) if one in (END, PAD)]
    return ids[: stops[0]] if stops else ids
