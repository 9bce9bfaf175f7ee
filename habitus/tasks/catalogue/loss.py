"""Which loss a catalogue gets, said aloud: a choice by its size that any option overrules.

The training loop calls `loss(states, weight, bias, target)` and divides the sum by the number of targets. Negatives
come from torch's global generator, whose state the loop saves, so that a resumed run draws the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from habitus.config import check_choice
from habitus.errors import ConfigError
from habitus.fields.category import N_RESERVED
from habitus.tasks.catalogue.full import full_softmax
from habitus.tasks.catalogue.negatives import draw_negatives
from habitus.tasks.catalogue.precision import has_fast_bf16
from habitus.tasks.catalogue.sampled import binary_cross_entropy, gbce, gbce_beta, sampled_softmax

Kind = Literal["softmax", "sampled", "gbce", "bce"]

# A compromise: at 3,400 items (D=64) the full softmax takes about as long as a small encoder; its cost is in
# proportion to the items, so that at 10,000 it is three quarters of a step.
_FULL_UP_TO = 10_000


@dataclass(frozen=True)
class CatalogueLoss:
    """Say how the next item is learned.

    Args:
        kind: "softmax" over the whole catalogue, "sampled" softmax, "gbce" or "bce"; "auto" takes softmax up to
            10,000 items and sampled beyond.
        negatives: how many a batch shares, for "sampled" and "gbce"; "bce" draws one for each target, as SASRec does.
        in_batch_share: share of the shared negatives drawn from the batch's own targets (with logQ correction), for
            "sampled"; the rest is uniform.
        gbce_t: of "gbce": 0 is plain binary cross-entropy, 1 aims at calibrated probabilities.
        precision: "bf16" in the products of "softmax", where the processor is fast with it; otherwise fp32.

    >>> CatalogueLoss().choose(3417), CatalogueLoss().choose(200_003)
    ('softmax', 'sampled')
    """

    kind: Literal["auto", "softmax", "sampled", "gbce", "bce"] = "auto"
    negatives: int = 512
    in_batch_share: float = 0.0
    gbce_t: float = 0.75
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, ("auto", "softmax", "sampled", "gbce", "bce"))
        check_choice("precision", self.precision, ("fp32", "bf16"))
        if self.negatives < 1:
            raise ConfigError(f"negatives={self.negatives} leaves nothing to compare with; use 1 or more.")
        for name in ("in_batch_share", "gbce_t"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)} is a share: 0 to 1.")
        if self.in_batch_share and self.kind in ("gbce", "bce"):
            raise ConfigError(
                f"in_batch_share={self.in_batch_share} needs the logQ correction, which kind={self.kind!r} does not "
                "have; use kind='sampled' or in_batch_share=0."
            )

    def choose(self, size: int) -> Kind:
        """Return the loss that a catalogue of `size` ids (reserved ones counted) gets."""
        if self.kind != "auto":
            return self.kind
        return "softmax" if size - N_RESERVED <= max(_FULL_UP_TO, self.negatives) else "sampled"

    def sentence(self, size: int) -> str:
        """Return the choice and its reason, for a person.

        >>> print(CatalogueLoss().sentence(3417))
        Loss: softmax over all 3,414 items: chosen by size (up to 10,000 the exact loss is affordable).
        """
        items, kind = f"{size - N_RESERVED:,}", self.choose(size)
        said = {
            "softmax": f"softmax over all {items} items",
            "sampled": f"softmax over the target and {self.negatives:,} sampled negatives out of {items} items"
            + (f", {self.in_batch_share:.0%} of them from the batch, with logQ correction" * bool(self.in_batch_share)),
            "gbce": f"generalised binary cross-entropy with {self.negatives:,} sampled negatives (t={self.gbce_t:g})",
            "bce": "binary cross-entropy with one sampled negative for each target",
        }[kind]
        reason = "asked for"
        if self.kind == "auto" and kind == "softmax":
            limit = max(_FULL_UP_TO, self.negatives)
            reason = f"chosen by size (up to {limit:,} the exact loss is affordable)"
        elif self.kind == "auto":
            reason = f"chosen by size (beyond {_FULL_UP_TO:,} a full softmax would take most of the training time)"
        return f"Loss: {said}: {reason}.{self._about_precision(kind)}"

    def __call__(
        self,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        *,
        counts: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the loss summed over rows.

        Args:
            states: (N, D).
            weight: (V, D), the item embedding.
            bias: (V,) or None.
            target: int64 (N,), no reserved ids.
            counts: (V,) how often each id is a target in training, for the correction of in-batch negatives.
            generator: source of random numbers; None: torch's global one.
        """
        size, kind = len(weight), self.choose(len(weight))
        if kind == "softmax":
            precision = self.precision if has_fast_bf16() else "fp32"
            return full_softmax(states, weight, bias, target, precision=precision)
        if kind == "bce":
            own = torch.randint(N_RESERVED, size, (len(target), 1), generator=generator, device=target.device)
            return binary_cross_entropy(states, weight, bias, target, own)
        negatives, log_expected = draw_negatives(
            self.negatives,
            size,
            counts=counts,
            batch_targets=target,
            in_batch_share=self.in_batch_share,
            generator=generator,
        )
        if kind == "sampled":
            corrected = log_expected if self.in_batch_share else None
            return sampled_softmax(states, weight, bias, target, negatives=negatives, log_expected=corrected)
        rate = min(1.0, self.negatives / max(1, size - N_RESERVED - 1))
        return gbce(states, weight, bias, target, negatives, beta=gbce_beta(self.gbce_t, rate))

    def _about_precision(self, kind: Kind) -> str:
        if self.precision == "fp32":
            return ""
        if kind != "softmax":
            return " The products stay in fp32: bf16 is for the full softmax."
        if not has_fast_bf16():
            return " The products stay in fp32: this processor has no instructions for bf16, which would be slower."
        return " Its products are in bf16."
