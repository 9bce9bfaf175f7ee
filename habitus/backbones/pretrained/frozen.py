"""Texts inside events through a pretrained encoder that is held still: each distinct text once, then a projection.

    token ids of an event's text (B, T, K) --name of 64 bits--> vector of the text, kept in memory --linear--> (B, T, D)

The vector is the mean of the encoder's last states, of length one. `know_texts` computes those of all rows before a
training begins, so that no step waits for the encoder; a text that was never seen, such as one at scoring, is encoded
when it is asked for. What is kept is shared by all networks of a process that read the same encoder, and is in no
bundle: a bundle names the encoder and the hash of its weights, and carries the tokenizer and the projection.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from habitus.backbones.pretrained.config import Pretrained
from habitus.data.encode import Encoder
from habitus.data.text.in_events import EventText
from habitus.errors import ConfigError
from habitus.fields.category import N_RESERVED

_INIT_STD = 0.05  # as of an embedding of many values
_TOKENS_AT_ONCE = 8192
_EVENTS_AT_ONCE = 1_000_000
_MOST_KEPT = 1_000_000  # texts beyond those of a training; when there are more, all are forgotten
_QUIET_S, _SAY_EVERY_S = 5.0, 10.0
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
    (np.uint64(31), np.uint64(1)),
)


class FrozenText(nn.Module):
    """Read the texts of events: token ids (..., K) as a batch has them -> (..., D). Only the projection is trained.

    Args:
        config: the encoder, frozen.
        width: D.
    """

    def __init__(self, config: Pretrained, width: int) -> None:
        super().__init__()
        assert config.frozen, config
        self.config = config
        self.project = nn.Linear(config.hidden_size, width)
        nn.init.normal_(self.project.weight, std=_INIT_STD)
        nn.init.zeros_(self.project.bias)
        self.missing = nn.Parameter(torch.zeros(width))

    def forward(self, ids: Tensor) -> Tensor:
        """Return (..., D); an event without a text has a vector of its own."""
        tokens = (ids.reshape(-1, ids.shape[-1]) - N_RESERVED).cpu().numpy()
        names, first, inverse = np.unique(text_names(tokens), return_index=True, return_inverse=True)
        vectors = torch.from_numpy(vectors_of(self.config).of(tokens[first], names, ids.device)).to(ids.device)
        is_text = torch.from_numpy(tokens[first, 0] >= 0).to(ids.device)
        read = torch.where(is_text[:, None], self.project(vectors), self.missing)
        place = torch.from_numpy(inverse.reshape(-1)).to(ids.device)
        return functional.embedding(place, read).view(*ids.shape[:-1], -1)

    def know(self, pieces: list[np.ndarray]) -> None:
        """Encode the texts of all events, as one array a piece, (E,) each."""
        for start in range(0, len(pieces[0]), _EVENTS_AT_ONCE):
            some = [one[start : start + _EVENTS_AT_ONCE] for one in pieces]
            tokens = np.stack(some, axis=1).astype(np.int64) - N_RESERVED
            names, first = np.unique(text_names(tokens), return_index=True)
            vectors_of(self.config).know(tokens[first], names, self.missing.device)


class TextVectors:
    """Vectors of the texts that one encoder has read; see `vectors_of`.

    Args:
        config: the encoder.
    """

    def __init__(self, config: Pretrained) -> None:
        self.config, self._lock = config, threading.Lock()
        self._stack: Any = None  # built when the first text is to be read
        self._forget()

    def __len__(self) -> int:
        return len(self._names)

    def of(self, tokens_NK: np.ndarray, names_N: np.ndarray, device: torch.device | str = "cpu") -> np.ndarray:
        """Return the vector of each of N distinct texts, float32 (N, W); zeros for those without a token.

        Args:
            tokens_NK: int64, ids of the encoder from the left, below 0 behind the last one.
            names_N: of `text_names`.
            device: where the encoder is to run.
        """
        with self._lock:
            n_new = int((self._places(names_N) < 0).sum())
            if n_new and len(self) + n_new > _MOST_KEPT + self._n_kept:
                self._forget()
            self._learn(tokens_NK, names_N, device)
            found: np.ndarray = self._table[self._places(names_N)]
            return found

    def know(self, tokens_NK: np.ndarray, names_N: np.ndarray, device: torch.device | str = "cpu") -> None:
        """Encode texts that are going to be asked for again and again; arguments as of `of`."""
        with self._lock:
            self._learn(tokens_NK, names_N, device)
            self._n_kept = len(self)

    def _learn(self, tokens_NK: np.ndarray, names: np.ndarray, device: torch.device | str) -> None:
        new = np.flatnonzero(self._places(names) < 0)
        if len(new):
            self._add(names[new], self._encoded(tokens_NK[new], device))

    def _forget(self) -> None:
        self._names, self._rows = np.zeros(0, np.uint64), np.zeros(0, np.int64)
        self._table = np.zeros((0, self.config.hidden_size), np.float32)
        self._n_kept = 0

    def _places(self, names: np.ndarray) -> np.ndarray:
        """Return the row of each text, -1 where it is not known."""
        if not len(self):
            return np.full(len(names), -1)
        at = np.minimum(np.searchsorted(self._names, names), len(self) - 1)
        return np.where(self._names[at] == names, self._rows[at], -1)

    def _add(self, names: np.ndarray, vectors: np.ndarray) -> None:
        """Put rows behind the known ones; room for them doubles, so that texts may come one by one."""
        n, order = len(self), np.argsort(names)
        if n + len(names) > len(self._table):
            room = np.zeros((max(n + len(names), 2 * n), vectors.shape[1]), np.float32)
            room[:n] = self._table[:n]
            self._table = room
        self._table[n : n + len(names)] = vectors
        at = np.searchsorted(self._names, names[order])
        self._names, self._rows = np.insert(self._names, at, names[order]), np.insert(self._rows, at, n + order)

    @torch.no_grad()
    def _encoded(self, tokens_NK: np.ndarray, device: torch.device | str) -> np.ndarray:
        """Encode texts, those of one length together, so that none is padded and each is read as if alone."""
        lengths = (tokens_NK >= 0).sum(1)
        found = np.zeros((len(tokens_NK), self.config.hidden_size), np.float32)
        if not lengths.any():
            return found
        encoder, say = self._encoder(device), partial(_say, time.monotonic(), [0.0], int((lengths > 0).sum()))
        done = 0
        for length in np.unique(lengths[lengths > 0]):
            own, at_once = np.flatnonzero(lengths == length), max(1, _TOKENS_AT_ONCE // length)
            for some in np.split(own, range(at_once, len(own), at_once)):
                ids = torch.from_numpy(tokens_NK[some, :length].astype(np.int64)).to(device)
                states = encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.float()
                found[some] = functional.normalize(states.mean(1), dim=-1).cpu().numpy()
                done += len(some)
                say(done)
        return found

    def _encoder(self, device: torch.device | str) -> Any:
        if self._stack is None:
            with torch.random.fork_rng(devices=[]):  # building draws weights, which shall not move a run's own draws
                self._stack = self.config.build().eval()
        return self._stack.to(device).encoder


def text_names(tokens_NK: np.ndarray) -> np.ndarray:
    """Return a name of 64 bits for each row of tokens, uint64 (N,), whatever stands behind the last one.

    A sum of mixed words (splitmix64, Steele et al. 2014, "Fast splittable pseudorandom number generators"): of a
    million texts two share a name with a probability of 3e-8.

    >>> names = text_names(np.array([[5, 6, -1], [5, 6, -2], [6, 5, -1]]))
    >>> bool(names[0] == names[1]), bool(names[0] == names[2])
    (True, False)
    """
    with np.errstate(over="ignore"):
        place = np.arange(1, tokens_NK.shape[1] + 1, dtype=np.uint64) * _GOLDEN
        mixed = tokens_NK.astype(np.uint64) + place
        for shift, factor in _MIX:
            mixed = (mixed ^ (mixed >> shift)) * factor
        named: np.ndarray = np.where(tokens_NK >= 0, mixed, np.uint64(0)).sum(1, dtype=np.uint64)
    return named


def vectors_of(config: Pretrained) -> TextVectors:
    """Return what this process knows of an encoder's texts: one for the same weights, whatever network asks."""
    with _SHARED_LOCK:
        return _SHARED.setdefault(config.base["sha256"], TextVectors(config))


