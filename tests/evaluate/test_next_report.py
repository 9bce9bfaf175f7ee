"""Reports of next-event runs are rendered from sample run folders: whole, compared, and nearly nothing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from habitus.errors import DataError
from habitus.evaluate.next_ranks import Ranks, by_popularity
from habitus.evaluate.report import write_report
from habitus.tasks.ranking import Questions

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

EVIL = "<script>alert('x')</script>"
SECTIONS = [
    "results",
    "protocol",
    "lists",
    "popularity",
    "timelines",
    "learning",
    "data",
    "rejects",
    "again",
    "careful",
]
KNN, MARKOV = "windowed item-kNN", "first-order Markov"


def interval(value: float, half: float = 0.01) -> dict[str, float | None]:
    return {"value": value, "low": value - half, "high": value + half}


def figures(base: float) -> dict[str, dict]:
    found = {f"{kind}@{k}": interval(base * (0.4 + k / 20)) for kind in ("hr", "ndcg") for k in (1, 5, 10, 20)}
    return {**found, "mrr": interval(base / 2), "coverage@10": {"value": 0.3, "low": None, "high": None}}


def judged(gap: float, n: int = 500) -> dict:
    return {
        "n": n, "n_users": 500, "metrics": {**figures(0.2), "mae_days": interval(2.5), "log_likelihood": interval(-1)},
        "standard_errors": {"ndcg@10": 0.0051, "hr@10": 0.0102, "mrr": None},
        "baselines": {KNN: figures(0.18), MARKOV: figures(0.15)},
        "differences": {f"model - {one}": {"ndcg@10": interval(gap), "hr@10": interval(0.0)} for one in (KNN, MARKOV)},
    }  # fmt: skip


def metrics(gap: float = 0.02) -> dict:
    protocol = {
        "split": "temporal: late events judge", "tie_rule": "log order; training frequency", "query_time_given": False,
        "filter_seen": True, "catalogue": 3416, "max_length": 200,
    }  # fmt: skip
    hits = {"Transformer": interval(0.3, 0.1), KNN: interval(0.2), MARKOV: interval(0.1)}
    return {
        "task": "next-event", "target": "item_id", "split": "temporal", "protocol": protocol, **judged(gap),
        "targets": {"last": judged(gap), "successive": judged(gap, n=4000)}, "notes": ["3 rows were odd"],
        "model": "Transformer", "primary": "ndcg@10", "when": True,
        "by_popularity": {"n": 500, "bands": [
            {"band": "top 20 %", "items": 30, "n": 300, "hits": hits},
            {"band": "20-40 %", "items": 90, "n": 190, "hits": hits},
            {"band": "not in training", "items": None, "n": 10, "hits": {name: interval(0, 0) for name in hits}},
        ]},
        "timelines": [{
            "entity": "u7", "n_before": 12, "rank": 2, "events": [{"time": "2024-01-03T07:15:00+00:00", "item": "茶"}],
            "next": {"time": "2024-01-04T07:15:00+00:00", "item": "the true one"},
            "recommended": [{"item": "another", "score": 1.0}, {"item": "the true one", "score": 0.5}],
        }],
        "run": {"command": "habitus fit next-event --events e.parquet --out runs/x", "seed": 3, "threads": 2,
                "date": "2026-11-22", "seconds": 61.0, "versions": {"torch": "2.13"}},
    }  # fmt: skip


def data() -> dict:
    return {
        "source": "events.parquet", "events": 120_345, "entities": 600, "items": 3416, "repeat_share": 0.4,
        "time_range": ["2023-01-01T00:04:11+00:00", "2024-06-30T23:58:02+00:00"],
        "fields": [{"name": "item_id", "kind": "category", "n_values": 3416, "missing": 0.0}],
        "split": {"by": "temporal", "seed": 0, "sentence": "late events judge", "cut": "2024-05-01T00:00:00+00:00",
                  "parts": {"train": {"targets": 100_000, "entities": 600, "windows": 900, "events": 100_600},
                            "test: last": {"targets": 500, "entities": 500, "unknown_items": 10}}},
        "lengths": {"mean": 200.6, "median": 120.0, "max": 2000, "max_length": 200, "n_events_unread": 31_337,
                    "n_entities_cut": 140, "histogram": {"edges": [1, 10, 100, 2001], "counts": [100, 300, 200]}},
        "gaps": {"n": 99_000, "median_days": 0.01, "equal_share": 0.42,
                 "histogram": {"edges_s": [0.5, 60.0, 86_400.0, 9e6], "counts": [40, 30, 20]}},
        "commonest": [{"value": f"film {k}", "count": 900 - k, "share": 0.01} for k in range(15)],
        "rejects": {"n": 4, "by_reason": {"'timestamp' is missing": 4}}, "notes": [], "padding_waste": 0.02,
    }  # fmt: skip


def history() -> list[dict]:
    return [
        {"epoch": k, "train_loss": 8 - k, "validation_loss": 1 - k / 50, "validation_metric": k / 50,
         "monitor": "ndcg@10", "is_best": k <= 3, "events_per_s": 9000.0}
        for k in range(1, 6)
    ]  # fmt: skip


def comparison() -> dict:
    gap = {"Transformer - GRU": {"ndcg@10": interval(0.001)}}
    models = {name: {"metrics": figures(0.2), "seconds": 30.0, "parameters": 81_233} for name in ("Transformer", "GRU")}
    models |= {name: {"metrics": figures(0.15), "seconds": 0.02} for name in (KNN, MARKOV)}
    return {
        "models": models,
        "differences": gap,
        "verdict": "A tie: Transformer and GRU cannot be told apart.",
        "n": 500,
    }


def write(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def page_of(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def whole_run(folder: Path) -> Path:
    return write(folder, metrics=metrics(), data=data(), history=history())


def compared_run(folder: Path) -> Path:
    return write(whole_run(folder), compare=comparison())


def minimal_run(folder: Path) -> Path:
    return write(folder, metrics={"task": "next-event", "target": "item_id", "n": 40, "metrics": {"ndcg@10": 0.1}})


RUNS = [whole_run, compared_run, minimal_run]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return {build: page_of(build(tmp_path_factory.mktemp(build.__name__))) for build in RUNS}


class Balanced(HTMLParser):
    """Fails where a tag is closed that is not open, and collects tags and attributes."""

    VOID = frozenset({"meta", "link", "br", "hr", "img", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open[-3:], self.getpos())
        self.open.pop()


def parsed(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def words(page: str) -> str:
    """Return the page's words, without its tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", page).replace("\N{NO-BREAK SPACE}", " ").replace("&nbsp;", " ").split())


