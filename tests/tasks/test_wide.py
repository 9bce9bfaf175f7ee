"""The wide path: a logistic regression over counts, and for a training row one that has not seen that row."""

from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from habitus.baselines.regress import choose_ridge
from habitus.data.batch import SequenceTensors
from habitus.data.encode import EncodedSequences
from habitus.tasks.wide import WideBag, fit_logistic

SIZES, PROFILE_SIZES = {"item": 7, "shop.kind": 5}, {"region": 5}


def make(n=60, seed=0, target=None, ids=True):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 9, n)
    total = int(lengths.sum())
    label = rng.integers(0, 2, n)
    item = np.where(rng.random(total) < 0.5, 3 + np.repeat(label, lengths), rng.integers(1, 7, total))
    kinds = {"item": item.astype(np.int32), "shop.kind": rng.integers(1, 5, total).astype(np.int32)}
    return EncodedSequences(
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        ids=kinds if ids else {},
        numbers={},
        age_days=np.zeros(total, np.float32),
        gap_days=np.zeros(total, np.float32),
        hour=np.zeros(total, np.int8),
        weekday=np.zeros(total, np.int8),
        profile_ids={"region": rng.integers(1, 5, n).astype(np.int32)} if ids else {},
        profile_numbers={},
        n_events=lengths,
        example=np.arange(n),
        target=label if target is None else target,
    )


def linear(n_outputs=2):
    return partial(fit_logistic, n_outputs=n_outputs)


def batch_of(encoded):
    return SequenceTensors(encoded, with_bags=True).gather(np.arange(len(encoded)))


def counted(encoded):
    """The slow matrix: log(1 + count) of every value, then the profile, one-hot."""
    matrix = np.zeros((len(encoded), 7 + 5 + 5))
    for row in range(len(encoded)):
        own = slice(*encoded.offsets[row : row + 2])
        for first, ids in zip((0, 7), encoded.ids.values(), strict=True):
            for value, n in Counter(ids[own].tolist()).items():
                matrix[row, first + value] = np.log1p(n)
        matrix[row, 12 + encoded.profile_ids["region"][row]] = 1
    return matrix


@torch.no_grad()
def test_the_wide_path_is_linear_in_the_log_of_one_plus_the_counts():
    encoded, module = make(), WideBag(SIZES, PROFILE_SIZES, 2)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    tables = torch.cat([table.weight for table in [*module.events.values(), *module.profile.values()]]).numpy()
    expected = counted(encoded) @ tables + module.bias.numpy()
    np.testing.assert_allclose(module(batch_of(encoded)), expected, atol=1e-5)


@torch.no_grad()
def test_it_starts_at_nothing_and_is_held_still():
    module = WideBag(SIZES, PROFILE_SIZES, 3)
    assert not module(batch_of(make())).any()
    assert not any(parameter.requires_grad for parameter in module.parameters())


@torch.no_grad()
def test_fitted_it_is_a_regression_of_scikit_learn():
    train, validation, module = make(), make(40, seed=1), WideBag(SIZES, PROFILE_SIZES, 2)
    module.fit(train, validation, linear())
    logits = module(batch_of(validation)).numpy()
    matrix, other = counted(train), counted(validation)
    fits = [
        LogisticRegression(C=c, max_iter=999).fit(matrix, train.target) for c in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    ]
    distances = [np.abs(fit.decision_function(other) - (logits[:, 1] - logits[:, 0])).max() for fit in fits]
    assert min(distances) < 0.02 < max(distances)


def changed(row):
    target = make().target.copy()
    target[row] = 1 - target[row]
    return make(target=target)


@pytest.mark.parametrize("row", [0, 7, 31])
def test_what_a_training_row_is_shown_does_not_know_its_label(row):
    validation, module = make(40, seed=1), WideBag(SIZES, PROFILE_SIZES, 2)
    before = module.fit(make(), validation, linear())
    inside = module(batch_of(make())).detach().numpy()
    after = module.fit(changed(row), validation, linear())
    np.testing.assert_array_equal(after[row], before[row])
    assert np.abs(after - before).max() > 1e-4  # other rows do see it
    assert np.abs(module(batch_of(make())).detach().numpy()[row] - inside[row]).max() > 1e-4  # as would an inside fit


def test_windows_of_an_example_are_held_out_together():
    train, validation, module = make(), make(40, seed=1), WideBag(SIZES, PROFILE_SIZES, 2)
    train = replace(train, example=np.repeat(np.arange(30), 2), target=np.repeat(make().target[:30], 2))
    before = module.fit(train, validation, linear())
    target = train.target.copy()
    target[10:12] = 1 - target[10:12]
    np.testing.assert_array_equal(module.fit(replace(train, target=target), validation, linear())[10:12], before[10:12])


