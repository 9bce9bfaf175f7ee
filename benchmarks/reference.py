"""The NumPy classifier of `habitus.reference` on real text: is a review of a film good or bad?

    python benchmarks/reference.py
    HABITUS_DATA=/path/to/data python benchmarks/reference.py

Forward, backward and Adam are those of `habitus/reference`; nothing but NumPy trains. IMDB (Maas et al. 2011,
https://ai.stanford.edu/~amaas/data/sentiment/): 5,000 reviews of its training half, of which 500 choose the epoch, and
2,000 of its test half, which judge. The first `--words` words of a review are read. Asked: accuracy above .80.
"""

from __future__ import annotations

import argparse
import os
import re
import tarfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from habitus import reference as ref
from habitus.metrics.intervals import wilson
from habitus.reference.classifier import N_RESERVED, Texts

DATA = Path(os.environ.get("HABITUS_DATA", "../shared/data")) / "imdb" / "aclImdb_labelled.tar.gz"
N_TRAIN, N_VALIDATION, N_TEST, BATCH = 4_500, 500, 2_000, 32


def read(words: int) -> dict[str, tuple[list[list[str]], np.ndarray]]:
    """Return (texts as words, 1 for good) of "train" and "test": equally many good and bad ones, drawn with seed 0."""
    wanted = {"train": (N_TRAIN + N_VALIDATION) // 2, "test": N_TEST // 2}
    with tarfile.open(DATA) as archive:
        names = sorted(member.name for member in archive if member.name.endswith(".txt"))
    label = {}
    for part, n in wanted.items():
        for good, folder in enumerate(("neg", "pos")):
            own = [name for name in names if f"/{part}/{folder}/" in name]
            label |= {own[index]: (part, good) for index in np.random.default_rng(0).permutation(len(own))[:n]}
    found: dict[str, list[tuple[int, list[str]]]] = {"train": [], "test": []}
    with tarfile.open(DATA) as archive:  # again, in the order of the file: going back would unpack it from its start
        for member in archive:
            if member.name in label:
                part, good = label[member.name]
                text = archive.extractfile(member).read().decode("utf-8").lower().replace("<br />", " ")
                found[part].append((good, re.findall(r"[a-z']+", text)[:words] or ["?"]))
    parts = {}
    for part, rows in found.items():
        order = np.random.default_rng(1).permutation(len(rows))
        parts[part] = [rows[i][1] for i in order], np.array([rows[i][0] for i in order])
    return parts


def ids_of(texts: list[list[str]], number: dict[str, int]) -> Texts:
    """Return words as ids; 1 is any other word."""
    lengths = np.array([len(text) for text in texts])
    ids = np.zeros((len(texts), lengths.max()), dtype=np.int64)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = [number.get(word, 1) for word in text]
    return Texts(ids, lengths)


def right(texts: Texts, good: np.ndarray, params: ref.Params) -> int:
    """Return how many answers are right, a batch at a time."""
    batches = [slice(first, first + 100) for first in range(0, len(good), 100)]
    answers = [ref.classifier_predict(Texts(texts.ids[rows], texts.lengths[rows]), params) for rows in batches]
    return int((np.concatenate(answers) == good).sum())


def bag_right(texts: dict[str, tuple[list[list[str]], np.ndarray]]) -> int:
    """Return how many answers of a bag of words with logistic regression are right."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    counter = CountVectorizer(analyzer=lambda words: words, min_df=5)
    (train, good), (test, truth) = texts["train"], texts["test"]
    fitted = LogisticRegression(C=0.1, max_iter=500).fit(counter.fit_transform(train).sign(), good)
    return int((fitted.predict(counter.transform(test).sign()) == truth).sum())


def main() -> None:
    """Train, choose the epoch on validation, judge once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=200)
    parser.add_argument("--vocabulary", type=int, default=6_000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--rate", type=float, default=0.003)
    given = parser.parse_args()
    if not DATA.exists():
        print(f"{DATA} is absent; set HABITUS_DATA to the folder of the data sets.")
        return
    texts = read(given.words)
    words, good = texts["train"]
    common = Counter(word for text in words[:N_TRAIN] for word in text).most_common(given.vocabulary)
    number = {word: place for place, (word, _) in enumerate(common, start=N_RESERVED)}
    train, validation = ids_of(words[:N_TRAIN], number), ids_of(words[N_TRAIN:], number)
    params = ref.classifier_init(np.random.default_rng(0), len(number) + N_RESERVED, 2, given.width)
    params["embedding.weight"] *= 0.1  # words start alike: what is rare stays small
    best, best_params, began = -1, params, time.process_time()
    for epoch in range(given.epochs):
        params, losses = ref.classifier_fit(
            train, good[:N_TRAIN], params, N_TRAIN // BATCH, given.rate, dropout=0.3, batch_size=BATCH, seed=epoch
        )
        n_right = right(validation, good[N_TRAIN:], params)
        if n_right > best:
            best, best_params = n_right, params
        seconds = time.process_time() - began
        print(
            f"epoch {epoch + 1}: loss {np.mean(losses):.3f}, validation {n_right / N_VALIDATION:.3f}, {seconds:.0f} s"
        )
    print(f"\n| model | accuracy on {N_TEST:,} test reviews [95 %] |\n|---|---|")
    test, truth = texts["test"]
    rows = {"habitus.reference, NumPy alone": right(ids_of(test, number), truth, best_params)}
    for name, n_right in (rows | {"bag of words + logistic regression": bag_right(texts)}).items():
        found = wilson(n_right, N_TEST)
        print(f"| {name} | {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] |")


if __name__ == "__main__":
    main()
