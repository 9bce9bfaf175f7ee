"""Reports are rendered from sample run folders: two classes, several classes, several labels, and nearly nothing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from habitus.errors import DataError
from habitus.evaluate.report import write_report

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

EVIL = "<script>alert('x')</script>"
SECTIONS = ["results", "curves", "learning", "lengths", "commonest", "data", "leaks", "rejects", "confusion"]
SECTIONS += ["again", "careful"]
BAG, TREES, GRU = "bag + logistic regression", "bag + LightGBM", "GRU"


def interval(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def write(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def page_of(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def binary_metrics() -> dict:
    values = {"auc": 0.842, "average_precision": 0.517, "log_loss": 0.341, "brier": 0.104, "ece": 0.012, "ks": 0.53}
    baselines = {
        BAG: {name: interval(value + (-0.03 if value > 0.4 else 0.011), 0.014) for name, value in values.items()},
        TREES: {name: interval(value + (-0.012 if value > 0.4 else 0.004), 0.0135) for name, value in values.items()},
        GRU: {name: interval(value + (-0.003 if value > 0.4 else 0.001), 0.0132) for name, value in values.items()},
    }
    return {
        "task": "classify", "target": "defaulted", "n": 4000, "split": "test", "primary": "auc", "labels": ["0", "1"],
        "metrics": {name: interval(value, 0.013) for name, value in values.items()},
        "baselines": baselines,
        "differences": {
            f"model - {name}": {
                metric: interval(values[metric] - baselines[name][metric]["value"], 0.006) for metric in values
            }
            for name in baselines
        },
        "calibration": {
            "method": "isotonic on the validation part",
            "before": {"ece": interval(0.041, 0.007), "brier": interval(0.109, 0.006)},
            "after": {"ece": interval(0.012, 0.006), "brier": interval(0.104, 0.006)},
        },
        "run": {
            "command": "habitus fit installs.parquet --examples labels.parquet --target defaulted "
            "--backbone transformer --set backbone.n_layers=2 --seed 7 --out runs/defaulted",
            "seed": 7, "threads": 2, "versions": {"habitus": "0.1.0", "torch": "2.13.0", "python": "3.11.9"},
            "machine": "Linux x86_64, 2 cores, no accelerator", "date": "2025-11-22", "seconds": 384.2,
        },
    }  # fmt: skip


def data_facts() -> dict:
    edges = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048]
    counts = [31, 120, 402, 988, 2204, 4310, 5402, 3904, 1722, 604, 172, 41]
    values = ["微信 (com.tencent.mm)", "📱 Quick Loan 💸", "com.whatsapp", "بنك المستقبل", "Яндекс Карты", EVIL]
    values += [f"com.example.app{k:02d}" for k in range(16)]
    return {
        "events": 1_204_533, "entities": 19_900, "examples": 19_900,
        "time_range": ["2023-01-01T00:04:11.120000+00:00", "2024-06-30T23:58:02+00:00"],
        "fingerprint": "sha256:9f2b6c1e0d5a4f7788aa41c09b0e3d127f5c6a9d8e7b6f5a4c3d2e1f00112233",
        "fields": [
            {"name": "app", "kind": "category", "role": "event", "n_values": 18_230, "missing": 0.0},
            {"name": "action", "kind": "category", "role": "event", "n_values": 4, "missing": 0.0012},
            {"name": "size_mb", "kind": "number", "role": "event", "n_values": 9_112, "missing": 0.031},
            {"name": "age", "kind": "number", "role": "profile", "n_values": 62, "missing": 0.084},
        ],
        "split": {
            "by": "entity", "seed": 0,
            "sentence": "Entities were dealt at random: 65 % to train, 15 % to validation, 20 % to test.",
            "parts": {
                "train": {"examples": 12_935, "entities": 12_935, "positive_rate": 0.151, "events": 783_000},
                "validation": {"examples": 2_965, "entities": 2_965, "positive_rate": 0.148, "events": 180_120},
                "test": {"examples": 4_000, "entities": 4_000, "positive_rate": 0.153, "events": 241_413},
            },
        },
        "lengths": {
            "mean": 60.5, "median": 33, "max": 1_904, "max_length": 512, "n_events_cut": 28_114,
            "n_examples_cut": 213, "history": "latest", "histogram": {"edges": edges, "counts": counts},
        },
        "padding_waste": 0.034,
        "commonest": [
            {"field": "app", "value": value, "count": int(90_000 / (k + 1.5)), "share": 0.075 / (k + 1.5),
             "rate_with": None if k == 3 else 0.1 + 0.012 * k}
            for k, value in enumerate(values)
        ],
        "leaks": [
            {"severity": "warning", "sentence": "'app' = 'loan_repaid' is in 96 % of true examples, in 1 % of others."},
            {"severity": "note", "sentence": "The number of events alone reaches AUC 0.61."},
        ],
        "rejects": {"n": 412, "by_reason": {"time is in the future": 300, "entity is null": 112}},
        "notes": ["column 'debug' ignored: it has one value.", "3 infinite numbers in 'size_mb' are read as missing."],
    }  # fmt: skip


def history() -> list[dict]:
    return [
        {
            "epoch": k, "step": 100 * k, "seconds": 31.0 * k, "train_loss": 0.31 + 0.24 / k**0.7 - 0.004 * k,
            "validation_loss": 0.34 + 0.19 / k + 0.0028 * max(0, k - 7) ** 1.2,
            "validation_metric": 0.845 - 0.2 / k**1.3 - 0.0011 * max(0, k - 7), "learning_rate": 1e-3,
            "events_per_s": 24_100.0, "monitor": "auc", "is_best": k <= 8,
        }
        for k in range(1, 13)
    ]  # fmt: skip


def comparison() -> dict:
    names = {"transformer": 0.842, GRU: 0.839, "LSTM": 0.835, TREES: 0.83}
    return {
        "task": "classify", "target": "defaulted", "n": 4000, "split": "test",
        "models": {
            name: {"metrics": {"auc": interval(value, 0.013), "log_loss": interval(1.18 - value, 0.01)},
                   "seconds": 400 * value, "parameters": 81_233}
            for name, value in names.items()
        },
        "differences": {
            f"transformer - {name}": {"auc": interval(0.842 - value, 0.005)} for name, value in list(names.items())[1:]
        },
        "verdict": "A tie between transformer and GRU on 4,000 test examples: AUC 0.842 against 0.839 "
        "(difference +0.003, 95 % interval -0.002 to +0.008); both beat bag + LightGBM.",
    }  # fmt: skip


def binary_run(folder: Path, n: int = 4000) -> Path:
    write(folder, metrics=binary_metrics(), data=data_facts(), history=history())
    model = {"backbone": {"name": "transformer", "n_layers": 2, "hidden_size": 64}, "schema": {"entity": "user_id"}}
    write(folder / "model", model=model, manifest={"format": 1})
    (folder / "model" / "README.md").write_text("# Model card\n\nA transformer.\n", encoding="utf-8")
    random = np.random.default_rng(0)
    logit = random.normal(-2.1, 1.4, n)
    true = random.random(n) < 1 / (1 + np.exp(-logit))
    scores = {
        "user_id": [f"u{k}" for k in range(n)], "cutoff": [None] * n, "defaulted": true.astype(int),
        "probability": 1 / (1 + np.exp(-logit - random.normal(0, 0.2, n))),
        "probability_uncalibrated": 1 / (1 + np.exp(-1.7 * logit)),
        BAG: 1 / (1 + np.exp(-logit - random.normal(0, 1.1, n))),
        TREES: 1 / (1 + np.exp(-logit - random.normal(0, 0.7, n))),
        GRU: 1 / (1 + np.exp(-logit - random.normal(0, 0.35, n))),
    }  # fmt: skip
    pl.DataFrame(scores).write_parquet(folder / "test_scores.parquet")
    return folder


def multi_class_run(folder: Path, n: int = 600) -> Path:
    labels = ["stays", "leaves", "升级", EVIL]
    values = {"macro_auc": interval(0.78, 0.02), "accuracy": interval(0.61, 0.03), "macro_f1": interval(0.52, 0.04)}
    bag = {"macro_auc": interval(0.79, 0.02), "accuracy": interval(0.6, 0.03), "macro_f1": interval(0.5, 0.04)}
    difference = {"macro_auc": interval(-0.01, 0.015), "accuracy": interval(0.01, 0.02)}
    metrics = {"task": "classify", "target": "next_plan", "n": n, "labels": labels, "metrics": values}
    write(folder, metrics=metrics | {"baselines": {BAG: bag}, "differences": {BAG: difference}})
    random = np.random.default_rng(1)
    truth = random.choice(4, n, p=[0.5, 0.3, 0.15, 0.05])
    logit = random.normal(0, 1, (n, 4)) + 1.5 * np.eye(4)[truth]
    p = np.exp(logit) / np.exp(logit).sum(axis=1, keepdims=True)
    columns = {f"probability_{label}": p[:, c] for c, label in enumerate(labels)}
    frame = pl.DataFrame({"entity": np.arange(n), "next_plan": [labels[c] for c in truth], **columns})
    frame.write_parquet(folder / "test_scores.parquet")
    return folder


def multi_label_run(folder: Path, n: int = 300) -> Path:
    values = {"macro_auc": interval(0.7, 0.03), "micro_f1": 0.4}
    labels = ["shoes", "hats"]
    write(folder, metrics={"task": "classify", "target": labels, "n": n, "labels": labels, "metrics": values})
    random = np.random.default_rng(2)
    p = random.random((n, 2))
    truth = random.random((n, 2)) < p
    columns = {f"probability_{name}": p[:, c] for c, name in enumerate(labels)}
    frame = pl.DataFrame({"shoes": truth[:, 0].astype(int), "hats": truth[:, 1].astype(int), **columns})
    frame.write_parquet(folder / "test_scores.parquet")
    return folder


def minimal_run(folder: Path) -> Path:
    return write(folder, metrics={"task": "classify", "target": "risk", "n": 40, "metrics": {"auc": 0.7}})


def compared_run(folder: Path) -> Path:
    return write(binary_run(folder), compare=comparison())


RUNS = [binary_run, compared_run, multi_class_run, multi_label_run, minimal_run]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return {build: page_of(build(tmp_path_factory.mktemp(build.__name__))) for build in RUNS}


class Balanced(HTMLParser):
    """Fails where a tag is closed that is not open, and collects ids, references and tags."""

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


@pytest.mark.parametrize("build", RUNS)
def test_page_is_whole_valid_and_asks_nothing_of_a_network(build, pages):
    page = pages[build]
    html = parsed(page)
    assert [value for name, value in html.attributes if name == "id" and value in SECTIONS] == SECTIONS
    ids = [value for name, value in html.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert "script" not in html.seen and not {"link", "img", "iframe", "object"} & set(html.seen)
    assert not re.search(r"https?://|@import|url\((?!#)", page)
    references = [value for name, value in html.attributes if name in ("href", "xlink:href", "src")]
    assert all(value.startswith("#") and value[1:] in ids for value in references)
    assert {f"#{name}" for name in re.findall(r"url\(#([^)]+)\)", page)} <= {f"#{name}" for name in ids}
    assert not [name for name, _ in html.attributes if name.startswith("on")]


@pytest.mark.parametrize("build", [binary_run, multi_class_run])
def test_same_files_give_the_same_bytes(build, tmp_path, pages):
    assert page_of(build(tmp_path)) == pages[build]


def test_names_from_data_are_escaped_wherever_they_stand(tmp_path):
    evil_attribute = '"><img src=x onerror=alert(1)>'
    metrics = binary_metrics() | {"target": EVIL, "model": evil_attribute, "task": EVIL, "split": EVIL}
    metrics["baselines"][EVIL] = {"auc": interval(0.5, 0.1), evil_attribute: 0.3}
    metrics["run"] |= {"command": EVIL, "machine": EVIL, "versions": {EVIL: EVIL}}
    metrics["confusion"] = {"labels": [EVIL, "b"], "matrix": [[3, 1], [0, 2]]}
    data = data_facts() | {"notes": [EVIL], "leaks": [{"severity": evil_attribute, "sentence": EVIL}]}
    data["fields"][0] |= {"name": EVIL, "kind": EVIL}
    data["rejects"]["by_reason"] = {EVIL: 2}
    folder = binary_run(tmp_path)
    frame = pl.read_parquet(folder / "test_scores.parquet")
    frame.rename({GRU: EVIL}).write_parquet(folder / "test_scores.parquet")
    write(folder / "model", model={EVIL: EVIL})
    (folder / "model" / "README.md").write_text(EVIL, encoding="utf-8")
    page = page_of(write(folder, metrics=metrics, data=data, compare={"verdict": EVIL}))
    html = parsed(page)
    assert not {"script", "img"} & set(html.seen)
    assert page.count("&lt;script&gt;") >= 12


def test_control_characters_surrogates_and_endless_names_do_no_harm(tmp_path):
    data = {"commonest": [{"field": "a\x00b", "value": "\ud800\x1b[2J" + "x" * 10_000, "count": 3, "share": 0.5}]}
    page = page_of(write(minimal_run(tmp_path), data=data))
    assert "\x00" not in page and "\x1b" not in page and "x" * 200 not in page
    assert "a\ufffdb" in page


def test_answer_names_the_best_rival_the_difference_its_interval_and_n(pages):
    page = pages[binary_run]
    assert (
        "A tie: the model and its best rival, GRU, cannot be told apart on 4,000 test examples "
        "(difference +0.003 AUC, 95\N{NO-BREAK SPACE}% interval \N{MINUS SIGN}0.003 to +0.009)." in page
    )


def test_answer_is_plain_when_the_model_loses(tmp_path):
    metrics = binary_metrics()
    metrics["differences"][f"model - {GRU}"]["auc"] = interval(-0.02, 0.004)
    page = page_of(write(binary_run(tmp_path), metrics=metrics))
    assert "The model does not beat GRU: it is worse by 0.020 AUC on 4,000 test examples" in page


def test_comparison_verdict_leads_where_there_is_one(pages):
    page = pages[compared_run]
    assert f'<p class="answer">{comparison()["verdict"]}</p>' in page
    assert "LSTM" in page and "81,233 parameters" in page
    assert "How well transformer predicts" in page  # the compared model with just the run's numbers is the run's own


def test_a_comparison_draws_quality_against_time(pages):
    figure = re.search(r"<h3>Quality against time</h3>.*?</figure>", pages[compared_run], re.DOTALL)[0]
    assert re.findall(r"<bdi>(.*?)</bdi>", figure) == ["transformer", TREES, GRU, "LSTM"]
    assert figure.count('fill="white"/><text') + figure.count('fill="white" stroke') == 2  # rivals by counting are open
    assert "Quality against time" not in pages[binary_run]


@pytest.mark.parametrize("given", [{"seconds": 3.0}, {"seconds": None}, {"seconds": "long"}, {}])
def test_one_timed_model_alone_is_not_drawn(tmp_path, given):
    document = comparison()
    for name, one in document["models"].items():
        one.pop("seconds")
        one |= given if name == "LSTM" else {}
    assert "Quality against time" not in page_of(write(binary_run(tmp_path), compare=document))


def test_a_model_that_took_no_time_is_drawn_at_the_edge(tmp_path):
    document = comparison()
    document["models"][TREES]["seconds"] = 0.0
    assert "Quality against time" in page_of(write(binary_run(tmp_path), compare=document))


def test_numbers_of_the_data_are_on_the_page(pages):
    page = pages[binary_run]
    assert "Keep the latest 512: 28,114 events of 1,203,950 were left out, from 213 of 19,900 examples." in page
    for text in [
        "1,204,533",
        "微信",
        "2023-01-01 00:04 UTC",
        "18,230",
        "3.1\N{NO-BREAK SPACE}%",
        "time is in the future",
        "Warning.",
    ]:
        assert text in page
    assert "6 min 24 s" in page and "sha256:9f2b6c1e" in page


def test_every_line_of_a_curve_is_in_its_legend(pages):
    page = pages[binary_run]
    legends = re.findall(r'<ul class="legend">(.*?)</ul>', page, flags=re.DOTALL)
    assert [re.findall(r"<bdi>(.*?)</bdi>", legend) for legend in legends[:3]] == [
        ["the model", BAG, TREES, GRU],
        ["the model", BAG, TREES, GRU],
        ["after calibration", "before calibration"],
    ]


def test_several_classes_are_drawn_one_against_the_rest(pages):
    page = pages[multi_class_run]
    roc = re.findall(r'<ul class="legend">(.*?)</ul>', page, flags=re.DOTALL)[0]
    names = re.findall(r"<bdi>(.*?)</bdi>", roc)
    assert names[:3] == ["stays", "leaves", "升级"] and "script" in names[3]
    assert "one class against all others" in page and "macro AUC" in page


def test_several_labels_have_a_row_each(pages):
    page = pages[multi_label_run]
    assert "rightly not" in page and "shoes" in page


def test_a_folder_with_metrics_alone_says_what_is_not_there(pages):
    page = pages[minimal_run]
    for file in ("history.json", "data.json", "test_scores.parquet"):
        assert f"{file} is absent or does not say" in page
    assert "no rival was judged beside it" in page
    assert "Only 40 test examples" in page


@pytest.mark.parametrize("missing", [*data_facts(), *(f"split.{k}" for k in ("parts", "by", "sentence"))])
def test_any_key_of_the_data_facts_may_be_absent(missing, tmp_path):
    data = data_facts()
    data["lengths"]["histogram"] = {}  # drawn by other tests
    at = data["split"] if "." in missing else data
    del at[missing.rpartition(".")[2]]
    parsed(page_of(write(minimal_run(tmp_path), data=data)))


def test_scores_that_are_not_numbers_are_counted_not_drawn(tmp_path):
    folder = binary_run(tmp_path)
    frame = pl.read_parquet(folder / "test_scores.parquet")
    spoilt = frame.with_columns(probability=pl.when(pl.int_range(pl.len()) < 7).then(None).otherwise("probability"))
    spoilt.write_parquet(folder / "test_scores.parquet")
    assert "7 test rows had no target or no usable score" in page_of(folder)


def test_more_epochs_are_advised_only_where_the_last_was_the_best(tmp_path, pages):
    assert "try more epochs" not in pages[binary_run]
    assert "try more epochs" in page_of(write(minimal_run(tmp_path), history=history()[:5]))


def test_one_class_in_the_test_part_is_said(tmp_path):
    folder = minimal_run(tmp_path)
    pl.DataFrame({"target": [0, 0], "probability": [0.1, 0.2]}).write_parquet(folder / "test_scores.parquet")
    assert "Every test example has the same target" in page_of(folder)


def test_a_folder_without_metrics_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"has no metrics\.json.*habitus evaluate"):
        write_report(tmp_path)


DAMAGED = {"metrics.json": "{", "history.json": "{}", "data.json": "[1]", "test_scores.parquet": "no"}


@pytest.mark.parametrize(("name", "content"), DAMAGED.items())
def test_a_damaged_file_is_named(name, content, tmp_path):
    folder = minimal_run(tmp_path)
    (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(name)):
        write_report(folder)
