"""What a causal backbone remembers between the events of a stream, so that one more event costs one step.

`StreamState` is a value: a step returns a new one, and the old one still answers as before. Keys and values are kept
in a `Memory` that the states of a stream share and that grows by doubling, so that no step copies what is there; a
second step from the same state (a branch) is noticed and gets a memory of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_FIRST_CAPACITY = 64


class Memory:
    """Keys, values and days of the steps that a Transformer has read; it grows as steps are added.

    Args:
        keys_values: float32 (L, 2, B, H, capacity, d).
        days: float64 (B, capacity), since any origin.
        n_filled: steps in it, the leading step among them.
        n_dropped: steps that stood after the leading step and are out of the window by now.
    """

    def __init__(self, keys_values: np.ndarray, days: np.ndarray, n_filled: int, n_dropped: int = 0) -> None:
        self.keys_values, self.days, self.n_filled, self.n_dropped = keys_values, days, n_filled, n_dropped

    @classmethod
    def empty(cls, n_layers: int, n_streams: int, n_heads: int, head_width: int) -> Memory:
        """Return a memory of no step."""
        shape = (n_layers, 2, n_streams, n_heads, _FIRST_CAPACITY, head_width)
        return cls(np.zeros(shape, np.float32), np.zeros((n_streams, _FIRST_CAPACITY)), 0)

    def with_room(self, index: int) -> Memory:
        """Return a memory to write into at `index`: this one, or a copy if another step stands there."""
        if index < self.n_filled:
            return Memory(*self.first(index), index, self.n_dropped).with_room(index)
        if index == self.days.shape[1]:  # in place: earlier states read the same steps of the larger arrays
            self.days = np.concatenate([self.days, np.zeros_like(self.days)], axis=1)
            self.keys_values = np.concatenate([self.keys_values, np.zeros_like(self.keys_values)], axis=4)
        return self

    def within(self, window: int | None, index: int) -> Memory:
        """Return a memory for the step at `index` that need not keep what is out of the window: this one, or a copy.

        Steps are dropped `window` at a time, so that a copy is seldom made; earlier states read the memory as it was.
        """
        if window is None or index < 2 * window:
            return self
        kept = np.r_[0, index - window + 1 : index]
        n_dropped = self.n_dropped + index - window
        return Memory(self.keys_values.take(kept, axis=4), self.days.take(kept, axis=1), window, n_dropped)

    def days_ahead(self, days_B: np.ndarray, index: int) -> np.ndarray:
        """Note when step `index` was; return days from it to all steps so far: float32 (B, 1 + index), 0 for the lead.

        Taken apart in double precision: in single, a day since 1970 is known to two minutes.
        """
        self.days[:, index] = days_B
        ahead_BT = (self.days[:, : index + 1] - days_B[:, None]).astype(np.float32)
        ahead_BT[:, 0] = 0.0
        return ahead_BT

    def first(self, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Return copies of the keys and values, and of the days, of the first steps."""
        return self.keys_values[..., :n_steps, :].copy(), self.days[:, :n_steps].copy()


@dataclass(frozen=True)
class StreamState:
    """Everything a backbone knows of a stream so far; of B streams that have read equally many events.

    Args:
        n_steps: events read.
        hidden: of a recurrent backbone, (L, B, D).
        cell: of an LSTM, (L, B, D), beside `hidden`.
        memory: of a Transformer.

    >>> StreamState(2, hidden=torch.zeros(1, 1, 4)).tensors()["n_steps"].item()
    2
    """

    n_steps: int
    hidden: Tensor | None = None
    memory: Memory | None = None
    cell: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Return the state as named tensors, to be saved; they share nothing with the stream."""
        named = {"n_steps": torch.tensor(self.n_steps)}
        if self.hidden is not None:
            named["hidden"] = self.hidden.clone()
        if self.cell is not None:
            named["cell"] = self.cell.clone()
        if self.memory is not None:
            keys_values, days = self.memory.first(1 + self.n_steps - self.memory.n_dropped)
            named |= {"keys_values": torch.from_numpy(keys_values), "days": torch.from_numpy(days)}
        return named

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> StreamState:
        """Return the state that gave these tensors.

        >>> StreamState.from_tensors({"n_steps": torch.tensor(3), "hidden": torch.zeros(1, 1, 4)}).n_steps
        3
        """
        n_steps = int(tensors["n_steps"])
        if "hidden" in tensors:
            cell = tensors["cell"].clone() if "cell" in tensors else None
            return cls(n_steps, hidden=tensors["hidden"].clone(), cell=cell)
        keys_values, days = (tensors[name].numpy(force=True).copy() for name in ("keys_values", "days"))
        n_kept = days.shape[1]
        return cls(n_steps, memory=Memory(keys_values, days, n_kept, 1 + n_steps - n_kept))
