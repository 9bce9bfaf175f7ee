"""Factors of a category: which values stand together in histories, without labels and in closed form.

The counts of a history, log(1 + n) weighed by how rare a value is and scaled to length one, are written as a product of
few factors (latent semantic analysis, Deerwester et al. 1990, "Indexing by latent semantic analysis"; a randomised SVD,
Halko et al. 2011, arXiv:0909.4061). A few labels can fit a regression on the factors of a history where they cannot on
the counts of thousands of values.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from habitus.data.batch import bag_weights
from habitus.data.encode import EncodedSequences
from habitus.errors import require
from habitus.fields.category import N_RESERVED

_VALUES_A_FACTOR = 4  # a field with fewer values than this many a factor is told by its counts


def factored_fields(sizes: Mapping[str, int], n_factors: int) -> list[str]:
    """Return the fields that have factors.

    >>> factored_fields({"item_id": 3000, "category": 28}, 64)
    ['item_id']
    """
    return [name for name, size in sizes.items() if n_factors and size - N_RESERVED >= _VALUES_A_FACTOR * n_factors]


def find_factors(
    rows: EncodedSequences, sizes: Mapping[str, int], n_factors: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return the factors of each field that has any.

    Args:
        rows: histories.
        sizes: ids of each category field.
        n_factors: k.
        seed: of the randomised SVD.

    Returns:
        float32 (V, k) by field: what one unit of log(1 + count) of a value adds to the factors of a history.
    """
    fields = factored_fields(sizes, min(n_factors, len(rows) - 1))
    return {name: _factors(rows, rows.ids[name], sizes[name], n_factors, seed) for name in fields}


def _factors(rows: EncodedSequences, ids: np.ndarray, size: int, n_factors: int, seed: int) -> np.ndarray:
    sparse, extmath = require("scipy.sparse", "train"), require("sklearn.utils.extmath", "train")
    row = np.repeat(np.arange(len(rows)), rows.lengths)
    known = ids >= N_RESERVED
    weights = bag_weights(rows.offsets, ids)[known]
    counts = sparse.coo_matrix((weights, (row[known], ids[known])), shape=(len(rows), size)).tocsr()
    n_with = np.asarray((counts > 0).sum(0)).ravel()
    rarity = np.log(len(rows) / np.maximum(n_with, 1)) * (n_with > 0)
    weighed = counts.multiply(rarity).tocsr()
    length = np.sqrt(np.asarray(weighed.multiply(weighed).sum(1)).ravel())
    scaled = sparse.diags(1 / np.maximum(length, 1e-9)) @ weighed
    _, _, across = extmath.randomized_svd(scaled, n_factors, random_state=seed)
    return np.ascontiguousarray((across.T * rarity[:, None]).astype(np.float32))
