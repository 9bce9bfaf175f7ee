"""Reading series: the grid, gaps, duplicates, one series without a name."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from habitus.data.series.read import ONLY_SERIES, read_series
from habitus.data.series.step import Step
from habitus.data.series.table import SeriesData
from habitus.errors import ConfigError, DataError

START = datetime(2024, 1, 1, tzinfo=UTC)


def hours(n, **columns):
    return pl.DataFrame({"timestamp": [START + timedelta(hours=i) for i in range(n)], **columns})


def test_rows_in_any_order_come_into_their_place():
    log = hours(5, id=["b", "a", "b", "a", "b"], load=[1.0, 2.0, 3.0, 4.0, 5.0])
    table = read_series(log[::-1], ["load"])
    assert table.names == ("b", "a")  # in order of first appearance
    assert str(table.step) == "2h"
    assert [table.values[a:b, 0].tolist() for a, b in zip(table.offsets[:-1], table.offsets[1:], strict=True)] == [
        [1.0, 3.0, 5.0],
        [2.0, 4.0],
    ]


def test_gaps_are_kept_as_missing_and_said():
    log = (
        hours(6, load=[1.0, 2.0, 3.0, 4.0, None, 6.0])
        .filter(pl.col("load") != 3)
        .vstack(hours(6, load=[1.0, 2.0, 3.0, 4.0, None, 6.0])[4:5])
    )
    table = read_series(log, ["load"])
    assert np.isnan(table.values[:, 0]).tolist() == [False, False, True, False, True, False]
    assert any("1 of 6 steps of 1h are not in the log" in note for note in table.notes)
    assert any("1 values of 'load' are missing" in note for note in table.notes)


def test_a_table_without_a_column_for_the_series_is_one_series_and_says_so():
    table = read_series(hours(4, load=[1.0, 2.0, 3.0, 4.0]))
    assert table.names == (ONLY_SERIES,) and table.entity is None and table.variables == ("load",)
    assert any("all rows are one series" in note for note in table.notes)


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (pl.concat([hours(3, load=[1.0, 2.0, 3.0])] * 2), "two rows at 2024-01-01T00:00:00Z"),
        (
            hours(8, load=[1.0] * 8).vstack(
                pl.DataFrame({"timestamp": [START + timedelta(minutes=90)], "load": [1.0]})
            ),
            "no whole number of steps of 1h",
        ),
        (hours(1, load=[1.0]), "No series"),
        (
            hours(3, load=[1.0] * 3).vstack(pl.DataFrame({"timestamp": [START + timedelta(days=4000)], "load": [1.0]})),
            "Give the true step",
        ),
    ],
)
def test_what_is_no_series_is_refused_with_a_sentence(log, said):
    with pytest.raises(DataError, match=said):
        read_series(log, ["load"])


def test_months_are_steps_of_their_own():
    ends = [datetime(2024, month, 29 if month == 2 else 30, tzinfo=UTC) for month in range(1, 7)]
    table = read_series(pl.DataFrame({"timestamp": ends, "sales": [1, 2, 3, 4, 5, 6]}), ["sales"])
    assert str(table.step) == "1mo" and table.lengths.tolist() == [6]
    ahead = table.continued(2).time_us[-2:].view("M8[us]").astype("M8[M]").astype(str).tolist()
    assert ahead == ["2024-07", "2024-08"]


def test_filling_looks_back_only():
    values = [1.0, 2.0, None, None, 5.0, None, None, 8.0]
    whole = read_series(hours(8, load=values), ["load"], SeriesData(step="1h")).filled(3)[:, 0]
    for n in range(2, 8):
        cut = read_series(hours(8, load=values)[:n], ["load"], SeriesData(step="1h"))
        assert cut.filled(3)[:n, 0].tolist() == whole[: len(cut.values)].tolist()


@pytest.mark.parametrize(("text", "seasons"), [("15m", (96, 672)), ("1d", (7,)), ("1w", (52,)), ("3mo", (4,))])
def test_seasons_of_steps(text, seasons):
    assert Step.parse(text).seasons == seasons and str(Step.parse(text)) == text


def test_the_calendar_is_that_of_python():
    times = [START + timedelta(hours=7 * i) for i in range(200)]
    micro = np.array([round(t.timestamp() * 1e6) for t in times])
    found = Step.parse("1h").calendar_ids(micro, ("slot", "weekday", "month"))
    assert found.tolist() == [[t.hour, t.weekday(), t.month - 1] for t in times]


def test_a_wrong_step_is_refused():
    with pytest.raises(ConfigError, match="such as 15m"):
        Step.parse("hourly")
