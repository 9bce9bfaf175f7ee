"""Origins: which belong to which part, what they read, and that they do not see the future."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.data.series.encoder import SeriesEncoder
from habitus.data.series.rows import measure_scales, origins_between
from habitus.data.series.split import SeriesSplit
from habitus.data.series.step import Step
from habitus.data.series.table import SeriesData, SeriesTable
from habitus.errors import ConfigError, DataError

HOUR = 3_600_000_000


def table_of(*series, variables=("x",)):
    values = [np.asarray(one, float).reshape(len(one), -1) for one in series]
    lengths = [len(one) for one in values]
    times = np.concatenate([np.arange(n) * HOUR for n in lengths])
    names = tuple("abcdef"[: len(series)])
    return SeriesTable(names, variables, np.cumsum([0, *lengths]), np.concatenate(values), times, Step.parse("1h"))


def test_the_usual_parts_of_etth1_have_the_usual_windows():
    table = table_of(np.arange(17420.0))
    split = SeriesSplit(train_steps=8640, validation_steps=2880, test_steps=2880)
    until, test, end = split.borders(table)
    counts = [
        len(origins_between(table, *part, context=336, horizon=96)[1])
        for part in ((0, until), (until, test), (test, end))
    ]
    assert counts == [8640 - 336 - 96 + 1, 2880 - 96 + 1, 2880 - 96 + 1]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 60), min_size=1, max_size=4), st.integers(1, 9), st.integers(1, 6), st.integers(1, 4))
def test_targets_lie_in_the_part_and_contexts_before_the_origin(lengths, context, horizon, stride):
    table = table_of(*[np.arange(float(n)) for n in lengths])
    begin, end = 10 * HOUR, 40 * HOUR
    series, at, _ = origins_between(table, begin, end, context, horizon, stride=stride)
    for number, place in zip(series, at, strict=True):
        steps = np.arange(place, place + horizon)
        assert (table.offsets[number] < place) and (steps[-1] < table.offsets[number + 1])
        assert ((table.time_us[steps] >= begin) & (table.time_us[steps] < end)).all()


def test_shares_and_dates_make_the_same_borders():
    table = table_of(np.arange(100.0))
    dates = SeriesSplit(validation_from="1970-01-03T22:00", test_from="1970-01-04T08:00+00:00")
    assert SeriesSplit(validation=0.1, test=0.2).borders(table) == dates.borders(table)


@pytest.mark.parametrize(
    "options",
    [{"validation": 0.0}, {"test": 0.95}, {"train_steps": 5}, {"test_from": "2024-01-01"}, {"stride": 0}],
)
def test_a_split_that_cannot_be_is_refused(options):
    with pytest.raises(ConfigError):
        SeriesSplit(**options)


def test_scales_are_those_of_the_training_part_by_hand():
    values = [1.0, 3.0, np.nan, 7.0, 2.0, 100.0, -100.0]
    found = measure_scales(table_of(values), 5 * HOUR, context=3, season=2)
    seen = np.array([1.0, 3.0, 7.0, 2.0])
    assert found.center[0, 0] == seen.mean() and found.scale[0, 0] == seen.std()
    assert found.naive[0, 0] == abs(7.0 - 3.0)  # the one pair two steps apart whose values are both there


def test_a_series_with_too_many_gaps_gives_no_origin_there():
    values = np.where(np.arange(40) % 4 == 0, 1.0, np.nan)
    values[:20] = 1.0
    _, at, n_gaps = origins_between(table_of(values), 0, 2**60, context=8, horizon=2)
    assert n_gaps > 0 and at.max() < 40 - 2 and 12 in at


def fitted(table, context=4, horizon=2):
    split = SeriesSplit(validation=0.2, test=0.2)
    return SeriesEncoder.fit(table, SeriesData(season=3), split.borders(table), horizon, context)


def test_what_comes_after_an_origin_changes_nothing_it_reads():
    rng = np.random.default_rng(0)
    values = rng.normal(size=50)
    values[[7, 8, 20, 31]] = np.nan
    other = values.copy()
    other[30:] = rng.normal(size=20) * 100
    one, two = table_of(values), table_of(other)
    assert fitted(one).scales.scale.tolist() == fitted(two).scales.scale.tolist()  # the training part ends at step 30
    at = np.arange(5, 31)
    contexts = [fitted(t).origins(t, np.zeros(len(at), int), at).contexts() for t in (one, two)]
    np.testing.assert_array_equal(*contexts)


def test_the_encoder_is_the_same_after_json():
    encoder = fitted(table_of(np.arange(50.0), np.ones(50)))
    again = SeriesEncoder.from_json(encoder.to_json())
    for name in ("center", "scale", "naive"):
        np.testing.assert_array_equal(getattr(encoder.scales, name), getattr(again.scales, name))
    assert again.step == encoder.step and again.calendar == encoder.calendar and again.context == encoder.context


def test_a_new_series_is_scaled_by_its_own_first_steps():
    encoder = fitted(table_of(np.arange(50.0)))
    new = SeriesTable(
        ("new",), ("x",), np.array([0, 12]), np.arange(12.0)[:, None] * 5, np.arange(12) * HOUR, encoder.step
    )
    rows = encoder.origins(new, np.zeros(1, int), np.array([6]))
    assert rows.center[0, 0] == np.mean([0, 5, 10, 15])  # a context of 4


def test_a_short_history_is_padded_and_flagged():
    encoder = fitted(table_of(np.arange(50.0)))
    short = SeriesTable(("a",), ("x",), np.array([0, 5]), np.arange(5.0)[:, None], np.arange(5) * HOUR, encoder.step)
    places, begun = encoder.origins(short, np.zeros(1, int), np.array([2])).context_steps()
    assert places.tolist() == [[0, 0, 0, 1]] and begun.tolist() == [[False, False, True, True]]


def test_a_horizon_as_long_as_training_is_refused():
    with pytest.raises(DataError, match="leaves nothing to learn from"):
        fitted(table_of(np.arange(50.0)), horizon=40)
