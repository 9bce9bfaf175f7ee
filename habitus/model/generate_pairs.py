"""`GenerateModel`: a sequence in, a sequence out, learned from pairs.

pairs -> split by source -> vocabularies of the training side -> train -> rivals -> judge
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import torch

from habitus.backbones.encoder_decoder import EncoderDecoder
from habitus.baselines.generate import GENERATE_BASELINES
from habitus.baselines.rival import Rival
from habitus.config import build
from habitus.data.pairs.batch import PairTensors, pair_batches
from habitus.data.pairs.encoder import PairEncoder
from habitus.data.pairs.ragged import Ragged
from habitus.data.pairs.split import PairSplit, kept_apart
from habitus.data.pairs.table import PairData, PairRows, PairTable, is_list, keys_of, read_pairs
from habitus.data.rejects import Rejects
from habitus.errors import ConfigError, did_you_mean
from habitus.evaluation import Evaluation
from habitus.metrics.text import choose_tokenizer, signature
from habitus.model.generate_panels import generate_panels
from habitus.model.task_model import TaskModel
from habitus.prepared_task import PreparedTask
from habitus.tasks.decoding import Decoding, write
from habitus.tasks.generate import Generate, GenerateNetwork
from habitus.tasks.sampling import Sampling
from habitus.training.generate import PairStudy

_KINDS = ("transformer", "lstm", "gru", "rnn")
_GREEDY = Decoding("greedy")


@dataclass(frozen=True)
class GenerateOptions:
    """How answers are written, and which rivals stand beside them.

    Args:
        decoding: "beam", "greedy" or "sample"; epochs are judged on greedy answers.
        beam_size: beginnings that beam search keeps.
        length_penalty: alpha of beam search (Wu et al. 2016, eq. 14).
        temperature: of "sample": below 1 safer, above 1 more varied, 0 the best token.
        top_k: of "sample": draw from the k best tokens only.
        top_p: of "sample": draw from the fewest best tokens that together have at least this probability.
        seed: of "sample".
        baselines: rivals without a network that are fitted beside the model.
    """

    decoding: Literal["beam", "greedy", "sample"] = "beam"
    beam_size: int = 4
    length_penalty: float = 0.6
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    baselines: tuple[str, ...] = tuple(GENERATE_BASELINES)

    def __post_init__(self) -> None:
        for name in self.baselines:
            if name not in GENERATE_BASELINES:
                raise ConfigError(f"There is no baseline '{name}'; {did_you_mean(name, GENERATE_BASELINES)}")
        self.how()

    def how(self) -> Decoding:
        """Return how answers are written."""
        sampling = Sampling(temperature=self.temperature, top_k=self.top_k, top_p=self.top_p, seed=self.seed)
        return Decoding(self.decoding, self.beam_size, self.length_penalty, sampling)


class GenerateModel(TaskModel, tasks=(Generate,)):
    """A `SequenceModel` that writes a sequence for a sequence; see there for the arguments."""

    sources: ClassVar[tuple[str, ...]] = ("pairs",)
    data_kind = PairData
    split_kind = PairSplit
    options_kind = GenerateOptions
    encoder_kind = PairEncoder
    rival_kinds: ClassVar[Mapping[str, type[Rival]]] = GENERATE_BASELINES

    task: Generate
    data: PairData
    split: PairSplit
    options: GenerateOptions
    backbone: EncoderDecoder  # type: ignore[assignment]  # no body for step states, as those of other tasks
    encoder_: PairEncoder
    network_: GenerateNetwork

    @classmethod
    def default_backbone(cls) -> EncoderDecoder:  # type: ignore[override]
        """Return a Transformer encoder-decoder."""
        return EncoderDecoder()

    @classmethod
    def backbone_from(cls, options: Mapping[str, Any]) -> EncoderDecoder:
        """Build from options whose `name` is the kind, such as "lstm"."""
        kind = str(options.get("name", "transformer"))
        if kind not in _KINDS:
            raise ConfigError(f"There is no backbone '{kind}' for the task 'generate'; {did_you_mean(kind, _KINDS)}")
        return build(EncoderDecoder, {**{k: v for k, v in options.items() if k != "name"}, "kind": kind}, "[backbone]")

    @classmethod
    def backbone_options(cls, backbone: EncoderDecoder) -> dict[str, Any]:
        """Return plain options, from which `backbone_from` builds the same backbone."""
        options = asdict(backbone)
        return {"name": options.pop("kind"), **options}

    @property
    def name(self) -> str:
        """How tables call it."""
        return self.backbone.label

    # -- reading

    def prepare(self, *sources: Any) -> PreparedTask:
        """Read pairs, divide them by source, learn the vocabularies of the training side and encode."""
        (pairs,) = sources
        task, split = self.task, self.split
        tables = [read_pairs(pairs, task.source, task.target)]
        parts = [split.assign(keys_of(tables[0].sources))]
        for name, path in (("validation", split.validation_pairs), ("test", split.test_pairs)):
            if path is not None:
                tables.append(read_pairs(path, task.source, task.target))
                parts.append(np.full(len(tables[-1].sources), name))
        sides, notes = _joined(tables, task)
        keys, part = keys_of(sides[0]), np.concatenate(parts)
        part, left_out = kept_apart(keys, part)
        is_train = pl.Series(part == "train")
        encoder = PairEncoder.learn(sides[0].filter(is_train), sides[1].filter(is_train), self.data)
        rows, said = encoder.encode(*sides)
        facts = {**encoder.facts(), "split": split.sentence(), "left_out": left_out}
        notes += said + ([_left_out_note(left_out)] if left_out else [])
        rejects = Rejects.together([table.rejects for table in tables])
        return PreparedTask(
            tables[0].label, encoder, rows, part, keys, facts=facts, notes=tuple(notes), rejects=rejects
        )

    def own_sources(self) -> tuple[str | None, ...]:
        """Return the pairs that judge by their own file, where the split names one; else those of the fit."""
        return (self.split.test_pairs,) if self.split.test_pairs else super().own_sources()

    def read(self, *sources: Any) -> PreparedTask:
        """Read pairs with their targets for a fitted model."""
        (pairs,) = sources
        table = read_pairs(pairs, self.task.source, self.task.target)
        assert table.targets is not None, "asked for"
        rows, said = self.encoder_.encode(table.sources, table.targets)
        notes = [*table.notes, *said]
        part, keys = np.full(len(rows), "given"), keys_of(table.sources)
        return PreparedTask(table.label, self.encoder_, rows, part, keys, notes=tuple(notes), rejects=table.rejects)

    # -- answering

    def truth(self, rows: PairRows) -> list[Any]:
        """Return the targets, texts or token lists."""
        assert rows.targets is not None, "judged pairs have targets"
        return rows.targets.to_list()

    def answer(self, rows: PairRows) -> list[Any]:
        """Return what the model writes, texts or token lists."""
        return answers(self.network_, self.encoder_, rows, self.options.how())[0]

    def predict(self, *sources: Any) -> pl.DataFrame:
        """Write an answer for every source.

        Args:
            sources: the table of pairs; its target column need not be there.

        Returns:
            The table's columns and `generated`, text or lists; rows that cannot be used are left out, and counted in
            `rejects_`.
        """
        self._require_fitted()
        (pairs,) = sources
        table = read_pairs(pairs, self.task.source, None)
        rows, said = self.encoder_.encode(table.sources, None)
        self.rejects_, self.notes_ = table.rejects, [*table.notes, *said]
        dtype = pl.List(pl.String) if self.encoder_.target.kind == "list" else pl.String
        return table.frame.with_columns(pl.Series("generated", self.answer(rows), dtype=dtype))

    def align(self, source: Any, target: Any) -> tuple[list[str], list[str], np.ndarray]:
        """Return the tokens of both sides and how much each target token looks at each source token, (Q, T).

        Args:
            source: a text or a token list.
            target: likewise; the end mark is added.
        """
        self._require_fitted()
        rows, _ = self.encoder_.encode(pl.Series([source]), pl.Series([target]))
        batch = PairTensors(rows).gather(np.array([0]))
        weights = self.network_.alignment(batch)[0].numpy()
        names = self.encoder_.source.pieces(rows.source_ids.values.tolist())
        return names, self.encoder_.target.pieces(rows.target_ids.values.tolist()), weights

    def panels(self, rows: PairRows, truth: Any, answers: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return examples, and the attention of one of them."""
        return generate_panels(self, rows, truth, answers)

    # -- inside

    def _build_network(self) -> GenerateNetwork:
        encoder = self.encoder_
        return GenerateNetwork(
            encoder.source.size,
            encoder.target.size,
            self.backbone,
            joint=encoder.joint,
            label_smoothing=self.task.label_smoothing,
        )

    def _study(self, train_rows: PairRows, validation_rows: PairRows) -> PairStudy:  # type: ignore[override]
        encoder = self.encoder_
        return PairStudy(
            self.task,
            train_rows,
            validation_rows,
            lambda network, rows: answers(network, encoder, rows, _GREEDY)[0],
        )

    def _check(self) -> None:
        if not isinstance(self.backbone, EncoderDecoder):
            raise ConfigError(
                f"backbone={self.backbone!r} cannot write a sequence; give EncoderDecoder(kind=...) with kind "
                f"{', '.join(_KINDS)}."
            )

    def _judge(self, rows: PairRows, split: str, notes: Sequence[str]) -> Evaluation:
        """Say with the figures which BLEU they are, and how answers were written."""
        found = super()._judge(rows, split, notes)
        how = self.options.how()
        written = f"beam {how.beam_size}, length penalty {how.length_penalty:g}" if how.method == "beam" else how.method
        tokenizer = choose_tokenizer(self.truth(rows), self.task.bleu_tokenizer)
        own = {"BLEU": f"sacrebleu, signature {signature(tokenizer)}", "answers written by": written}
        return replace(found, protocol={**found.protocol, **own})


