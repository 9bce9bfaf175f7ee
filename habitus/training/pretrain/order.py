"""The study of "order": which kinds of events stood close and which way round, told from a slice's pooled state."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from habitus.data.batch import Batch
from habitus.errors import DataError
from habitus.tasks.pretrain.order import OrderHead
from habitus.training.pretrain.slices import Rows, Slices, SliceStudy

_SIZES = {"batch_tokens": 16_384, "batch_rows": 256}
_MOST_SLICES = 20_000  # to be counted; enough to tell a deviation of .06


class OrderStudy(SliceStudy):
    """Every slice is a target."""

    def begin(self, network: nn.Module) -> None:
        """Count what holds of the training slices and what would by chance.

        Raises:
            DataError: if nothing does that would not.
        """
        head: Any = network.head
        counted, n = [], 0
        for chosen in self._batches(self._train, None, (0,), _SIZES):
            counted.append(chosen)
            n += len(chosen.row)
            if n >= _MOST_SLICES:
                break
        head.measure(self._train.gather(chosen) for chosen in counted)
        if not head.weight.any():
            raise DataError(
                f"In {n:,} slices no two kinds of events stand close more often than they would by chance; there is "
                "nothing for objective='order' to learn. Use objective='next' or 'contrastive'."
            )

    @property
    def n_targets(self) -> int:
        """The histories; a long one is several slices."""
        return self.n_rows

    def asked(self, rows: Rows, chosen: Slices) -> Batch:
        """Return slices; what is asked can be counted in them."""
        return rows.gather(chosen)

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """Return the loss summed over slices, and their number."""
        assert isinstance(network.head, OrderHead)
        return network.head.loss(network(batch), batch), len(batch.lengths)
