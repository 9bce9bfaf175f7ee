"""Generate: a sequence in, a sequence out: a sentence and its translation, behaviour and the behaviour that comes.

    source ids (B,T) --embed--> encoder --> states (B,T,D)
    START, target ids (B,Q) --embed--> decoder, which looks at them --> (B,Q,D) --same embedding--> logits (B,Q,V)

Target: a column of text or of token lists. Loss: cross-entropy of every target token, the end mark included, given the
true ones before it (teacher forcing), with label smoothing (Szegedy et al. 2016, arXiv:1512.00567, section 7).
Decoding: `decoding.py`. The output layer is the target's embedding (Press and Wolf 2017, arXiv:1608.05859).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from habitus.backbones.dropout import Dropout
from habitus.backbones.encoder_decoder import DecoderState, Encoded, EncoderDecoder
from habitus.config import check_choice
from habitus.data.pairs.batch import PairBatch
from habitus.data.pairs.subwords import PAD, START, UNKNOWN
from habitus.errors import ConfigError
from habitus.metrics import Interval
from habitus.metrics.text import TOKENIZERS, choose_tokenizer, text_differences, text_metrics, text_sums
from habitus.tasks.catalogue.full import full_softmax
from habitus.tasks.judged import JudgedTask


@dataclass(frozen=True)
class Generate(JudgedTask):
    """Write a sequence for a sequence.

    Args:
        source: column of what is read, text or lists of tokens.
        target: column of what is to be written, text or lists of tokens.
        label_smoothing: share of each target's probability that is spread over the vocabulary; 0 for none.
        bleu_tokenizer: of sacrebleu: "13a" (its own choice for languages with spaces), "intl", "char", "zh", "none"
            (words as they stand); "auto" takes "char" where the references are Japanese or Chinese, else "13a".

    >>> Generate("en", "ja").target
    'ja'
    """

    source: str = "source"
    target: str = "target"
    label_smoothing: float = 0.1
    bleu_tokenizer: str = "auto"

    name: ClassVar[str] = "generate"
    monitor: ClassVar[str] = "bleu"
    unit: ClassVar[str] = "pairs"

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing={self.label_smoothing} is a share: 0 or more and below 1.")
        check_choice("bleu_tokenizer", self.bleu_tokenizer, TOKENIZERS)
        if self.source == self.target:
            raise ConfigError(f"source and target are the same column, '{self.source}'; name two.")

    def metrics(self, truth: Any, answer: Any) -> Mapping[str, Interval]:
        """Return BLEU, chrF (of texts), exact match and token accuracy of n texts or token lists."""
        return text_metrics(text_sums(truth, answer, self._tokenizer(truth)))

    def differences(self, truth: Any, answer: Any, other: Any) -> Mapping[str, Interval]:
        """Return paired differences of all metrics, answer minus other."""
        tokenizer = self._tokenizer(truth)
        return text_differences(text_sums(truth, answer, tokenizer), text_sums(truth, other, tokenizer))

    def _tokenizer(self, truth: Any) -> str:
        return choose_tokenizer(truth, self.bleu_tokenizer)


class GenerateNetwork(nn.Module):
    """Embed, encode, decode, and answer with the target's embedding.

    Args:
        source_size, target_size: ids of the vocabularies.
        backbone: config of the encoder-decoder.
        joint: whether both sides share the embedding.
        label_smoothing: of the loss.
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        backbone: EncoderDecoder,
        *,
        joint: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.width, self.label_smoothing = backbone.hidden_size, label_smoothing
        self.target_embedding = _embedding(target_size, self.width)
        self.source_embedding = self.target_embedding if joint else _embedding(source_size, self.width)
        self.bias = nn.Parameter(torch.zeros(target_size))
        self.backbone = backbone.build()
        self.dropout = Dropout(backbone.dropout)

    def forward(self, batch: PairBatch) -> Tensor:
        """Return the smoothed loss summed over real target tokens; padding costs nothing."""
        return self._loss(batch, self.label_smoothing)

    def plain_loss(self, batch: PairBatch) -> Tensor:
        """Return -log P of all real target tokens, summed; no smoothing."""
        return self._loss(batch, 0.0)

    def encode(self, source_BT: Tensor, lengths_B: Tensor) -> Encoded:
        """Read the sources."""
        return self.backbone.encode(self._source(source_BT), lengths_B)

    def start(self, encoded: Encoded) -> DecoderState:
        """Return the state of answers of which nothing is written yet."""
        return self.backbone.start(encoded)

    def step(self, ids_B: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Read the last token of each answer (START first); return the logits of the next one (B, V)."""
        states_BD, after = self.backbone.step(self._target(ids_B), state)
        return self.logits(states_BD), after

    def logits(self, states: Tensor) -> Tensor:
        """Return (..., V)."""
        return F.linear(states, self.target_embedding.weight, self.bias)

    def _loss(self, batch: PairBatch, smoothing: float) -> Tensor:
        source_BTD, target_BQD = self._source(batch.source_BT), self._target(_shifted(batch.target_BQ))
        states_BQD = self.backbone(source_BTD, batch.lengths, target_BQD)
        is_real = batch.target_BQ != PAD
        states_ND, target_N = states_BQD[is_real], batch.target_BQ[is_real]
        return smoothed_loss(states_ND, self.target_embedding.weight, self.bias, target_N, smoothing)

    def alignment(self, batch: PairBatch) -> Tensor:
        """Return how much each target token looks at each source token, (B, Q, T)."""
        encoded = self.encode(batch.source_BT, batch.lengths)
        return self.backbone.alignment(self._target(_shifted(batch.target_BQ)), encoded)

    def _source(self, ids: Tensor) -> Tensor:
        return self.dropout(self.source_embedding(ids) * self.width**0.5)

    def _target(self, ids: Tensor) -> Tensor:
        return self.dropout(self.target_embedding(ids) * self.width**0.5)


def smoothed_loss(states_ND: Tensor, weight_VD: Tensor, bias_V: Tensor, target_N: Tensor, smoothing: float) -> Tensor:
    """Return the sum of cross-entropies with smoothed labels, over the ids from UNKNOWN on (Szegedy et al. 2016).

    Smoothing adds smoothing * (z_target - mean z) to each row's cross-entropy, z being its logits. A mean of logits is
    the logit of the mean embedding, so that it costs nothing beside the softmax.

    >>> states, weight, bias = torch.ones(1, 2), torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]), torch.zeros(3)
    >>> round(smoothed_loss(states, weight, bias, torch.tensor([1]), 0.1).item(), 4)  # 0.3133 + 0.1 * (1 - 0.5)
    0.3633
    """
    loss = full_softmax(states_ND, weight_VD, bias_V, target_N, first=UNKNOWN)
    if not smoothing:
        return loss
    apart_ND = F.embedding(target_N, weight_VD) - weight_VD[UNKNOWN:].mean(dim=0)
    return loss + smoothing * ((states_ND * apart_ND).sum() + (bias_V[target_N] - bias_V[UNKNOWN:].mean()).sum())


def _embedding(size: int, width: int) -> nn.Embedding:
    """Return an embedding of numbers of variance 1/D: times sqrt(D) at the input, as it is at the output."""
    embedding = nn.Embedding(size, width)
    nn.init.normal_(embedding.weight, std=width**-0.5)
    return embedding


def _shifted(target_BQ: Tensor) -> Tensor:
    """Return what the decoder reads: START, then all but the last token."""
    return torch.cat([torch.full_like(target_BQ[:, :1], START), target_BQ[:, :-1]], dim=1)
