"""The network of a `Pretrained` backbone: token ids (B, T) -> token states (B, T, D).

    ids of a batch --less the reserved ones--> encoder of transformers (its embeddings, its blocks, adapters) --> states

What a bundle or a checkpoint holds of it is `state_dict`: everything for full fine-tuning, else what is trained; the
rest is read from where the encoder lies, and its hash must be that of the fit.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from habitus.backbones.pretrained.bottleneck import add_bottlenecks
from habitus.backbones.pretrained.config import Pretrained
from habitus.backbones.pretrained.dropout import attention_name, use_pooled_dropout
from habitus.backbones.pretrained.ranks import PAUSE, give_up_ranks, kept_ranks, restore_ranks
from habitus.data.batch import Batch
from habitus.data.text.pretrained import locate, sha256
from habitus.errors import BundleError, ConfigError, HabitusError, require
from habitus.fields.category import N_RESERVED

_LAYER = re.compile(r"(?:layers?|h|block)\.(\d+)\.")


class TokenIds(nn.Module):
    """What stands in the place of an embedding of events: the ids of the one field of text, (B, T) int64.

    Args:
        field: name of the text.
        pad: id of padding in the encoder.
    """

    def __init__(self, field: str, pad: int) -> None:
        super().__init__()
        self.field, self.pad = field, pad

    def forward(self, batch: Batch) -> Tensor:
        """Return ids as the encoder knows them."""
        ids = batch.ids[self.field] - N_RESERVED
        return ids.masked_fill((ids < 0) | ~batch.is_step, self.pad)


class WordPieces(nn.Module):
    """The pieces of every event of a batch, (B, T, K) int64, -1 where an event has fewer.

    Args:
        fields: names of the pieces, in order.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        super().__init__()
        self.fields = tuple(fields)

    def forward(self, batch: Batch, _: object = ()) -> Tensor:
        """Return ids as the encoder knows them."""
        pieces = torch.stack([batch.ids[name] for name in self.fields], dim=-1) - N_RESERVED
        return pieces.masked_fill((pieces < 0) | ~batch.is_step[..., None], -1)


