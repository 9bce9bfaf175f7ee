"""Devices, precision, several processes and trackers, by accelerate."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator
from accelerate.state import AcceleratorState

from habitus.errors import require
from habitus.training.optim import Training

_TRACKER_EXTRAS = {"tensorboard": "train", "mlflow": "track", "wandb": "track"}


def open_accelerator(training: Training, folder: Path | None) -> Accelerator:
    """Return what knows devices, precision, processes and the tracker of a run, whose logs go to the folder."""
    # precision is global to accelerate; a second run in one process may want another one
    AcceleratorState._reset_state()
    tracker = training.tracker if folder else None
    if tracker:
        require({"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}[tracker], _TRACKER_EXTRAS[tracker])
    accelerator = Accelerator(
        cpu=training.device == "cpu",
        mixed_precision="bf16" if training.precision == "bf16" else "no",
        log_with=tracker,
        project_dir=str(folder) if folder else None,
    )
    if tracker:
        accelerator.init_trackers("logs")
    return accelerator
