"""The wide half of wide and deep: a linear model over log(1 + count) of every value, and over the profile.

Cheng et al. 2016, arXiv:1606.07792, section 3.1. Differs from the paper: there are no crossed features, and the
weights are not trained with the network but fitted before it, as an L2 logistic regression whose strength is
chosen on the validation rows, and then held still. The network learns what is left; on training rows it is
shown what a regression fitted on the OTHER training rows says (as in stacking, Wolpert 1992), because a regression
is too sure of the rows that it was fitted on and would hide from the network what is left to learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from habitus.backbones.embed import module_key
from habitus.data.batch import Batch, bag_weights
from habitus.data.encode import EncodedSequences
from habitus.errors import require
from habitus.fields.category import PAD

_FOLDS = 5
_STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # values of C: small is strong L2


class WideBag(nn.Module):
    """Add to the logits a fixed linear function of the counts of values and of the profile.

    Args:
        sizes: ids of each category field of events.
        profile_sizes: ids of each category field of the profile.
        n_outputs: C.
    """

    def __init__(self, sizes: Mapping[str, int], profile_sizes: Mapping[str, int], n_outputs: int) -> None:
        super().__init__()
        self.events = nn.ModuleDict({module_key(name): _zeros(size, n_outputs) for name, size in sizes.items()})
        self.profile = nn.ModuleDict(
            {module_key(name): _zeros(size, n_outputs) for name, size in profile_sizes.items()}
        )
        self.bias = nn.Parameter(torch.zeros(n_outputs), requires_grad=False)

    def forward(self, batch: Batch) -> Tensor:
        """Return (B, C)."""
        logits = self.bias.expand(len(batch.lengths), -1)
        for name, ids in batch.ids.items():
            weights = batch.bag_weights[name].masked_fill(~batch.is_step, 0.0)
            logits = logits + (self.events[module_key(name)](ids) * weights[..., None]).sum(1)
        for name, ids in batch.profile_ids.items():
            logits = logits + self.profile[module_key(name)](ids)
        return logits

    @torch.no_grad()
    def fit(
        self,
        train: EncodedSequences,
        validation: EncodedSequences,
        n_outputs: int,
        groups: np.ndarray | None = None,
    ) -> np.ndarray:
        """Fit on training rows with class targets, int64 (n,), or 0/1 columns (n, C).

        Args:
            train, validation: encoded rows with targets.
            n_outputs: C.
            groups: int (n,), rows of one group are left out together (an entity's, whose histories overlap); None: an
                example's rows.

        Returns:
            Outputs (n, C) for the training rows, each from a regression that has not seen it, nor its group.
        """
        if not self._tables():
            return np.zeros((len(train), n_outputs), dtype=np.float32)
        matrix, matrix_validation = self._matrix(train), self._matrix(validation)
        coefficients, bias = _fit_linear(matrix, train.labels, matrix_validation, validation.labels, n_outputs)
        self._set_weights(coefficients, bias)
        held_out = np.zeros((len(train), n_outputs), dtype=np.float32)
        groups = train.example if groups is None else groups
        fold = np.random.default_rng(0).permutation(int(groups.max()) + 1)[groups] % _FOLDS
        for number in range(_FOLDS):
            out = fold == number
            found = _fit_linear(matrix[~out], train.labels[~out], matrix_validation, validation.labels, n_outputs)
            held_out[out] = matrix[out] @ found[0].T + found[1]
        return held_out

    def _set_weights(self, coefficients: np.ndarray, bias: np.ndarray) -> None:
        weights = torch.from_numpy(coefficients.T.astype(np.float32)).split([t.num_embeddings for t in self._tables()])
        for table, rows in zip(self._tables(), weights, strict=True):
            table.weight.copy_(rows)
            table.weight[PAD].zero_()
        self.bias.copy_(torch.from_numpy(bias.astype(np.float32)))

    def _tables(self) -> list[nn.Embedding]:
        return [*self.events.values(), *self.profile.values()]  # type: ignore[list-item]

    def _matrix(self, encoded: EncodedSequences) -> Any:
        sparse = require("scipy.sparse", "train")
        n = len(encoded)
        row = np.repeat(np.arange(n), encoded.lengths)
        blocks = []
        for (name, ids), table in zip(encoded.ids.items(), self.events.values(), strict=True):
            weights = bag_weights(encoded.offsets, encoded.ids[name])
            blocks.append(sparse.csr_matrix((weights, (row, ids)), shape=(n, table.num_embeddings)))
        for ids, table in zip(encoded.profile_ids.values(), self.profile.values(), strict=True):
            blocks.append(
                sparse.csr_matrix((np.ones(n, np.float32), (np.arange(n), ids)), shape=(n, table.num_embeddings))
            )
        return sparse.hstack(blocks, format="csr")


def _fit_linear(
    x: Any, target: np.ndarray, x_validation: Any, target_validation: np.ndarray, n_outputs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients (C, F) and bias (C,) on the scale of the network's outputs."""
    if target.ndim == 2:
        labels = [
            _fit_linear(x, t.astype(int), x_validation, v.astype(int), 2)
            for t, v in zip(target.T, target_validation.T, strict=True)
        ]
        return np.stack([c[1] - c[0] for c, _ in labels]), np.stack([b[1] - b[0] for _, b in labels])
    present = np.unique(target)
    coefficients, bias = np.zeros((n_outputs, x.shape[1])), np.zeros(n_outputs)
    if len(present) < 2:
        return coefficients, bias
    solver, best = require("sklearn.linear_model", "train").LogisticRegression(max_iter=200, warm_start=True), np.inf
    scored = present[1:] if len(present) == 2 else present
    for strength in _STRENGTHS:
        solver.set_params(C=strength).fit(x, target)
        loss = _log_loss(solver.predict_proba(x_validation), present, target_validation)
        if loss >= best:
            break
        best = loss
        coefficients[scored], bias[scored] = solver.coef_, solver.intercept_
    return coefficients, bias


def _log_loss(probability: np.ndarray, classes: np.ndarray, target: np.ndarray) -> float:
    known = np.isin(target, classes)
    chosen = probability[known, np.searchsorted(classes, target[known])]
    return float(-np.log(np.clip(chosen, 1e-12, None)).mean()) if known.any() else np.inf


def _zeros(size: int, width: int) -> nn.Embedding:
    table = nn.Embedding(size, width, padding_idx=PAD)
    nn.init.zeros_(table.weight)
    return table.requires_grad_(False)
