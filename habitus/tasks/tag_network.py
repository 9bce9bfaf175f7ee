"""The network of `Tag`: a state and a tag for every event.

fields (B,T) --embed, + gaps, hour, weekday--> (B,T,D) --backbone--> (B,T,D) --head--> scores (B,T,C) --> tags

Tags are the likeliest label of each step, or the best path of the CRF; in BIO tags no path goes from O to I-x.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from habitus.backbones.dropout import Dropout
from habitus.backbones.embed import KNOTS_DAYS, EventEmbedding, PiecewiseLinear
from habitus.backbones.pretrained import Pretrained
from habitus.data.batch import Batch
from habitus.data.histories import Windows
from habitus.data.loader import length_batches
from habitus.data.next_batch import HistoryTensors
from habitus.data.tags.tagged import UNLABELLED, Tagged, Tags, TagWindows, tag_windows, with_label_history
from habitus.tasks.crf import CRF, forbidden_transitions, viterbi
from habitus.tasks.network import Backbone, Inputs
from habitus.tasks.tag import Tag

_EVENTS_AT_ONCE, _ROWS_AT_ONCE = 16_384, 256
_INIT_STD = 0.05
_TAKEN = {"embed.gap.": "gap.", "embed.hour.": "calendar.0.", "embed.weekday.": "calendar.1."}


class TagNetwork(nn.Module):
    """Embed, encode, and score every label at every step.

    Args:
        inputs: what is read; with a label history its fields are among the ids.
        backbone: config of the backbone.
        task: says how tags are chosen; knows its labels.
        use_time: read the gap before an event, its hour and its weekday. Ages at the end of the log are never read.
        value_dropout: share of category values read as UNKNOWN in training.
    """

    def __init__(
        self, inputs: Inputs, backbone: Backbone, task: Tag, *, use_time: bool = True, value_dropout: float = 0.0
    ) -> None:
        super().__init__()
        width, n_labels = backbone.hidden_size, len(task.labels)
        self.inputs, self.use_time = inputs, use_time
        if isinstance(backbone, Pretrained):
            use_time = self.use_time = False
            self.backbone = backbone.build()
            self.embed: nn.Module = self.backbone.reads_words(list(inputs.sizes), inputs.specials)
        else:
            self.embed = EventEmbedding(
                inputs.sizes,
                inputs.knots,
                width,
                backbone.dropout,
                value_dropout=value_dropout,
                use_time=False,
                frozen=inputs.texts,
            )
        self.gap = PiecewiseLinear(KNOTS_DAYS, width) if use_time else None
        self.calendar = nn.ModuleList([_table(24, width), _table(7, width)] if use_time else [])
        if not isinstance(backbone, Pretrained):
            self.backbone = backbone.build()
        self.dropout = Dropout(backbone.dropout)
        self.head = nn.Linear(width, n_labels)
        self.crf = CRF(n_labels) if task.crf else None
        bio = forbidden_transitions(task.labels) if task.scheme == "bio" else None
        self.register_buffer("forbidden", None if bio is None else bio[0], persistent=False)
        self.register_buffer("forbidden_start", None if bio is None else bio[1], persistent=False)

    forbidden: Tensor | None
    forbidden_start: Tensor | None

    def taken_name(self, name: str) -> str | None:
        """Return where a weight of a pretrained network belongs here; None: nowhere, as ages are not read."""
        if name.startswith(("embed.age.", "pool.")) or (self.gap is None and name.startswith(tuple(_TAKEN))):
            return None
        for theirs, ours in _TAKEN.items():
            if name.startswith(theirs):
                return ours + name.removeprefix(theirs)
        return name

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss summed over the labelled events of the batch, a scalar."""
        return self.loss_of(self.scores(batch), batch)

    def scores(self, batch: Batch) -> Tensor:
        """Return the score of each label at each step, (B, T, C)."""
        if not self.use_time:  # attention shall not fade with a time that is not to be read
            batch = replace(batch, age_days=torch.zeros_like(batch.age_days))
        batch = replace(batch, ids={name: batch.ids[name] for name in self.inputs.sizes})
        return self.head(self.dropout(self.backbone(self.embed(batch, self._times(batch)), batch)))

    def loss_of(self, scores_BTC: Tensor, batch: Batch) -> Tensor:
        """Return the loss summed over the labelled events, a scalar."""
        assert batch.target is not None, "a batch is gathered with its labels"
        if self.crf is not None:
            return self.crf.loss(scores_BTC.float(), batch.target, batch.is_step).sum()
        flat = scores_BTC.float().flatten(0, 1)
        return F.cross_entropy(flat, batch.target.flatten(), ignore_index=UNLABELLED, reduction="sum")

    def answers_of(self, scores_BTC: Tensor, is_step_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tag (B, T) and the probability of each label (B, T, C) at each step."""
        scores = scores_BTC.float()
        probability = scores.softmax(dim=-1) if self.crf is None else self.crf.marginals(scores, is_step_BT)
        if self.crf is None and self.forbidden is None:
            return scores.argmax(dim=-1), probability
        n_labels = scores.shape[-1]
        transition, start, stop = scores.new_zeros(n_labels, n_labels), scores.new_zeros(n_labels), None
        if self.crf is not None:
            transition, start, stop = self.crf.transition, self.crf.start, self.crf.stop
        if self.forbidden is not None and self.forbidden_start is not None:
            transition, start = transition + self.forbidden, start + self.forbidden_start
        path = viterbi(scores, transition, start, scores.new_zeros(n_labels) if stop is None else stop, is_step_BT)
        return path, probability

    def _times(self, batch: Batch) -> list[Tensor]:
        if self.gap is None:
            return []
        hour, weekday = self.calendar
        return [self.gap(batch.gap_days), hour(batch.hour), weekday(batch.weekday)]


@dataclass(frozen=True)
class TagTensors:
    """Rows as tensors, and the windows in which they are read."""

    rows: Tagged
    windows: TagWindows
    tensors: HistoryTensors
    labels: Tensor

    @classmethod
    def of(cls, rows: Tagged, task: Tag, max_length: int) -> TagTensors:
        """Build from rows."""
        histories = with_label_history(rows) if task.label_history else rows.histories
        windows = tag_windows(histories.offsets, max_length, both=task.direction == "both")
        learned = np.where(rows.labels < rows.n_known, rows.labels, UNLABELLED).astype(np.int64)
        labels = torch.from_numpy(np.append(learned, UNLABELLED))  # the last one is read on padding
        return cls(rows, windows, HistoryTensors(histories), labels)

    def gather(self, windows: TagWindows) -> Batch:
        """Return windows as inputs and labels; those of context and padding are unlabelled."""
        batch = self.tensors.steps(Windows(windows.start, windows.stop))
        place = torch.from_numpy(windows.start)[:, None] + torch.arange(batch.is_step.shape[1])
        own = (place >= torch.from_numpy(windows.first)[:, None]) & (place < torch.from_numpy(windows.last)[:, None])
        return replace(batch, target=self.labels[torch.where(own, place, len(self.labels) - 1)])


@torch.no_grad()
def tag_rows(network: TagNetwork, rows: TagTensors) -> tuple[Tags, float, int]:
    """Return the answers to all events, the loss summed over those that have a known label, and their number."""
    network.eval()
    device = next(network.parameters()).device
    n_labels = network.head.out_features
    codes = np.zeros(len(rows.rows.labels), dtype=np.int32)
    probability = np.zeros((len(codes), n_labels), dtype=np.float32)
    loss, n_labelled = 0.0, 0
    for chosen in length_batches(rows.windows.lengths, batch_tokens=_EVENTS_AT_ONCE, batch_rows=_ROWS_AT_ONCE):
        windows = rows.windows.take(chosen)
        batch = rows.gather(windows).to(device)
        assert batch.target is not None
        scores = network.scores(batch)
        loss += float(network.loss_of(scores, batch))
        n_labelled += int((batch.target != UNLABELLED).sum())
        tags, shares = (part.cpu().numpy() for part in network.answers_of(scores, batch.is_step))
        place = windows.start[:, None] + np.arange(tags.shape[1])
        own = (place >= windows.first[:, None]) & (place < windows.last[:, None])
        codes[place[own]], probability[place[own]] = tags[own], shares[own]
    return Tags(codes, probability), loss, n_labelled


def _table(size: int, width: int) -> nn.Embedding:
    table = nn.Embedding(size, width)
    nn.init.normal_(table.weight, std=_INIT_STD)
    return table
