"""A pretrained encoder as the backbone: options, the network, adapters. The extra habitus[text] brings what it needs.

transformers and peft are imported here alone, and only when a network is built: that takes seconds.
"""

from habitus.backbones.pretrained.config import Pretrained

__all__ = ["Pretrained"]
