"""Self-supervised pretraining: what a network learns from histories without labels, one objective a file."""

from habitus.tasks.pretrain.network import PretrainNetwork, build_pretrain_network
from habitus.tasks.pretrain.task import OBJECTIVES, Pretrain

__all__ = ["OBJECTIVES", "Pretrain", "PretrainNetwork", "build_pretrain_network"]