@pytest.mark.parametrize("n_outputs", [3, 4])  # 4: a class that no training row has
def test_several_classes_and_absent_ones(n_outputs):
    target, module = np.arange(60) % 3, WideBag(SIZES, PROFILE_SIZES, n_outputs)
    held_out = module.fit(make(target=target), make(40, seed=1, target=np.arange(40) % 3), linear(n_outputs))
    assert held_out.shape == (60, n_outputs) and np.isfinite(held_out).all()


def test_several_labels():
    flags = (np.arange(120).reshape(60, 2) % 3 == 0).astype(np.float32)
    held_out = WideBag(SIZES, PROFILE_SIZES, 2).fit(make(target=flags), make(40, seed=1, target=flags[:40]), linear())
    assert held_out.shape == (60, 2) and np.isfinite(held_out).all() and held_out.std() > 0


def test_a_log_without_categories_adds_nothing():
    """A log of amounts only has nothing to count; the default options must not stumble over it."""
    module = WideBag({}, {}, 2)
    held_out = module.fit(make(ids=False), make(40, seed=1, ids=False), linear())
    assert held_out.shape == (60, 2)
    outputs = module(batch_of(make(ids=False)))
    assert outputs.shape == (60, 2) and outputs.std(0).max() == 0


def test_rows_of_a_group_are_held_out_together():
    """The labels of a group's rows do not reach the outputs of any row of the group."""
    groups = np.arange(len(make())) // 4
    module, validation = WideBag(SIZES, PROFILE_SIZES, 2), make(40, seed=1)
    before = module.fit(make(), validation, linear(), groups=groups)
    target = make().target.copy()
    target[8:12] = 1 - target[8:12]  # one group
    after = module.fit(replace(make(), target=target), validation, linear(), groups=groups)
    np.testing.assert_array_equal(after[8:12], before[8:12])
    assert (after != before).any()


def with_numbers(encoded, seed=0):
    rng = np.random.default_rng(seed)
    total, n = len(encoded.age_days), len(encoded)
    amount = np.stack([rng.normal(size=total), rng.random(total) < 0.2], axis=1).astype(np.float32)
    return replace(
        encoded,
        numbers={"amount": amount},
        profile_numbers={"age": np.stack([rng.normal(size=n), rng.random(n) < 0.1], axis=1).astype(np.float32)},
        target=np.bincount(np.repeat(np.arange(n), encoded.lengths), weights=amount[:, 0], minlength=n),
    )


def ridge(x, y, x_validation, y_validation):
    coef, intercept = choose_ridge(x, y, x_validation, y_validation)
    return coef[None], np.array([intercept])


@torch.no_grad()
@pytest.mark.parametrize("log_totals", [False, True])
def test_totals_are_sums_over_events(log_totals):
    encoded = with_numbers(make())
    module = WideBag({}, {}, 1, ["amount"], ["age"], log_totals)
    found = module._totals_of(batch_of(encoded)).numpy()
    for row in range(len(encoded)):
        own = encoded.numbers["amount"][slice(*encoded.offsets[row : row + 2])]
        own = own if len(own) else np.array([[0.0, 1.0]])  # no event: one whose number is missing
        expected = np.array([len(own), np.log(len(own)), *own.sum(0), *encoded.profile_numbers["age"][row]])
        expected = np.sign(expected) * np.log1p(np.abs(expected)) if log_totals else expected
        np.testing.assert_allclose(found[row], expected, atol=1e-4)
    np.testing.assert_allclose(module._totals_matrix(encoded), found, atol=1e-4)


@torch.no_grad()
def test_fitted_on_a_total_the_wide_path_finds_it():
    train, validation = with_numbers(make(400)), with_numbers(make(80, seed=1), seed=1)
    module = WideBag(SIZES, PROFILE_SIZES, 1, ["amount"], ["age"])
    held_out = module.fit(train, validation, ridge)
    np.testing.assert_allclose(module(batch_of(validation))[:, 0], validation.target, atol=0.2)
    np.testing.assert_allclose(held_out[:, 0], train.target, atol=0.4)


def test_without_numbers_there_are_no_totals_to_save():
    """A classifier that was saved before totals existed still loads."""
    assert not any("totals" in name for name in WideBag(SIZES, PROFILE_SIZES, 2).state_dict())
