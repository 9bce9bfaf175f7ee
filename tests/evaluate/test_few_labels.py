"""The label curve: nested draws, intervals by hand, and a small run."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from habitus.errors import ConfigError, DataError
from habitus.evaluate.few_labels import labelled_part, over_seeds, paired_interval, read_shares
from habitus.metrics import Interval


@dataclass(frozen=True)
class Rows:
    part: np.ndarray
    entity: np.ndarray

    def entity_codes(self):
        return self.entity


def rows(n=200):
    entity = np.repeat(np.arange(n // 2), 2)
    part = np.array(["train", "train", "train", "validation", "test"])[entity % 5]
    return Rows(part, entity)


def test_a_smaller_share_is_part_of_a_larger_one_and_entities_stay_whole():
    made = rows()
    few, more = labelled_part(made, 0.1, seed=3), labelled_part(made, 0.5, seed=3)
    for name, n in (("train", 60), ("validation", 20)):
        kept = {share: set(made.entity[part == name]) for share, part in ((0.1, few), (0.5, more))}
        assert kept[0.1] < kept[0.5] and len(kept[0.1]) == n // 10 and len(kept[0.5]) == n // 2
    assert ((few == "test") == (made.part == "test")).all()
    assert all(len(set(few[made.entity == one])) == 1 for one in np.unique(made.entity))
    np.testing.assert_array_equal(labelled_part(made, 1.0, seed=3), made.part)
    assert (few != labelled_part(made, 0.1, seed=4)).any()
    with pytest.raises(DataError, match="too few"):
        labelled_part(made, 0.01, seed=0)


@pytest.mark.parametrize("text", ["0%", "120%", "five", "", "5%,"])
def test_a_share_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="share"):
        read_shares(text)


def test_the_interval_over_seeds_is_students():
    values = [0.71, 0.74, 0.69, 0.73, 0.72]
    expected = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert over_seeds(values) == pytest.approx(expected, abs=1e-4)


def test_more_seeds_do_not_narrow_what_the_test_examples_leave_open():
    gaps = [Interval(0.02, -0.01, 0.05)] * 5
    assert paired_interval(gaps).low == pytest.approx(-0.01)
    wider = paired_interval([Interval(v, v - 0.03, v + 0.03) for v in (0.0, 0.01, 0.02, 0.03, 0.04)])
    spread = stats.t.ppf(0.975, 4) * np.std([0.0, 0.01, 0.02, 0.03, 0.04], ddof=1) / np.sqrt(5)
    assert wider.high - wider.value == pytest.approx(np.hypot(0.03, spread), abs=1e-4)


def test_a_curve_is_written_with_its_rivals_and_pairs(tmp_path):
    from habitus.backbones import GRU
    from habitus.data.simulate import simulate_installs
    from habitus.evaluate.few_labels_run import few_labels_run
    from habitus.model import Options
    from habitus.tasks import Classify
    from habitus.training import Training

    log = simulate_installs(120, seed=3)
    document = few_labels_run(
        Classify("risk"), {"gru": GRU(hidden_size=4)}, log.events, log.labels, tmp_path, shares=[0.5, 1.0], n_seeds=2,
        training=Training(epochs=1),
        options=Options(baselines=("most frequent", "bag + logistic regression"), wide=False),
    )  # fmt: skip
    names = ["gru", "most frequent", "bag + logistic regression"]
    assert [list(point["models"]) for point in document["shares"]] == [names, names]
    first, last = document["shares"]
    assert first["labels"][0]["train"] < last["labels"][0]["train"]
    assert first["models"]["most frequent"]["each"] == [0.5, 0.5]
    assert list(last["differences"]) == [f"gru - {name}" for name in names[1:]]
    assert json.loads((tmp_path / "few_labels.json").read_text())["n"] == document["n"]
    page = (tmp_path / "report.html").read_text()
    assert "Fewer labels" in page and "percent of the labels" in page
