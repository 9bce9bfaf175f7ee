"""Rules hold for every history, in a batch as alone, and name what they do not know."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.errors import ConfigError, DataError, HabitusError
from habitus.fields.category import N_RESERVED, Category, Vocabulary
from habitus.tasks.rules import After, Never, NoImmediateRepeat, Once, Only, Past, Rule, allowed_ids

V = 8
VOCABULARY = Vocabulary.fit(Category(min_count=1), pl.Series(["install", "install", "open", "uninstall"]))
HISTORIES = st.lists(st.lists(st.integers(0, V - 1), max_size=6), min_size=1, max_size=4)
RULES = [Once(), Once(ids=(3, 5)), Never(ids=(4,)), Only(ids=(3, 4, 5, 6)), After(ids=(5, 3)), NoImmediateRepeat()]


def may_follow(rule: Rule, history: list[int], item: int) -> bool:
    """Say the same as the rules, one item at a time."""
    match rule:
        case Once(ids=None):
            return item not in history
        case Once():
            return item not in rule.ids or item not in history
        case Never():
            return item not in rule.ids
        case Only():
            return item in rule.ids
        case After():
            return item != rule.ids[0] or rule.ids[1] in history
        case _:
            return not history or history[-1] != item


@settings(max_examples=60, deadline=None)
@given(HISTORIES, st.sampled_from(RULES))
def test_masks_say_what_a_loop_says_in_a_batch_as_alone(histories, rule):
    arrays = [np.array(history, dtype=np.int64) for history in histories]
    rows = np.broadcast_to(rule.allowed_rows(Past(arrays, V)), (len(arrays), V))
    for history, array, row in zip(histories, arrays, rows, strict=True):
        assert row.tolist() == [may_follow(rule, history, item) for item in range(V)]
        assert rule.allowed(array, V).tolist() == row.tolist()


@settings(max_examples=30, deadline=None)
@given(HISTORIES, st.lists(st.integers(3, V - 1), max_size=4))
def test_a_past_brought_up_to_date_equals_one_read_anew(histories, added):
    past = Past([np.array(history, dtype=np.int64) for history in histories], V)
    for item in added:
        past.add(np.full(len(past), item))
    anew = Past([np.array(history + added, dtype=np.int64) for history in histories], V)
    assert (past.seen == anew.seen).all() and (past.last == anew.last).all()
    for left, right in itertools.zip_longest(past.histories, anew.histories):
        assert left.tolist() == right.tolist()


def test_a_rule_of_ones_own_needs_one_history_only():
    class Alternate(Rule):
        def allowed(self, history_ids, size):
            return np.arange(size) % 2 == len(history_ids) % 2

    rows = allowed_ids([Alternate()], Past([np.array([3]), np.array([3, 4])], V))
    assert np.flatnonzero(rows[0]).tolist() == [3, 5, 7] and np.flatnonzero(rows[1]).tolist() == [4, 6]


def test_values_become_ids_and_the_rule_stays_what_it_was():
    rule = After("uninstall", required="install")
    bound = rule.bind(VOCABULARY)
    assert bound.ids == (5, 3) and rule.ids is None
    assert Never("open").bind(VOCABULARY).ids == (4,)  # one item, not its letters
    assert Once(["open", "install"]).bind(VOCABULARY).ids == (4, 3)
    assert Once().bind(VOCABULARY) == Once() and NoImmediateRepeat().bind(VOCABULARY) == NoImmediateRepeat()
    numbers = Vocabulary.fit(Category(min_count=1), pl.Series([7, 8]))
    assert Only([8.0, "7"]).bind(numbers).ids == (4, 3)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (Never(["instal"]), "did you mean 'install'"),
        (Only(["zzz"]), "most frequent ones are"),
        (Once([None]), "names the item None"),
        (After("uninstall", "in"), "names the item 'in'"),
    ],
)
def test_unknown_values_are_refused_with_the_nearest_name(rule, says):
    with pytest.raises(ConfigError, match=says):
        rule.bind(VOCABULARY)


def test_rules_that_leave_nothing_say_so():
    past = Past([np.array([4]), np.array([3, 4, 5])], VOCABULARY.size)
    with pytest.raises(
        HabitusError, match=r"The rules \(Once\) allow none of the 3 items to follow the 3 events of row 1"
    ):
        allowed_ids([Once()], past)
    with pytest.raises(HabitusError, match=r"\(Only\)"):
        allowed_ids([Only().bind(VOCABULARY)], past)
    assert not allowed_ids([], past)[:, :N_RESERVED].any()


def test_unbound_rules_and_ids_out_of_range_are_refused():
    past = Past([np.array([3])], V)
    for rule in (Never(["open"]), Once(["open"]), After("open", "install")):
        with pytest.raises(ConfigError, match=r"bind\(vocabulary\)"):
            rule.allowed_rows(past)
    for ids in ((2,), (V,)):
        with pytest.raises(ConfigError, match=f"{N_RESERVED} to {V - 1}"):
            Never(ids=ids).allowed_rows(past)
    with pytest.raises(DataError, match="encode it with the vocabulary"):
        Past([np.array([V])], V)
