"""The network of `Embed`: events or tokens -> backbone -> pool -> a vector.

fields (B,T) --embed--> (B,T,D) --backbone--> (B,T,D) --pool--> (B,D) --project, if a size is given--> (B,S)

Both sides of a pair go through the same network.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from habitus.backbones.pool import Pool
from habitus.data.batch import Batch, SequenceTensors
from habitus.data.encode import EncodedSequences
from habitus.data.loader import length_batches
from habitus.tasks.embed import Embed
from habitus.tasks.network import Backbone, Inputs, build_body
from habitus.tasks.pretrain.contrastive import ContrastiveHead

_TOKENS_AT_ONCE, _ROWS_AT_ONCE = 16_384, 256


class EmbedNetwork(nn.Module):
    """Embed, encode and pool.

    Args:
        inputs: what is read.
        backbone: config of the backbone; its `pooling` says how states become one.
        task: width of the vectors, and whether slices are learned, which takes a projection that is not kept.
        use_time: read age, gap, hour and weekday of events.
        value_dropout: share of category values read as UNKNOWN in training.
    """

    def __init__(
        self, inputs: Inputs, backbone: Backbone, task: Embed, *, use_time: bool, value_dropout: float = 0.0
    ) -> None:
        super().__init__()
        width = backbone.hidden_size
        self.embed, self.backbone = build_body(inputs, backbone, use_time=use_time, value_dropout=value_dropout)
        self.pool = Pool(backbone.pooling, width)
        self.project = nn.Identity() if task.size is None else nn.Linear(width, task.size)
        self.size = task.size or width
        self.head = ContrastiveHead(self.size, task.temperature) if task.learned_by == "slices" else None

    def vectors(self, batch: Batch) -> Tensor:
        """Return vectors (B, S), not of length one."""
        pooled = self.pool(self.backbone(self.embed(batch), batch), batch.is_step, batch.lengths)
        projected: Tensor = self.project(pooled)
        return projected

    def forward(self, batch: Batch) -> Tensor:
        """Return what the loss reads: vectors, or projected slices, (B, S)."""
        vectors = self.vectors(batch)
        return vectors if self.head is None else self.head(vectors)


@torch.no_grad()
def embedded(network: EmbedNetwork, encoded: EncodedSequences, size: int | None = None) -> np.ndarray:
    """Return vectors of length one in the order of the rows, float32 (n, S).

    Args:
        network: trained.
        encoded: texts or histories.
        size: cut the vectors to this width before they are brought to length one.
    """
    network.eval()
    device, rows = next(network.parameters()).device, SequenceTensors(encoded)
    found = np.zeros((len(encoded), min(size or network.size, network.size)), dtype=np.float32)
    for chosen in length_batches(encoded.lengths, batch_tokens=_TOKENS_AT_ONCE, batch_rows=_ROWS_AT_ONCE):
        vectors = network.vectors(rows.gather(chosen).to(device)).float()
        found[chosen] = F.normalize(vectors[:, : found.shape[1]], dim=-1).cpu().numpy()
    return found
