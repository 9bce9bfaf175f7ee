"""The wide half of wide and deep: a linear model over log(1 + count) of every value, and over the profile; for a task
of numbers also over totals (how many events, the sum of each number), because amounts add up.

Cheng et al. 2016, arXiv:1606.07792, section 3.1. Differs from the paper: there are no crossed features, and the
weights are not trained with the network but fitted before it, as an L2 logistic (for numbers: ridge) regression whose
strength is chosen on the validation rows, and then held still. The network learns what is left; on training rows it is
shown what a regression fitted on the OTHER training rows says (as in stacking, Wolpert 1992), because a regression
is too sure of the rows that it was fitted on and would hide from the network what is left to learn.

A model that goes on from a pretrained bundle also reads factors: which values stand together in histories without
labels (`factors.py`). A history's are scaled to length one, so that they tell what it is made of, not how long
it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from habitus.backbones.embed import module_key
from habitus.data.batch import Batch, bag_weights
from habitus.data.encode import EncodedSequences
from habitus.errors import require
from habitus.fields.category import PAD
from habitus.fields.number import signed_log
from habitus.tasks.factors import factored_fields

_FOLDS = 5
_FACTOR_SCALE = 10.0  # so that the penalty weighs on factors about as it does on counts
FitLinear = Callable[[Any, np.ndarray, Any, np.ndarray], tuple[np.ndarray, np.ndarray]]  # -> (C, F), (C,)
_STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # values of C: small is strong L2


class WideBag(nn.Module):
    """Add to the logits a fixed linear function of the counts of values and of the profile.

    Args:
        sizes: ids of each category field of events.
        profile_sizes: ids of each category field of the profile.
        n_outputs: C.
        numbers, profile_numbers: numbers whose totals are read; both empty: no totals.
        log_totals: take sign(x) log(1 + |x|) of totals, for a target that is a logarithm.
        n_factors: of each field with many values, taken from a pretrained bundle (`factors`); 0: none.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        profile_sizes: Mapping[str, int],
        n_outputs: int,
        numbers: Sequence[str] = (),
        profile_numbers: Sequence[str] = (),
        log_totals: bool = False,
        n_factors: int = 0,
    ) -> None:
        super().__init__()
        self.events = nn.ModuleDict({module_key(name): _zeros(size, n_outputs) for name, size in sizes.items()})
        self.profile = nn.ModuleDict(
            {module_key(name): _zeros(size, n_outputs) for name, size in profile_sizes.items()}
        )
        self.bias = nn.Parameter(torch.zeros(n_outputs), requires_grad=False)
        self._numbers, self._profile_numbers = tuple(numbers), tuple(profile_numbers)
        self._log_totals = log_totals
        self.has_totals = bool(self._numbers or self._profile_numbers)
        self.factored = factored_fields(sizes, n_factors)
        if self.factored:
            found = {module_key(name): torch.zeros(sizes[name], n_factors) for name in self.factored}
            self.factors = nn.ParameterDict({key: nn.Parameter(one, requires_grad=False) for key, one in found.items()})
            width = n_factors * len(self.factored)
            self.on_factors = nn.Parameter(torch.zeros(width, n_outputs), requires_grad=False)
        if self.has_totals:
            n_totals = 2 + 2 * len(self._numbers) + 2 * len(self._profile_numbers)
            self.totals = nn.Parameter(torch.zeros(n_totals, n_outputs), requires_grad=False)

    def forward(self, batch: Batch) -> Tensor:
        """Return (B, C)."""
        logits = self.bias.expand(len(batch.lengths), -1)
        for name, ids in batch.ids.items():
            weights = batch.bag_weights[name].masked_fill(~batch.is_step, 0.0)
            logits = logits + (self.events[module_key(name)](ids) * weights[..., None]).sum(1)
        for name, ids in batch.profile_ids.items():
            logits = logits + self.profile[module_key(name)](ids)
        if self.factored:
            logits = logits + self._factors_of(batch) @ self.on_factors
        return logits + self._totals_of(batch) @ self.totals if self.has_totals else logits

    def _factors_of(self, batch: Batch) -> Tensor:
        """Return the factors of each row, of length one a field, (B, fields * k)."""
        found = []
        for name in self.factored:
            weights = batch.bag_weights[name].masked_fill(~batch.is_step, 0.0)
            rows = functional.embedding(batch.ids[name], self.factors[module_key(name)])
            found.append(functional.normalize((rows * weights[..., None]).sum(1), dim=-1))
        return _FACTOR_SCALE * torch.cat(found, 1)

    def _totals_of(self, batch: Batch) -> Tensor:
        """Return how many events, its logarithm, and sums of numbers and of their missing flags (B, n_totals)."""
        count = batch.lengths.to(self.totals.dtype)[:, None]
        sums = [(batch.numbers[name] * batch.is_step[..., None]).sum(1) for name in self._numbers]
        profile = [batch.profile_numbers[name] for name in self._profile_numbers]
        totals = torch.cat([count, count.log(), *sums, *profile], 1)
        return totals.sign() * totals.abs().log1p() if self._log_totals else totals

    @torch.no_grad()
    def fit(
        self,
        train: EncodedSequences,
        validation: EncodedSequences,
        linear: FitLinear,
        groups: np.ndarray | None = None,
    ) -> np.ndarray:
        """Fit on training rows.

        Args:
            train, validation: encoded rows with targets.
            linear: fits a linear model; the task's.
            groups: int (n,), rows of one group are left out together (an entity's, whose histories overlap); None: an
                example's rows.

        Returns:
            Outputs (n, C) for the training rows, each from a regression that has not seen it, nor its group.
        """
        held_out = np.zeros((len(train), len(self.bias)), dtype=np.float32)
        if not self._tables() and not self.has_totals:
            return held_out
        scale = self._scale(train)
        matrix, matrix_validation = self._matrix(train, scale), self._matrix(validation, scale)
        self._set_weights(*linear(matrix, train.labels, matrix_validation, validation.labels), scale)
        groups = train.example if groups is None else groups
        fold = np.random.default_rng(0).permutation(int(groups.max()) + 1)[groups] % _FOLDS
        for number in range(_FOLDS):
            out = fold == number
            found = linear(matrix[~out], train.labels[~out], matrix_validation, validation.labels)
            held_out[out] = matrix[out] @ found[0].T + found[1]
        return held_out

    def _set_weights(self, coefficients: np.ndarray, bias: np.ndarray, scale: np.ndarray) -> None:
        sizes = [table.num_embeddings for table in self._tables()]
        n_factors = len(self.on_factors) if self.factored else 0
        *weights, factors, totals = torch.from_numpy(coefficients.T.astype(np.float32)).split(
            [*sizes, n_factors, len(scale)]
        )
        for table, rows in zip(self._tables(), weights, strict=True):
            table.weight.copy_(rows)
            table.weight[PAD].zero_()
        if self.factored:
            self.on_factors.copy_(factors)
        if self.has_totals:
            self.totals.copy_(totals / torch.from_numpy(scale.astype(np.float32))[:, None])
        self.bias.copy_(torch.from_numpy(bias.astype(np.float32)))

    def _tables(self) -> list[nn.Embedding]:
        return [*self.events.values(), *self.profile.values()]  # type: ignore[list-item]

    def _scale(self, train: EncodedSequences) -> np.ndarray:
        """Return the deviation of each total in training, so that the penalty treats them alike."""
        scale = self._totals_matrix(train).std(axis=0)
        return np.where(scale > 1e-9, scale, 1.0)

    def _totals_matrix(self, encoded: EncodedSequences) -> np.ndarray:
        """Return what `_totals_of` returns of the same rows, float64 (n, n_totals); none without totals.

        A row without events reads one whose numbers are missing.
        """
        n, lengths = len(encoded), encoded.lengths
        if not self.has_totals:
            return np.zeros((n, 0))
        row, count = np.repeat(np.arange(n), lengths), np.maximum(lengths, 1)
        columns = [count, np.log(count)]
        for name in self._numbers:
            value, missing = (np.bincount(row, weights=one, minlength=n) for one in encoded.numbers[name].T)
            columns += [value, np.where(lengths == 0, 1.0, missing)]
        for name in self._profile_numbers:
            columns += list(encoded.profile_numbers[name].T)
        totals = np.stack(columns, axis=1).astype(np.float64)
        return signed_log(totals) if self._log_totals else totals

    def _matrix(self, encoded: EncodedSequences, scale: np.ndarray) -> Any:
        sparse = require("scipy.sparse", "train")
        n = len(encoded)
        row = np.repeat(np.arange(n), encoded.lengths)
        blocks = []
        factors = []
        for (name, ids), table in zip(encoded.ids.items(), self.events.values(), strict=True):
            weights = bag_weights(encoded.offsets, encoded.ids[name])
            blocks.append(sparse.csr_matrix((weights, (row, ids)), shape=(n, table.num_embeddings)))
            if name in self.factored:
                own = blocks[-1] @ self.factors[module_key(name)].numpy()
                length = np.linalg.norm(own, axis=1, keepdims=True)
                factors.append(_FACTOR_SCALE * own / np.maximum(length, 1e-12))
        for ids, table in zip(encoded.profile_ids.values(), self.profile.values(), strict=True):
            blocks.append(
                sparse.csr_matrix((np.ones(n, np.float32), (np.arange(n), ids)), shape=(n, table.num_embeddings))
            )
        blocks += [sparse.csr_matrix(own) for own in factors]
        blocks.append(sparse.csr_matrix(self._totals_matrix(encoded) / scale))
        return sparse.hstack(blocks, format="csr")


def fit_logistic(
    x: Any, target: np.ndarray, x_validation: Any, target_validation: np.ndarray, n_outputs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients (C, F) and bias (C,) of a logistic regression, on the scale of the network's outputs.

    Targets are classes, int64 (n,), or 0/1 columns (n, C).
    """
    if target.ndim == 2:
        labels = [
            fit_logistic(x, t.astype(int), x_validation, v.astype(int), 2)
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
