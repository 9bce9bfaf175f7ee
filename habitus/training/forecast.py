"""The study of forecasts: windows at all origins of the training part, drawn anew in every epoch if there are many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from habitus.data.series.rows import Origins
from habitus.tasks.forecast import Forecast
from habitus.tasks.forecast_batch import OriginTensors, SeriesBatch
from habitus.tasks.forecast_network import ForecastNetwork
from habitus.training.optim import Training

_MOST_VALIDATED = 1_000  # origins, evenly spread
_VALIDATION_ROWS = 128


class ForecastStudy:
    """Origins to learn from and to choose by.

    Args:
        task: gives the loss.
        train_rows, validation_rows: origins.
        windows_per_epoch: most windows of an epoch; a larger part is sampled.
    """

    def __init__(self, task: Forecast, train_rows: Origins, validation_rows: Origins, windows_per_epoch: int) -> None:
        self.task = task
        self._train = OriginTensors(train_rows)
        most = np.unique(np.linspace(0, len(validation_rows) - 1, _MOST_VALIDATED).round().astype(np.int64))
        self._validation = OriginTensors(validation_rows.take(most))
        self.n_rows = min(len(train_rows), windows_per_epoch)
        share = float(train_rows.table.seen.mean())
        n_variables = len(train_rows.table.variables)
        self.n_targets = max(1, round(self.n_rows * train_rows.horizon * n_variables * share))
        self.n_events = self.n_rows * train_rows.context

    def epoch_batches(
        self, epoch: int, training: Training, seed: int, process: int, n_processes: int
    ) -> list[np.ndarray]:
        """Return the origins of each batch, drawn by seed and epoch.

        A batch has at most `batch_rows` windows, and at most `batch_tokens` values of contexts a variable.
        """
        rng = np.random.default_rng([seed, epoch])
        n_all = len(self._train.origins)
        drawn = rng.permutation(n_all)[: self.n_rows]
        size = max(1, min(training.batch_rows, training.batch_tokens // self._train.origins.context))
        batches = np.split(drawn, np.arange(size, len(drawn), size))
        n_each = -(-len(batches) // n_processes)
        return [batches[i % len(batches)] for i in range(process, n_each * n_processes, n_processes)]

    def padding_waste(self, batches: list[np.ndarray]) -> float:
        """Return the share of slots that are padding: none, because every context has T steps."""
        return 0.0

    def gather(self, chosen: np.ndarray) -> Any:
        """Return windows as tensors."""
        return self._train.gather(chosen)

    def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, int]:
        """Return the loss summed over the values that the log has, and their number."""
        return _loss(self.task, network, batch)

    def validate(self, network: nn.Module) -> Mapping[str, Any]:
        """Return the loss of the validation origins; its negative chooses the epoch."""
        network.eval()
        total, count = 0.0, 0
        with torch.no_grad():
            for start in range(0, len(self._validation.origins), _VALIDATION_ROWS):
                rows = np.arange(start, min(start + _VALIDATION_ROWS, len(self._validation.origins)))
                batch = self._validation.gather(rows).to(next(network.parameters()).device)
                loss, n = _loss(self.task, network, batch)
                total, count = total + float(loss), count + n
        loss_mean = total / max(count, 1)
        return {
            "validation_loss": loss_mean,
            "validation_metric": -loss_mean,
            "monitor": f"negative {'pinball' if self.task.loss == 'quantile' else self.task.loss} loss",
        }


@torch.no_grad()
def forecasts(network: ForecastNetwork, origins: Origins, batch_rows: int = 128) -> np.ndarray:
    """Return outputs of all origins in their order on the scale of the training part, float32 (n, K, V, R)."""
    network.eval()
    tensors = OriginTensors(origins)
    parts = [
        network(tensors.gather(np.arange(start, min(start + batch_rows, len(origins))))).float().numpy()
        for start in range(0, len(origins), batch_rows)
    ]
    n_outputs = max(1, len(network.task.levels))
    empty = np.zeros((0, origins.horizon, len(origins.table.variables), n_outputs), np.float32)
    return np.concatenate([empty, *parts])


def _loss(task: Forecast, network: nn.Module, batch: SeriesBatch) -> tuple[Tensor, int]:
    loss_BKV = task.losses(network(batch).float(), batch.target_BKV)
    return (loss_BKV * batch.is_target_BKV).sum(), int(batch.is_target_BKV.sum())