class PretrainedStack(nn.Module):
    """Token ids (B, T) -> token states (B, T, D); or pieces of events (B, T, K) -> a state for each event (B, T, D).

    Args:
        config: the options, with what stands under their name.
    """

    def __init__(self, config: Pretrained) -> None:
        super().__init__()
        self.config = config
        self.encoder: Any = _with_adapter(_encoder(config), config)
        for name, parameter in self.encoder.named_parameters():
            if config.frozen or (config.adapter != "none" and not _is_adapter(name)):
                parameter.requires_grad_(False)
        self.n_prefix = config.rank if config.adapter == "prefix" else 0
        self.pad = int(config.config.get("pad_token_id") or 0)
        self.n_positions = config.n_positions
        self.specials: tuple[list[int], list[int]] = ([], [])
        self.side: str | None = None  # of pairs of texts: the field of the types of their tokens, where there are any
        self._kept = {name for name, one in self.encoder.named_parameters() if not one.requires_grad}
        if not config.saves_base:
            self.register_state_dict_post_hook(_drop_base)
            self.register_load_state_dict_pre_hook(_fill_base)

    def forward(self, ids_BT: Tensor, batch: Batch) -> Tensor:
        """Return states (B, T, D)."""
        if ids_BT.ndim == 3:
            ids, mask, first_BT = unrolled(ids_BT, self.specials, self.n_positions, self.pad)
            states = self._read(ids, mask)
            return states.gather(1, first_BT[..., None].expand(-1, -1, states.shape[-1]))
        types = None if self.side is None else (batch.ids[self.side] - N_RESERVED).clamp(min=0)
        return self._read(ids_BT, batch.is_step if batch.has_padding else None, types)

    def _read(self, ids_BT: Tensor, is_step: Tensor | None, types_BT: Tensor | None = None) -> Tensor:
        if is_step is None and self.n_prefix:
            is_step = torch.ones_like(ids_BT, dtype=torch.bool)
        mask = None if is_step is None else is_step.long()
        types = {} if types_BT is None else {"token_type_ids": types_BT}
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.frozen):
            states: Tensor = self.encoder(input_ids=ids_BT, attention_mask=mask, **types).last_hidden_state
        return states

    def reads_words(self, fields: Sequence[str], specials: tuple[Sequence[int], Sequence[int]]) -> WordPieces:
        """Return what gives the pieces of a batch of events; `specials` stand before and behind a row."""
        before, behind = ([one - N_RESERVED for one in ids] for ids in specials)
        self.specials = (before, behind)
        return WordPieces(fields)

    def reads(self, sizes: Mapping[str, int]) -> TokenIds:
        """Return what gives the ids of a batch, whose one field must be a text."""
        assert len(sizes) == 1, f"a pretrained encoder reads one text, not {list(sizes)}"
        return TokenIds(next(iter(sizes)), self.pad)

    def reads_pairs(self, field: str, side: str) -> TokenIds:
        """Return what gives the ids of pairs of texts; where the encoder knows types of tokens, `side` holds them."""
        if self.config.config.get("type_vocab_size", 0) > 1 and self.config.adapter != "prefix":  # peft reads none
            self.side = side
        return TokenIds(field, self.pad)

    def train(self, mode: bool = True) -> PretrainedStack:
        """Set the mode; an encoder that is held still drops nothing out."""
        super().train(mode)
        if self.config.frozen:
            self.encoder.eval()
        return self

    def rate_of(self, name: str) -> float:
        """Return the learning rate of one of its parameters, as a share of the loop's."""
        n_layers, found = self._n_layers, _LAYER.search(name)
        depth = n_layers if "embeddings" in name else 0
        if found:
            depth = n_layers - 1 - int(found.group(1))
        return self.config.share * self.config.rate_decay**depth

    def after_step(self, step: int, n_steps: int) -> None:
        """Give up ranks that matter least, between the step and the clearing of gradients; AdaLoRA alone does it."""
        if self.config.adapter == "adalora":
            give_up_ranks(self.encoder, step, n_steps)

    def carried(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps beside the weights, so that a run resumes to the same bits."""
        return kept_ranks(self.encoder) if self.config.adapter == "adalora" else {}

    def carry(self, kept: Mapping[str, Tensor]) -> None:
        """Take back what `carried` returned."""
        if self.config.adapter == "adalora":
            restore_ranks(self.encoder, kept)

    def merge(self) -> None:
        """Fold the adapter into the weights, so that answering costs no more than without it (lora, adalora)."""
        self._require_mergeable()
        self.encoder.merge_adapter()

    def unmerge(self) -> None:
        """Take the adapter out of the weights again."""
        self._require_mergeable()
        self.encoder.unmerge_adapter()

    def without_adapter(self) -> nn.Module:
        """Return the encoder with the adapter folded in for good; the stack is not to be used afterwards."""
        self._require_mergeable()
        merged: nn.Module = self.encoder.merge_and_unload()
        return merged

    @property
    def _n_layers(self) -> int:
        config = self.config.config
        return int(next((config[name] for name in ("num_hidden_layers", "n_layers") if name in config), 0))

    def _require_mergeable(self) -> None:
        if self.config.adapter not in ("lora", "adalora"):
            raise ConfigError(
                f"adapter='{self.config.adapter}' cannot be folded into the weights; lora and adalora can."
            )


def unrolled(
    pieces_BTK: Tensor, specials: tuple[Sequence[int], Sequence[int]], most: int | None, pad: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Lay the pieces of events side by side, special ids before and behind a row.

    Where a row would have more than `most` ids, its events keep fewer pieces, each at least one.

    Args:
        pieces_BTK: int64 (B, T, K), -1 where there is none; steps of padding have none.
        specials: ids before and behind.
        most: ids of a row, or None.
        pad: id of padding.

    Returns:
        Ids (B, L), which of them are real (B, L), and the place of each step's first piece (B, T), 0 on padding.

    >>> ids, real, first = unrolled(torch.tensor([[[7, 8], [9, -1]]]), ([1], [2]), None, 0)
    >>> ids.tolist(), first.tolist()
    ([[1, 7, 8, 9, 2]], [[1, 3]])
    """
    before, behind = specials
    n_specials, n_steps = len(before) + len(behind), pieces_BTK.shape[1]
    real = pieces_BTK >= 0
    if most is not None and int(real.sum((1, 2)).max()) + n_specials > most:
        kept = max(1, (most - n_specials) // n_steps)
        pieces_BTK, real = pieces_BTK[..., :kept], real[..., :kept]
    counts = real.sum(-1)
    stop = len(before) + counts.cumsum(1)
    first = stop - counts
    lengths = stop[:, -1:] + len(behind)
    width = int(lengths.max())
    place = (first[..., None] + torch.arange(pieces_BTK.shape[-1], device=pieces_BTK.device)).masked_fill(~real, width)
    ids = pieces_BTK.new_full((len(pieces_BTK), width + 1), pad)  # the last column takes what is not there
    ids.scatter_(1, place.flatten(1), pieces_BTK.flatten(1))
    for number, special in enumerate(before):
        ids[:, number] = special
    for number, special in enumerate(behind):
        ids.scatter_(1, stop[:, -1:] + number, special)
    is_real = torch.arange(width, device=ids.device) < lengths
    return ids[:, :width], is_real, first.masked_fill(counts == 0, 0)


def _encoder(config: Pretrained) -> nn.Module:
    """Return the encoder: with its weights from where it lies, or empty where a bundle holds them."""
    library = require("transformers", "text")
    library.utils.logging.set_verbosity_error()
    library.utils.logging.disable_progress_bar()
    options: dict[str, Any] = {"attn_implementation": attention_name(), "dtype": torch.float32}
    folder = _folder(config)
    if folder is None:
        own = library.AutoConfig.for_model(**config.config)
        return _bare(library.AutoModel.from_config(own, **options))
    if sha256(folder) != config.base["sha256"]:
        raise BundleError(
            f"The encoder '{config.pretrained}' in '{folder}' has other weights than those that this model was trained "
            f"beside (SHA-256 {config.base['sha256'][:12]}...); give the one of the fit."
        )
    try:
        return _bare(library.AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, **options))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:300]
        raise HabitusError(f"The encoder '{config.pretrained}' cannot be loaded: {reason}") from error


