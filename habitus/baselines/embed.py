"""Rivals of an embedding: what counting words alone says of how alike two texts (or histories) are.

    TF-IDF                  the cosine of two bags of tokens, rare tokens weighing more
    mean of word vectors    the mean of static vectors of tokens, weighed likewise; a token's vector is its row in a
                            truncated SVD of the training texts (Deerwester et al. 1990, latent semantic analysis)

Both read the ids that the network reads. Knows nothing about torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from habitus.baselines.rival import Rival
from habitus.data.embed.answers import answers
from habitus.data.embed.rows import EmbedRows
from habitus.data.encode import EncodedSequences
from habitus.fields.category import MISSING

_WIDTH = 128


class TfIdf(Rival):
    """The cosine of bags of tokens.

    Weights are count * (ln((1 + n) / (1 + texts with the token)) + 1), as scikit-learn has them.
    """

    name: ClassVar[str] = "TF-IDF"

    def fit(self, train_rows: EmbedRows, validation_rows: EmbedRows) -> Self:
        """Count in how many training texts each token is; nothing is chosen."""
        sides = _learned_from(train_rows)
        self.sizes_ = {name: 1 + max(int(side.ids[name].max(initial=0)) for side in sides) for name in sides[0].ids}
        seen = sum((bag(side, self.sizes_) > 0).sum(0) for side in sides)
        n = sum(len(side) for side in sides)
        self.weights_ = (np.log((1 + n) / (1 + np.asarray(seen).ravel())) + 1).astype(np.float32)
        self._learn([self.vectors(side) for side in sides])
        return self

    def answer(self, rows: EmbedRows) -> np.ndarray:
        """Return cosines or ranks; see `data/embed/answers.py`."""
        left = self.vectors(rows.left)
        return answers(rows, left, left if rows.right is rows.left else self.vectors(rows.right))

    def vectors(self, encoded: EncodedSequences) -> Any:
        """Return vectors of length one, sparse (n, V)."""
        return unit_rows(bag(encoded, self.sizes_).multiply(self.weights_).tocsr())

    def to_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays and plain data for the bundle."""
        return {"weights": self.weights_}, {"sizes": list(self.sizes_.items())}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Self:
        """Build from `to_state`."""
        rival = cls()
        rival.weights_, rival.sizes_ = arrays["weights"], {str(name): int(size) for name, size in document["sizes"]}
        return rival

    def _learn(self, vectors: list[Any]) -> None:
        """Learn more from the vectors of all training texts."""


class WordVectors(TfIdf):
    """The cosine of means of static token vectors."""

    name: ClassVar[str] = "mean of word vectors"

    def vectors(self, encoded: EncodedSequences) -> Any:
        """Return vectors of length one, (n, 128) or fewer; zeros for a text without a known token."""
        sparse_vectors = super().vectors(encoded)
        if not hasattr(self, "table_"):  # while it learns
            return sparse_vectors
        dense = np.asarray(sparse_vectors @ self.table_)
        return dense / np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-12)

    def to_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays and plain data for the bundle."""
        arrays, document = super().to_state()
        return arrays | {"table": self.table_}, document

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Self:
        """Build from `to_state`."""
        rival = super().from_state(arrays, document)
        rival.table_ = arrays["table"]
        return rival

    def _learn(self, vectors: list[Any]) -> None:
        texts = sparse.vstack(vectors).tocsr().astype(np.float64)
        width = min(_WIDTH, min(texts.shape) - 1)
        if width < 1:
            self.table_ = np.ones((texts.shape[1], 1), dtype=np.float32)
            return
        start = np.random.default_rng(0).normal(size=min(texts.shape))
        self.table_ = np.ascontiguousarray(svds(texts, k=width, v0=start)[2].T, dtype=np.float32)


def bag(encoded: EncodedSequences, sizes: Mapping[str, int]) -> Any:
    """Return how often each row holds each id of each field, sparse float32 (n, V); ids beyond the sizes are left out.

    >>> from habitus.data.text.encode import token_rows
    >>> from habitus.data.pairs.ragged import Ragged
    >>> rows = token_rows("text", Ragged.of([[3, 3], [4]]), np.array([2, 1]))
    >>> bag(rows, {"text": 5}).toarray()[:, 3:].tolist()
    [[2.0, 0.0], [0.0, 1.0]]
    """
    n, blocks = len(encoded), []
    row = np.repeat(np.arange(n), encoded.lengths)
    for name, size in sizes.items():
        ids = encoded.ids[name]
        known = (ids < size) & (ids != MISSING)
        values = np.ones(int(known.sum()), dtype=np.float32)
        blocks.append(sparse.coo_matrix((values, (row[known], ids[known])), shape=(n, size)))
    return sparse.hstack(blocks).tocsr() if blocks else sparse.csr_matrix((n, 1), dtype=np.float32)


def unit_rows(matrix: Any) -> Any:
    """Return a sparse matrix with rows of length one; rows of zeros stay."""
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sparse.diags((1 / np.maximum(lengths, 1e-12)).astype(np.float32)) @ matrix


def _learned_from(rows: EmbedRows) -> list[EncodedSequences]:
    if rows.whole is not None:
        return [rows.whole]
    return [rows.left] if rows.right is rows.left else [rows.left, rows.right]


EMBED_RIVALS: dict[str, type[Rival]] = {kind.name: kind for kind in (TfIdf, WordVectors)}
