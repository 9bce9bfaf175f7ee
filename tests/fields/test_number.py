"""Scalers: robust scaling and bins as scikit-learn and numpy do them, missing apart, nothing infinite comes out."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import RobustScaler

from habitus.errors import ConfigError
from habitus.fields.number import CLIP, Number, Scaler, quantiles, signed_log

AMOUNTS = st.lists(st.one_of(st.none(), st.floats(width=64), st.integers(-(10**18), 10**18)), max_size=30)


def amounts(values):
    return pl.Series([None if value is None else float(value) for value in values], dtype=pl.Float64)


def test_scaling_agrees_with_scikit_learn():
    values = np.random.default_rng(0).normal(5, 3, 500)
    expected = np.clip(RobustScaler().fit_transform(values[:, None])[:, 0], -CLIP, CLIP)
    ours = Scaler.fit(Number(log=False), pl.Series(values)).encode(pl.Series(values))
    np.testing.assert_allclose(ours[:, 0], expected, atol=1e-6)
    assert not ours[:, 1].any()


def test_a_heavy_tail_takes_the_logarithm_by_itself_and_a_normal_does_not():
    rng = np.random.default_rng(0)
    assert Scaler.fit(Number(), pl.Series(rng.lognormal(3, 2, 2000))).log
    assert not Scaler.fit(Number(), pl.Series(rng.normal(0, 1, 2000))).log


def test_bins_agree_with_numpy():
    values = np.random.default_rng(0).normal(size=300)
    edges = np.quantile(values, [0.25, 0.5, 0.75])
    scaler = Scaler.fit(Number(log=False, bins=4), pl.Series(values))
    assert scaler.encode(pl.Series(values)).tolist() == (np.digitize(values, edges) + 3).tolist()
    assert scaler.size == 7


@settings(max_examples=80, deadline=None)
@given(AMOUNTS, AMOUNTS, st.sampled_from([None, True, False]))
def test_whatever_comes_in_finite_numbers_come_out(learned, asked, log):
    encoded = Scaler.fit(Number(log=log), amounts(learned)).encode(amounts(asked))
    assert encoded.shape == (len(asked), 2)
    assert np.isfinite(encoded).all()
    assert (np.abs(encoded[:, 0]) <= CLIP).all()
    missing = [value is None or not np.isfinite(float(value)) for value in asked]
    assert (encoded[:, 1] == missing).all()


@settings(max_examples=60, deadline=None)
@given(AMOUNTS, AMOUNTS, st.integers(2, 6))
def test_whatever_comes_in_bins_are_in_range(learned, asked, bins):
    scaler = Scaler.fit(Number(bins=bins), amounts(learned))
    ids = scaler.encode(amounts(asked))
    assert all(2 <= i < scaler.size for i in ids)


@settings(max_examples=60, deadline=None)
@given(AMOUNTS)
def test_larger_numbers_are_never_encoded_smaller(values):
    known = sorted(float(v) for v in values if v is not None and np.isfinite(float(v)))
    encoded = Scaler.fit(Number(), amounts(known)).encode(amounts(known))[:, 0]
    assert (np.diff(encoded) >= 0).all()


@settings(max_examples=30, deadline=None)
@given(AMOUNTS, st.sampled_from([Number(), Number(bins=3), Number(log=True)]))
def test_a_scaler_survives_json(values, spec):
    scaler = Scaler.fit(spec, amounts(values))
    assert Scaler.from_json(json.loads(json.dumps(scaler.to_json()))) == scaler


def test_nothing_known_constant_and_minus_zero_are_read():
    assert Scaler.fit(Number(), amounts([None, float("nan")])).encode(amounts([5.0])).shape == (1, 2)
    assert Scaler.fit(Number(), amounts([7.0] * 5)).encode(amounts([7.0, 8.0])).tolist() == [[0.0, 0.0], [1.0, 0.0]]
    scaler = Scaler.fit(Number(), amounts([-1.0, 0.0, 1.0]))
    assert (scaler.encode(amounts([-0.0])) == scaler.encode(amounts([0.0]))).all()


def test_the_signed_logarithm_by_hand():
    np.testing.assert_allclose(signed_log(np.array([-(np.e - 1), 0.0, np.e - 1])), [-1.0, 0.0, 1.0])


def test_one_bin_is_refused():
    with pytest.raises(ConfigError, match="bins=1"):
        Number(bins=1)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([-3.5, 0.0, 0.1, 0.3, 1e-9, 7.0, 1e12]), min_size=1, max_size=60), st.integers(2, 40))
def test_quantiles_of_counts_are_those_of_numpy_to_the_bit(values, n_shares):
    shares = np.linspace(0, 1, n_shares)
    known, counts = np.unique(np.array(values), return_counts=True)
    assert quantiles(known, counts, shares).tolist() == np.quantile(np.array(values), shares).tolist()


def test_a_scaler_of_counts_is_the_scaler_of_the_values():
    values = np.random.default_rng(0).lognormal(2, 2, 3000).round(1)
    for spec in (Number(), Number(log=False), Number(bins=5), Number(group="sound")):
        fitted = Scaler.fit(spec, pl.Series(values))
        assert fitted == Scaler.from_counts(spec, *np.unique(values, return_counts=True))
        assert fitted.center == 0 or fitted.center == np.median(np.log1p(values) if fitted.log else values)
