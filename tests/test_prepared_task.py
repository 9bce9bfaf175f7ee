from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest

from habitus.errors import DataError
from habitus.prepared_task import PreparedTask


@dataclass(frozen=True)
class Numbers:
    values: np.ndarray

    def __len__(self):
        return len(self.values)

    def take(self, rows):
        return Numbers(self.values[rows])

    def arrays(self):
        return [self.values]


def prepared(part=("train", "validation", "test", "train"), values=(1, 2, 3, 4)):
    return PreparedTask(
        "four numbers", None, Numbers(np.array(values)), np.array(part), pl.Series("key", list("abcd")[: len(part)])
    )


def test_a_part_holds_its_units_in_order():
    assert prepared().of("train").values.tolist() == [1, 4]
    assert prepared().counts() == {"test": 1, "train": 2, "validation": 1}


def test_an_empty_part_is_refused_for_learning_and_not_for_judging():
    nothing = prepared(part=("train",) * 4)
    assert len(nothing.of("test")) == 0
    with pytest.raises(DataError, match="leaves nothing for validation"):
        nothing.of("validation")


@pytest.mark.parametrize(
    "other",
    [
        prepared(part=("train", "test", "validation", "train")),
        prepared(values=(1, 2, 3, 5)),
        prepared(values=(1.0, 2.0, 3.0, 4.0)),
    ],
)
def test_another_part_or_value_has_another_fingerprint(other):
    assert prepared().fingerprint() == prepared().fingerprint() != other.fingerprint()


def test_paths_are_remembered_and_tables_are_named_so():
    found = prepared().on(["/data/pairs.tsv", None, pl.DataFrame()])
    assert found.paths == ("/data/pairs.tsv", None, "a table")
    assert replace(found, paths=()).fingerprint() == found.fingerprint()
