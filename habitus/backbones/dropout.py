"""Dropout whose masks are slices of a pool of random bits that is drawn once.

On a CPU torch draws the random number of every element one after the other, which costs a tenth of a training step
here. A slice at a random offset of a pool of 4 million bits is as good for regularising a network; the pool comes
from a fixed seed and the offset from torch's random state, so that a resumed run drops the same elements.
On other devices, and for tensors larger than half the pool, it is torch's own dropout.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_POOL_SIZE = 4_000_037


class Dropout(nn.Module):
    """Zero a share of elements in training and scale the others up (Srivastava et al. 2014).

    Args:
        share: of elements that are dropped, 0 to 1.

    >>> Dropout(0.5).eval()(torch.ones(2)).tolist()
    [1.0, 1.0]
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Return x with elements dropped, same shape."""
        if not self.training or not self.share:
            return x
        if not is_pooled(x.device, x.numel()):
            return F.dropout(x, self.share)
        offset = int(torch.randint(_POOL_SIZE - x.numel(), ()))
        return x * _pool(self.share)[offset : offset + x.numel()].view(x.shape)

    def extra_repr(self) -> str:
        """Show the share."""
        return f"share={self.share}"


def is_pooled(device: torch.device, n: int) -> bool:
    """Whether n elements on a device are dropped by the pool."""
    return device.type == "cpu" and 2 * n <= _POOL_SIZE


@functools.lru_cache(maxsize=8)
def _pool(share: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(_POOL_SIZE, generator=generator) >= share
    return kept / (1 - share)
