"""Losses over a catalogue of V items whose logits are never whole: full, sampled, binary."""

from habitus.tasks.catalogue.full import full_softmax
from habitus.tasks.catalogue.loss import CatalogueLoss
from habitus.tasks.catalogue.negatives import draw_negatives
from habitus.tasks.catalogue.precision import has_fast_bf16
from habitus.tasks.catalogue.sampled import binary_cross_entropy, gbce, gbce_beta, sampled_softmax

__all__ = [
    "CatalogueLoss",
    "binary_cross_entropy",
    "draw_negatives",
    "full_softmax",
    "gbce",
    "gbce_beta",
    "has_fast_bf16",
    "sampled_softmax",
]
