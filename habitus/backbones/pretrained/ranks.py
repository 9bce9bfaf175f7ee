"""AdaLoRA's ranks: when they are given up, and what a checkpoint must keep of them.

Which rank matters is a running average over the steps (Zhang et al. 2023, arXiv:2303.10512, eq. 9-10) that peft holds
outside of the weights; without it a resumed run would go on to other bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_FROM, _TO = 0.1, 0.7  # share of the steps in which ranks are given up
PAUSE = 10  # steps between two of these
_AVERAGES = {"sensitivity": "exp_avg_ipt", "uncertainty": "exp_avg_unc"}  # by peft's own names
_ADAPTER = "default"


def give_up_ranks(encoder: Any, step: int, n_steps: int) -> None:
    """Give up ranks that matter least, between the step and the clearing of gradients.

    Args:
        encoder: of peft, with AdaLoRA.
        step: from 0.
        n_steps: of the whole run.
    """
    adalora = encoder.base_model
    adalora.peft_config[_ADAPTER].total_step = n_steps
    adalora.rankallocator.peft_config.total_step = n_steps
    for name, share in (("tinit", _FROM), ("tfinal", 1 - _TO)):
        setattr(adalora.rankallocator.peft_config, name, int(share * n_steps))
    adalora.update_and_allocate(step)


def kept_ranks(encoder: Any) -> dict[str, Tensor]:
    """Return what is known of the ranks and stands in no weight: two averages, and which ranks are left."""
    adalora = encoder.base_model
    kept = {
        f"{ours}/{name}": value
        for ours, theirs in _AVERAGES.items()
        for name, value in getattr(adalora.rankallocator, theirs).items()
    }
    left = adalora.peft_config[_ADAPTER].rank_pattern or {}
    return kept | {f"left/{name}": torch.tensor(flags) for name, flags in left.items()}


def restore_ranks(encoder: Any, kept: Mapping[str, Tensor]) -> None:
    """Take back what `kept_ranks` returned."""
    adalora, device = encoder.base_model, next(encoder.parameters()).device
    found: dict[str, dict[str, Tensor]] = {}
    for name, value in kept.items():
        kind, _, rest = name.partition("/")
        found.setdefault(kind, {})[rest] = value
    for ours, theirs in _AVERAGES.items():
        setattr(adalora.rankallocator, theirs, {n: one.to(device) for n, one in found.get(ours, {}).items()})
    # peft adds to `ipt` what it does not know yet, and begins the averages of such a weight anew
    adalora.rankallocator.ipt = {name: torch.zeros_like(one) for name, one in adalora.rankallocator.exp_avg_ipt.items()}
    left = {name: flags.tolist() for name, flags in found.get("left", {}).items()}
    if left:
        adalora.peft_config[_ADAPTER].rank_pattern = left
