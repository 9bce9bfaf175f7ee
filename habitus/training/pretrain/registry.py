"""The studies of pretraining by the name of their objective."""

from habitus.training.pretrain.contrastive import ContrastiveStudy
from habitus.training.pretrain.following import FollowingStudy
from habitus.training.pretrain.masked import MaskedStudy
from habitus.training.pretrain.order import OrderStudy
from habitus.training.pretrain.slices import SliceStudy

STUDIES: dict[str, type[SliceStudy]] = {
    "next": FollowingStudy,
    "masked": MaskedStudy,
    "contrastive": ContrastiveStudy,
    "order": OrderStudy,
}
