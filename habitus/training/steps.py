"""One step of training: gradients to weights, and the running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn

from habitus.errors import TrainingError
from habitus.training.checkpoint import Progress
from habitus.training.optim import Training


def take_step(
    accelerator: Accelerator,
    network: nn.Module,
    optimizer: Any,
    learning_rate: float,
    training: Training,
    after: Callable[[], None],
) -> None:
    """Clip the gradients, move the weights, and forget the gradients.

    Args:
        accelerator, network, optimizer: of the run; the network as accelerate wrapped it.
        learning_rate: of groups whose share is 1.
        training: options.
        after: called while the gradients are still there.

    Raises:
        TrainingError: if the gradient is not finite.
    """
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["share"]
    norm = accelerator.clip_grad_norm_(network.parameters(), training.clip_norm or math.inf)
    if norm is not None and not math.isfinite(float(norm)):
        raise TrainingError(
            "The gradient is not finite; the run stops before its weights are spoilt. Lower learning_rate, or look at "
            "the log with habitus check."
        )
    optimizer.step()
    after()
    optimizer.zero_grad()


def after_step(network: nn.Module, step: int, n_steps: int) -> None:
    """Let modules that change with the steps do so, while the gradients are still there."""
    for module in network.modules():
        own = getattr(module, "after_step", None)
        if own is not None:
            own(step, n_steps)


def update_average(average: dict[str, Tensor], network: nn.Module, share: float, step: int) -> None:
    """Move the running average of the weights towards the weights, faster at the start."""
    share = min(share, step / (step + 10))
    state = network.state_dict()
    for name, value in average.items():
        if value.is_floating_point():
            value.lerp_(state[name].detach(), 1 - share)
        else:
            value.copy_(state[name])


def refuse_non_finite(loss: Tensor, progress: Progress) -> None:
    """Stop the run where its loss is no number."""
    if not math.isfinite(float(loss.detach())):
        raise TrainingError(
            f"The loss is {float(loss.detach())} in epoch {progress.epoch + 1}, batch {progress.position + 1}; the run "
            "stops before its weights are spoilt. Lower learning_rate, or look at the log with habitus check."
        )


def copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights that later steps do not move."""
    return {name: value.detach().clone() for name, value in state.items()}
