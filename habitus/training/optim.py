"""How a run trains: its options, the optimizer and the learning rate at every step.

The learning rate is a pure function of the step, so that there is no scheduler state to lose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from habitus.config import check_choice
from habitus.errors import ConfigError

_CHOICES = {
    "optimizer": ("adamw", "adam", "sgd"),
    "schedule": ("cosine", "linear", "constant"),
    "precision": ("fp32", "bf16"),
    "device": ("auto", "cpu"),
    "tracker": ("tensorboard", "mlflow", "wandb"),
}


@dataclass(frozen=True)
class Training:
    """Options of the training loop.

    Args:
        epochs: most passes over the training rows.
        batch_tokens: most slots (events and padding) in a batch.
        batch_rows: most rows in a batch.
        by_length: put rows of similar length into a batch, which saves padding; False: any rows, better for small data
            whose lengths say much about the answer, as those of spoken words of a few voices do.
        optimizer: "adamw", "adam" or "sgd" (momentum 0.9).
        learning_rate: at its highest.
        weight_decay: on weight matrices and embeddings, not on biases and norms.
        schedule: after the warm-up: "cosine" or "linear" to a twentieth, or "constant".
        warmup: share of all steps over which the rate rises from 0.
        clip_norm: largest norm of the gradient; 0 clips nothing.
        accumulate: batches whose gradients are summed before a step.
        average: share kept by a running average of the weights at every step, which is what is validated and
            saved; 0 turns it off.
        precision: "fp32", or "bf16" where the device is faster with it.
        patience: epochs without a better validation metric before stopping.
        checkpoint_every_s: seconds between checkpoints, beside one at the end of each epoch.
        threads: of torch; None keeps torch's choice. Part of what makes a run repeatable.
        device: "auto" takes an accelerator where there is one.
        tracker: where the curves go besides `history.json`.

    >>> Training(epochs=3).optimizer
    'adamw'
    """

    epochs: int = 14
    batch_tokens: int = 8192
    batch_rows: int = 64
    by_length: bool = True
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = 0.05
    clip_norm: float = 1.0
    accumulate: int = 1
    average: float = 0.99
    precision: Literal["fp32", "bf16"] = "fp32"
    patience: int = 4
    checkpoint_every_s: float = 30.0
    threads: int | None = None
    device: Literal["auto", "cpu"] = "auto"
    tracker: Literal["tensorboard", "mlflow", "wandb"] | None = "tensorboard"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_tokens", "batch_rows", "accumulate", "patience"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} must be 1 or more.")
        for name, choices in _CHOICES.items():
            if getattr(self, name) is not None:
                check_choice(name, getattr(self, name), choices)
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate={self.learning_rate} must be above 0, such as 0.001.")
        for name in ("weight_decay", "clip_norm", "checkpoint_every_s"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name}={getattr(self, name)} must be 0 or more.")
        for name in ("warmup", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} is a share: 0 or more and below 1.")


def build_optimizer(network: nn.Module, training: Training) -> torch.optim.Optimizer:
    """Return the optimizer, with weight decay on matrices only, and a group of weights for each share of the rate."""
    known = shares(network)
    named = [(name, one) for name, one in network.named_parameters() if one.requires_grad]
    groups = []
    for share in sorted({1.0, *(known.get(name, 1.0) for name, _ in named)}, reverse=True):
        own = [one for name, one in named if known.get(name, 1.0) == share]
        matrices, rest = [one for one in own if one.ndim > 1], [one for one in own if one.ndim <= 1]
        groups.append({"params": matrices, "weight_decay": training.weight_decay, "share": share})
        groups.append({"params": rest, "weight_decay": 0.0, "share": share})
    groups.sort(key=lambda group: group["share"] != 1.0)  # the first one's rate is the loop's own
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=training.learning_rate, momentum=0.9)
    kind = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=training.learning_rate, fused=True)


def shares(network: nn.Module) -> dict[str, float]:
    """Return the share of the learning rate of each parameter whose module has a say: `rate_of(name)`.

    >>> shares(nn.Linear(2, 2))
    {}
    """
    found: dict[str, float] = {}
    for prefix, module in network.named_modules():
        rate_of = getattr(module, "rate_of", None)
        if rate_of is not None:
            inner = ((name, f"{prefix}.{name}" if prefix else name) for name, _ in module.named_parameters())
            found |= {full: rate_of(name) for name, full in inner}
    return found


def learning_rate_at(step: int, n_steps: int, training: Training) -> float:
    """Return the learning rate of a step: linear warm-up, then the schedule.

    >>> learning_rate_at(0, 100, Training(learning_rate=1.0, warmup=0.1))
    0.1
    """
    n_warmup = max(1, round(training.warmup * n_steps))
    if step < n_warmup:
        return training.learning_rate * (step + 1) / n_warmup
    done = min(1.0, (step - n_warmup) / max(1, n_steps - n_warmup))
    shape = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[training.schedule]
    return training.learning_rate * (0.05 + 0.95 * shape)