def _folder(config: Pretrained) -> Path | None:
    """Return where the weights are; None where a bundle holds all of them and they are gone, or are others now."""
    try:
        folder = locate(config.pretrained)
        same = sha256(folder) == config.base["sha256"]
    except ConfigError:
        if not config.saves_base:
            raise
        return None
    return folder if same or not config.saves_base else None


def _bare(encoder: nn.Module) -> nn.Module:
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None  # type: ignore[assignment] # states are pooled by `backbones/pool.py`
    return use_pooled_dropout(encoder)


def _with_adapter(encoder: nn.Module, config: Pretrained) -> nn.Module:
    if config.adapter == "none":
        return encoder
    if config.adapter == "bottleneck":
        add_bottlenecks(encoder, config.rank)
        return encoder
    peft = require("peft", "text")
    r, kind = config.rank, "FEATURE_EXTRACTION"
    how: dict[str, Any] = {
        "lora": lambda: peft.LoraConfig(task_type=kind, r=r, lora_alpha=2 * r, target_modules="all-linear"),
        "adalora": lambda: peft.AdaLoraConfig(
            task_type=kind, init_r=2 * r, target_r=r, lora_alpha=2 * r, total_step=10**9, deltaT=PAUSE,
            target_modules="all-linear",
        ),
        "prefix": lambda: peft.PrefixTuningConfig(task_type=kind, num_virtual_tokens=r),
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted: nn.Module = peft.get_peft_model(encoder, how[config.adapter]())
    return adapted


def _is_adapter(name: str) -> bool:
    return "lora_" in name or ".adapter." in name or "prompt_encoder" in name


def _drop_base(stack: PretrainedStack, state: dict[str, Any], prefix: str, _: Any) -> None:
    for name in stack._kept:
        state.pop(f"{prefix}encoder.{name}", None)


def _fill_base(stack: PretrainedStack, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name, parameter in _named(stack):
        state.setdefault(f"{prefix}encoder.{name}", parameter)


def _named(stack: PretrainedStack) -> Iterator[tuple[str, Tensor]]:
    own = dict(stack.encoder.named_parameters())
    return ((name, own[name]) for name in stack._kept)
