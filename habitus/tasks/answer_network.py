"""The network of `Answer`: windows of tokens -> a start and an end score for every token that may be answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from habitus.backbones.dropout import Dropout
from habitus.backbones.pretrained import Pretrained
from habitus.data.answer.rows import MAY_ANSWER, SIDE, TEXT
from habitus.data.answer.windows import UNTOLD
from habitus.data.batch import Batch, SequenceTensors
from habitus.data.loader import length_batches
from habitus.tasks.network import Backbone, Inputs, build_body

_TOKENS_AT_ONCE, _ROWS_AT_ONCE = 16_384, 256

Logits = list[np.ndarray]  # of each window, float32 (T, 2): start and end; -inf where a token may not be answered


class AnswerNetwork(nn.Module):
    """Embed, encode, and score every token as the first and as the last one of the answer.

    Args:
        sizes: ids of the tokens and of their sides; a pretrained encoder has its own.
        backbone: config of the backbone.
        value_dropout: share of tokens read as UNKNOWN in training, of a network from scratch.
    """

    def __init__(self, sizes: Mapping[str, int], backbone: Backbone, *, value_dropout: float = 0.0) -> None:
        super().__init__()
        self.embed: nn.Module
        if isinstance(backbone, Pretrained):
            self.backbone = backbone.build()
            self.embed = self.backbone.reads_pairs(TEXT, SIDE)
        else:
            inputs = Inputs(sizes, {}, {}, {})
            self.embed, self.backbone = build_body(inputs, backbone, use_time=False, value_dropout=value_dropout)
        self.dropout = Dropout(backbone.dropout)
        self.head = nn.Linear(backbone.hidden_size, 2)

    def forward(self, batch: Batch) -> Tensor:
        """Return scores (B, T, 2), -inf where a token may not be answered."""
        read = replace(batch, ids={name: ids for name, ids in batch.ids.items() if name != MAY_ANSWER})
        states_BTD = self.backbone(self.embed(read), read)
        scores_BT2: Tensor = self.head(self.dropout(states_BTD)).float()
        return scores_BT2.masked_fill((batch.ids[MAY_ANSWER] == 0)[..., None], -torch.inf)


def span_loss(scores_BT2: Tensor, target_B2: Tensor) -> tuple[Tensor, int]:
    """Return the mean of both cross-entropies summed over windows, and how many windows have a target.

    Args:
        scores_BT2: start and end scores.
        target_B2: places of the first and the last token, or `UNTOLD`.

    >>> round(span_loss(torch.zeros(1, 4, 2), torch.tensor([[1, 2]]))[0].item(), 4)  # log 4
    1.3863
    """
    loss = sum(
        F.cross_entropy(scores_BT2[..., side], target_B2[:, side], ignore_index=UNTOLD, reduction="sum") / 2
        for side in (0, 1)
    )
    assert isinstance(loss, Tensor), "two sides"
    return loss, int((target_B2[:, 0] != UNTOLD).sum())


@torch.no_grad()
def window_logits(network: AnswerNetwork, tensors: SequenceTensors) -> Logits:
    """Return the scores of every window."""
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    lengths = tensors.lengths.numpy()
    found: Logits = [np.zeros((0, 2), np.float32)] * len(lengths)
    for chosen in length_batches(lengths, batch_tokens=_TOKENS_AT_ONCE, batch_rows=_ROWS_AT_ONCE):
        scores = network(tensors.gather(chosen).to(device)).cpu().numpy()
        for row, one in zip(chosen.tolist(), scores, strict=True):
            found[row] = one[: lengths[row]]
    network.train(was_training)
    return found
