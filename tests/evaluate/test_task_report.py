import json

import pytest

from habitus.evaluate.report import write_report
from habitus.evaluate.task_panels import panel_contexts

PANELS = [
    {
        "kind": "table",
        "title": "Examples",
        "caption": "Said.",
        "columns": ["given", "answered"],
        "rows": [["<b>小明</b>", 2.5]],
    },
    {
        "kind": "matrix",
        "title": "Confusion",
        "caption": "Rows are true.",
        "labels": ["a", "b"],
        "matrix": [[3, 1], [0, 4]],
    },
    {
        "kind": "heat",
        "title": "Attention",
        "caption": "Weights.",
        "rows": ["x"],
        "columns": ["y", "z"],
        "matrix": [[0.25, 0.75]],
    },
    {
        "kind": "lines",
        "title": "Forecast",
        "caption": "Its band.",
        "x_label": "step",
        "y_label": "load",
        "lines": [
            {"name": "model", "x": [0, 1], "y": [1, 2], "low": [0, 1], "high": [2, 3]},
            {"name": "truth", "x": [0, 1], "y": [1, 1]},
        ],
    },
    {
        "kind": "bars",
        "title": "Errors",
        "caption": "By name.",
        "bars": [{"name": "one", "value": 0.5, "low": 0.4, "high": 0.6}],
    },
]
METRICS = {
    "task": "tag",
    "target": "correct",
    "unit": "students",
    "n": 12,
    "model": "GRU",
    "primary": "auc",
    "protocol": {"label history": "read"},
    "metrics": {"auc": {"value": 0.8, "low": 0.7, "high": 0.9}},
    "baselines": {"rate": {"auc": {"value": 0.7, "low": 0.6, "high": 0.8}}},
    "differences": {"model - rate": {"auc": {"value": 0.1, "low": 0.05, "high": 0.15}}},
    "panels": PANELS,
}


def page(tmp_path, **documents):
    for name, document in {"metrics": METRICS, **documents}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    return write_report(tmp_path).read_text(encoding="utf-8")


def test_every_panel_is_on_the_page_and_text_from_data_is_escaped(tmp_path):
    found = page(tmp_path)
    for panel in PANELS:
        assert panel["title"] in found and panel["caption"] in found
    assert "&lt;b&gt;小明" in found and "<b>小明" not in found
    assert found.count("<svg") >= 3  # the chart and the two strokes of its legend


def test_the_answer_the_protocol_and_the_data_are_on_the_page(tmp_path):
    data = {
        "source": "events.csv",
        "parts": {"train": 90, "test": 12},
        "facts": {"n_events": 1234},
        "notes": ["Two are cut."],
    }
    found = page(tmp_path, data=data)
    for text in (
        "GRU beats its best rival, rate",
        "test students",
        "label history",
        "1,234",
        "Two are cut.",
    ):
        assert text in found


@pytest.mark.parametrize(
    "broken", [{"kind": "lines"}, {"kind": "unheard"}, 3, {"kind": "table", "columns": [], "rows": []}]
)
def test_a_panel_that_cannot_be_read_is_left_out(broken, tmp_path):
    assert panel_contexts([broken, PANELS[0]]) == panel_contexts([PANELS[0]])


def test_no_panel_no_section():
    assert panel_contexts(None) == []