@pytest.mark.parametrize("build", RUNS)
def test_page_is_whole_valid_and_asks_nothing_of_a_network(build, pages):
    page = pages[build]
    html = parsed(page)
    assert [value for name, value in html.attributes if name == "id" and value in SECTIONS] == SECTIONS
    ids = [value for name, value in html.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert not {"script", "link", "img", "iframe", "object"} & set(html.seen)
    assert not re.search(r"https?://|@import|url\((?!#)", page)
    references = [value for name, value in html.attributes if name in ("href", "xlink:href", "src")]
    assert all(value.startswith("#") and value[1:] in ids for value in references)


def test_the_same_files_give_the_same_bytes(pages, tmp_path):
    assert page_of(compared_run(tmp_path)) == pages[compared_run]


def test_the_answer_comes_first_in_a_sentence(pages):
    said = words(pages[whole_run])
    assert (
        "Transformer beats its best rival, windowed item-kNN, by 0.020 NDCG@10 on 500 test questions of 500 users"
        in said
    )


@pytest.mark.parametrize(
    ("gap", "sentence"), [(0.0, "A tie: Transformer and its best rival"), (-0.03, "does not beat")]
)
def test_a_tie_is_called_a_tie_and_a_loss_a_loss(tmp_path, gap, sentence):
    said = words(page_of(write(tmp_path, metrics=metrics(gap))))
    assert sentence in said and "The best counting rival does as well" in said


def test_a_comparison_leads_with_its_verdict(pages):
    page = pages[compared_run]
    assert page.index("Transformer and GRU cannot be told apart") < page.index('id="results"')
    assert "81,233 parameters" in words(page) and "Transformer − GRU" in words(page)


def test_a_comparison_draws_quality_against_time(pages):
    page = pages[compared_run]
    figure = re.search(r"<h3>Quality against time</h3>.*?</figure>", page, re.DOTALL)[0]
    named = re.findall(r"<li>.*?>(\d)</text></svg><bdi>(.*?)</bdi></li>", figure)
    assert named == [("1", "Transformer"), ("2", KNN), ("3", MARKOV), ("4", "GRU")]
    assert "NDCG@10 against time to learn" in figure and "Quality against time" not in pages[whole_run]


def test_the_protocol_stands_in_a_box(pages):
    box = words(re.search(r'<section id="protocol">.*?</section>', pages[whole_run], re.DOTALL)[0])
    for part in (
        "late events judge",
        "log order",
        "not given",
        "filter_seen = true",
        "3,416 items",
        "latest 200 events",
    ):
        assert part in box
    assert "500 questions of 500 users" in box and "NDCG@10 0.0051, HR@10 0.0102" in box


def test_every_target_has_its_tables(pages):
    said = words(pages[whole_run])
    assert "Last: the last event of each user" in said and "4,000 questions of 500 users" in said
    assert said.count("When it happens") == 2


def test_an_example_marks_the_event_that_came(pages):
    page = pages[whole_run]
    assert '<li class="true"><bdi>the true one</bdi></li>' in page and "<li><bdi>another</bdi></li>" in page
    assert "User u7 : the true item had rank 2" in words(page) and "After 12 earlier events" in words(page)


def test_what_is_not_read_and_not_known_is_said(pages):
    said = words(pages[whole_run])
    assert "31,337 of 120,345 events, of 140 users, are too old" in said
    assert "10 of 500 test questions ask for an item that training never saw" in said
    assert "40.0 % of training events repeat an earlier item" in said and "4 rows were refused" in said


def test_what_is_absent_is_said(pages):
    assert pages[minimal_run].count('class="absent"') >= 7


def test_names_from_data_are_escaped_wherever_they_stand(tmp_path):
    given = metrics() | {"target": EVIL, "notes": [EVIL], "model": EVIL}
    for judged_one in given["targets"].values():
        judged_one["baselines"][EVIL] = figures(0.1)
    given["timelines"][0] |= {"entity": EVIL, "recommended": [{"item": EVIL, "score": 1}]}
    given["timelines"][0]["next"]["item"] = EVIL
    given["by_popularity"]["bands"][0] |= {"hits": {EVIL: interval(0.1)}}
    facts = data() | {"source": EVIL, "commonest": [{"value": EVIL, "count": 3, "share": 0.1}]}
    page = page_of(write(tmp_path, metrics=given, data=facts))
    assert EVIL not in page and "&lt;script&gt;" in page
    assert "script" not in parsed(page).seen


def test_a_damaged_file_is_refused(tmp_path):
    folder = write(tmp_path, metrics=metrics())
    (folder / "data.json").write_text("[1]")
    with pytest.raises(DataError, match=r"data\.json' holds a list"):
        write_report(folder)


def test_bands_of_popularity_hold_a_fifth_of_training_each():
    popularity = np.array([9, 9, 9, 20, 20, 20, *[4] * 10])  # ids 0-2 are reserved; 100 training events
    targets = np.array([3, 4, 5, 6, 15, 1])
    found = by_popularity(Ranks(Questions(None, None, None, target=targets), {"m": np.ones(6, int)}), popularity)
    assert [(one["band"], one["n"], one["items"]) for one in found] == [
        ("top 20 %", 1, 1), ("20-40 %", 1, 1), ("40-60 %", 1, 1), ("60-80 %", 1, 5), ("80-100 %", 1, 5),
        ("not in training", 1, None),
    ]  # fmt: skip