def frozen_texts(encoder: Encoder) -> dict[str, Pretrained]:
    """Return the encoder of each field of events that is read through a frozen one.

    Raises:
        ConfigError: if more tokens are to be read than it has positions.
    """
    found = {}
    for name, fitted in encoder.fields.items():
        if isinstance(fitted, EventText) and fitted.base is not None:
            found[name] = Pretrained(fitted.spec.tokenizer, frozen=True, base=fitted.base)
            most, room = fitted.spec.n_tokens, found[name].n_positions
            if room is not None and most > room:
                raise ConfigError(
                    f"Field '{name}': most={most} is more than '{fitted.spec.tokenizer}' has positions; use {room} or "
                    "less."
                )
    return found


_SHARED: dict[str, TextVectors] = {}
_SHARED_LOCK = threading.Lock()


def _say(began: float, last: list[float], n: int, done: int) -> None:
    """Say on stderr how far a long reading is."""
    seconds = time.monotonic() - began
    if seconds < _QUIET_S or (seconds - last[0] < _SAY_EVERY_S and done < n):
        return
    last[0] = seconds
    print(f"reading texts: {done:,} of {n:,} distinct ones, {done / seconds:,.0f} a second", file=sys.stderr)


def know_texts(network: nn.Module, *rows: Mapping[str, np.ndarray]) -> None:
    """Encode the texts of all rows that a network is going to read, those that are not known yet.

    Args:
        network: any; one that reads no text through a frozen encoder is left alone.
        rows: ids by name, (E,) each, as encoded rows hold them.
    """
    for module in network.modules():
        for pieces, text in getattr(module, "frozen_pieces", dict)().items():
            for ids in rows:
                text.know([ids[name] for name in pieces])
