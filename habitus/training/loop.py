"""The training loop, for every task: read `train` from top to bottom.

Devices, precision, several processes and trackers come from accelerate; the loop, the sampler and the checkpoints are
ours because a run must resume to bit-identical weights. Every row weighs the same in an epoch: a batch's
loss is its sum over rows divided by the mean number of rows a batch, not by its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from habitus.data.batch import Batch, SequenceTensors
from habitus.data.loader import BatchSampler, length_batches, padding_waste
from habitus.errors import TrainingError, require
from habitus.tasks.base import Task
from habitus.training.callbacks import Callback
from habitus.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from habitus.training.optim import Training, build_optimizer, learning_rate_at

_TRACKER_EXTRAS = {"tensorboard": "train", "mlflow": "track", "wandb": "track"}


@dataclass(frozen=True)
class TrainingResult:
    """What a run leaves besides the weights: its history and facts worth reporting."""

    history: list[dict[str, Any]]
    best_epoch: int
    seconds: float
    padding_waste: float
    parameters: int
    threads: int
    resumed_at_step: int | None


def train(
    network: nn.Module,
    task: Task,
    train_rows: SequenceTensors,
    validation_rows: SequenceTensors,
    training: Training,
    *,
    seed: int = 0,
    folder: Path | None = None,
    resume: bool = False,
    fingerprint: str = "",
    callbacks: Sequence[Callback] = (),
) -> TrainingResult:
    """Train a network in place and leave it with the weights of its best epoch.

    Args:
        network: from `Batch` to outputs (B, C).
        task: gives the loss and the validation metric.
        train_rows, validation_rows: with targets.
        training: options.
        seed: of shuffling and dropout.
        folder: where the checkpoint and the tracker's logs go; None keeps none.
        resume: go on from the folder's checkpoint, if there is one.
        fingerprint: of the data; a checkpoint with another one is refused.
        callbacks: watch the run.

    Raises:
        TrainingError: if the loss is not finite, or the checkpoint belongs to another run.
    """
    # -- set up
    if training.threads:
        torch.set_num_threads(training.threads)
    torch.manual_seed(seed)
    accelerator = _accelerator(training, folder)
    optimizer = build_optimizer(network, training)
    raw_network = network
    network, optimizer = accelerator.prepare(network, optimizer)
    sampler = BatchSampler(
        train_rows.lengths.numpy(),
        training.batch_tokens,
        training.batch_rows,
        seed,
        accelerator.process_index,
        accelerator.num_processes,
    )
    batches = sampler.epoch_batches(0)
    n_batches, mean_rows = len(batches), len(train_rows) / (len(batches) * accelerator.num_processes)
    n_steps = -(-n_batches // training.accumulate) * training.epochs
    progress = Progress(f"{fingerprint}|{seed}|{_options(training)}", torch.get_num_threads())
    best: dict[str, Tensor] = {}
    average = _copy(raw_network.state_dict()) if training.average else {}
    checkpoint = folder / "checkpoint" if folder else None
    resumed_at_step = None
    if resume and checkpoint and (checkpoint / "progress.json").is_file():
        progress, best, average = load_checkpoint(checkpoint, progress.fingerprint, raw_network, optimizer)
        average = {name: value.to(accelerator.device) for name, value in average.items()}
        resumed_at_step = progress.step
    facts: dict[str, Any] = {
        "n_batches": n_batches,
        "epochs": training.epochs,
        "position": progress.epoch * n_batches + progress.position,
        "padding_waste": padding_waste(sampler.lengths, batches),
        "parameters": sum(p.numel() for p in raw_network.parameters()),
        "n_train": len(train_rows),
    }
    for callback in callbacks:
        callback.on_start(facts)
    last_saved = time.monotonic()

    # -- epochs
    try:
        while progress.epoch < training.epochs and progress.stale_epochs < training.patience:
            network.train()
            batches = sampler.epoch_batches(progress.epoch)
            while progress.position < len(batches):
                began = time.monotonic()
                batch = train_rows.gather(batches[progress.position]).to(accelerator.device)
                with accelerator.autocast():
                    loss_B = task.loss(network(batch).float(), _target(batch))
                loss = loss_B.sum() / (mean_rows * training.accumulate)
                _refuse_non_finite(loss, progress)
                accelerator.backward(loss)
                progress.position += 1
                if progress.position % training.accumulate == 0 or progress.position == len(batches):
                    _step(accelerator, network, optimizer, learning_rate_at(progress.step, n_steps, training), training)
                    progress.step += 1
                    _update_average(average, raw_network, training.average, progress.step)
                progress.loss_sum += float(loss_B.detach().sum())
                progress.row_sum += len(loss_B)
                seconds = time.monotonic() - began
                progress.epoch_seconds += seconds
                for callback in callbacks:
                    events_per_s = int(batch.lengths.sum()) / max(seconds, 1e-9)
                    shown = {"epoch": progress.epoch + 1, "loss": float(loss_B.detach().mean())}
                    callback.on_batch(shown | {"events_per_s": events_per_s})
                at_step = progress.position % training.accumulate == 0
                if checkpoint and at_step and time.monotonic() - last_saved >= training.checkpoint_every_s:
                    _save(accelerator, checkpoint, progress, raw_network, optimizer, best, average)
                    last_saved = time.monotonic()

            # -- validate, keep the best, note it down
            judged = average or _copy(raw_network.state_dict())
            record = _validate(accelerator, raw_network, task, validation_rows, training, judged)
            is_best = progress.best_metric is None or record["validation_metric"] > progress.best_metric
            if is_best:
                best = _copy(judged)
                progress.best_metric, progress.best_epoch = record["validation_metric"], progress.epoch + 1
            progress.stale_epochs = 0 if is_best else progress.stale_epochs + 1
            progress.seconds += progress.epoch_seconds
            record = {
                "epoch": progress.epoch + 1,
                "step": progress.step,
                "seconds": round(progress.seconds, 3),
                "train_loss": progress.loss_sum / max(progress.row_sum, 1),
                **record,
                "learning_rate": optimizer.param_groups[0]["lr"],
                "events_per_s": int(train_rows.lengths.sum()) / max(progress.epoch_seconds, 1e-9),
                "is_best": is_best,
            }
            progress.history.append(record)
            accelerator.log({k: v for k, v in record.items() if isinstance(v, int | float)}, step=progress.step)
            for callback in callbacks:
                callback.on_epoch(record)
            progress.epoch, progress.position = progress.epoch + 1, 0
            progress.loss_sum, progress.row_sum, progress.epoch_seconds = 0.0, 0, 0.0
            if checkpoint:
                _save(accelerator, checkpoint, progress, raw_network, optimizer, best, average)
                last_saved = time.monotonic()
    finally:
        for callback in callbacks:
            callback.on_end()
        accelerator.end_training()

    # -- the best epoch's weights, on the CPU
    raw_network.load_state_dict(best)
    raw_network.to("cpu").eval()
    return TrainingResult(
        progress.history,
        progress.best_epoch,
        progress.seconds,
        facts["padding_waste"],
        facts["parameters"],
        progress.threads,
        resumed_at_step,
    )


@torch.no_grad()
def score(
    network: nn.Module, rows: SequenceTensors, *, batch_tokens: int = 16_384, batch_rows: int = 512
) -> np.ndarray:
    """Return the outputs of all rows in their order, float32 (n, C); batches by length, no gradient."""
    network.eval()
    device = next(network.parameters()).device
    outputs: list[Tensor] = []
    batches = length_batches(rows.lengths.numpy(), batch_tokens=batch_tokens, batch_rows=batch_rows)
    for batch in batches:
        outputs.append(network(rows.gather(batch).to(device)).float().cpu())
    if not batches:
        return np.zeros((0, 0), dtype=np.float32)
    order = np.concatenate(batches)
    scores = torch.cat(outputs).numpy()
    in_order = np.empty_like(scores)
    in_order[order] = scores
    return in_order


def _accelerator(training: Training, folder: Path | None) -> Accelerator:
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


def _options(training: Training) -> str:
    """Return the options that decide the weights, as text."""
    irrelevant = ("threads", "checkpoint_every_s", "tracker")
    return str({name: value for name, value in asdict(training).items() if name not in irrelevant})


def _step(
    accelerator: Accelerator, network: nn.Module, optimizer: Any, learning_rate: float, training: Training
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    norm = accelerator.clip_grad_norm_(network.parameters(), training.clip_norm or math.inf)
    if norm is not None and not math.isfinite(float(norm)):
        raise TrainingError(
            "The gradient is not finite; the run stops before its weights are spoilt. Lower learning_rate, or look at "
            "the log with habitus check."
        )
    optimizer.step()
    optimizer.zero_grad()


def _update_average(average: dict[str, Tensor], network: nn.Module, share: float, step: int) -> None:
    """Move the running average of the weights towards the weights, faster at the start."""
    share = min(share, step / (step + 10))
    state = network.state_dict()
    for name, value in average.items():
        if value.is_floating_point():
            value.lerp_(state[name].detach(), 1 - share)
        else:
            value.copy_(state[name])


def _target(batch: Batch) -> Tensor:
    assert batch.target is not None, "training rows need a target"
    return batch.target


def _refuse_non_finite(loss: Tensor, progress: Progress) -> None:
    if not math.isfinite(float(loss.detach())):
        raise TrainingError(
            f"The loss is {float(loss.detach())} in epoch {progress.epoch + 1}, batch {progress.position + 1}; the run "
            "stops before its weights are spoilt. Lower learning_rate, or look at the log with habitus check."
        )


def _validate(
    accelerator: Accelerator,
    network: nn.Module,
    task: Task,
    rows: SequenceTensors,
    training: Training,
    weights: dict[str, Tensor],
) -> dict[str, Any]:
    """Return validation loss and metric under the given weights; the network keeps its own."""
    own = _copy(network.state_dict())
    network.load_state_dict(weights)
    outputs = score(network, rows)
    network.load_state_dict(own)
    assert rows.target is not None
    loss = float(task.loss(torch.from_numpy(outputs), rows.target).mean())
    metric, monitor = task.monitor_value(rows.target.numpy(), task.decode(outputs)), task.monitor
    if not math.isfinite(metric):  # such as the AUC of one class
        metric, monitor = -loss, "negative loss"
    return {"validation_loss": loss, "validation_metric": metric, "monitor": monitor}


def _save(accelerator: Accelerator, folder: Path, *state: Any) -> None:
    if accelerator.is_main_process:
        save_checkpoint(folder, *state)
    accelerator.wait_for_everyone()


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}