def answers(
    network: GenerateNetwork, encoder: PairEncoder, rows: PairRows, decoding: Decoding, *, batch_tokens: int = 4096
) -> tuple[list[Any], np.ndarray]:
    """Return what a network writes for pairs, texts or token lists, and its scores (n,)."""
    network.eval()
    tensors, device = PairTensors(rows), next(network.parameters()).device
    lengths = rows.source_ids.lengths
    batches = pair_batches(lengths, np.zeros_like(lengths), batch_tokens=batch_tokens, batch_rows=128)
    ids: list[list[int]] = [[] for _ in range(len(rows))]
    scores = np.zeros(len(rows))

    def step(last: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        logits, after = network.step(last.to(device), state)
        return logits.cpu(), after

    with torch.no_grad():
        for chosen in batches:
            batch = tensors.gather(chosen).to(device)
            state = network.start(network.encode(batch.source_BT, batch.lengths))
            written = write(step, state, len(chosen), decoding, encoder.longest, encoder.target.size)
            scores[chosen] = written.scores
            for row, found in zip(chosen.tolist(), written.ids, strict=True):
                ids[row] = found
    return encoder.target.decode(Ragged.of(ids)), scores


def _joined(tables: Sequence[PairTable], task: Generate) -> tuple[tuple[pl.Series, pl.Series], list[str]]:
    """Return the sources and the targets of all tables, and what is to be said of them."""
    sources = [table.sources for table in tables]
    targets = [table.targets for table in tables if table.targets is not None]
    for name, sides in ((task.source, sources), (task.target, targets)):
        if len({is_list(side) for side in sides}) > 1:
            raise ConfigError(f"Column '{name}' is text in one table and lists in another; give the same kind in all.")
    notes = [note for table in tables for note in table.notes]
    return (pl.concat(sources), pl.concat(targets)), notes


def _left_out_note(n: int) -> str:
    return f"{n:,} pairs are left out of training or validation: their source stands in the pairs that judge or choose."
