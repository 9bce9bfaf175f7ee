"""What pretraining learns from: slices of histories, one study an objective."""

from habitus.training.pretrain.contrastive import ContrastiveStudy
from habitus.training.pretrain.following import FollowingStudy
from habitus.training.pretrain.masked import MaskedStudy
from habitus.training.pretrain.order import OrderStudy
from habitus.training.pretrain.registry import STUDIES
from habitus.training.pretrain.slices import SliceStudy

__all__ = ["STUDIES", "ContrastiveStudy", "FollowingStudy", "MaskedStudy", "OrderStudy", "SliceStudy"]
