"""The text classifier: its gradients, and that it learns what counting characters cannot tell."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from habitus import reference as ref


def which_comes_first(n, seed):
    """Return texts with one 买 and one 卖 among other characters, and 1 where 买 stands before 卖."""
    rng = np.random.default_rng(seed)
    texts, target = [], []
    for _ in range(n):
        text = rng.choice(list("人天书店"), rng.integers(3, 7))
        buy, sell = rng.choice(len(text), 2, replace=False)
        text[buy], text[sell] = "买", "卖"
        texts.append("".join(text))
        target.append(int(buy < sell))
    return texts, np.array(target)


def test_gradients_equal_differences(rng, by_differences):
    texts = ref.ids_of(["ab", "bca"], "abc")
    target, params = np.array([0, 1]), ref.classifier_init(rng, 5, 2, width=4)

    def loss(rng=7):
        logits, cache = ref.classifier_forward(texts, params, 0.3, np.random.default_rng(rng))
        return ref.cross_entropy_forward(logits, target), cache

    (_, of_loss), cache = loss()
    grads = ref.classifier_backward(ref.cross_entropy_backward(1.0, of_loss), cache)
    assert grads.keys() == params.keys()
    for name, value in params.items():
        assert_allclose(grads[name], by_differences(lambda: loss()[0][0], value), atol=1e-5, err_msg=name)


def test_it_learns_the_order_of_two_characters():
    texts, target = which_comes_first(300, seed=0)
    characters = ref.vocabulary(texts)
    params = ref.classifier_init(np.random.default_rng(0), len(characters) + 2, 2)
    params, losses = ref.classifier_fit(ref.ids_of(texts, characters), target, params, n_steps=200)
    assert np.mean(losses[-20:]) < 0.25 * losses[0]
    new_texts, new_target = which_comes_first(200, seed=1)
    right = ref.classifier_predict(ref.ids_of(new_texts, characters), params) == new_target
    assert right.mean() > 0.9


def test_the_same_seed_gives_the_same_weights():
    texts, target = ref.ids_of(["ab", "ba", "aab"], "ab"), np.array([0, 1, 0])
    start = ref.classifier_init(np.random.default_rng(0), 4, 2, width=4)
    first, second = (ref.classifier_fit(texts, target, start, n_steps=5, seed=3)[0] for _ in range(2))
    for name, value in first.items():
        assert (value == second[name]).all()


def test_padding_changes_nothing():
    params = ref.classifier_init(np.random.default_rng(0), 5, 2)
    together = ref.classifier_forward(ref.ids_of(["ab", "abcabc"], "abc"), params)[0]
    assert_allclose(ref.classifier_forward(ref.ids_of(["ab"], "abc"), params)[0][0], together[0])


@pytest.mark.parametrize("text", ["x", "xyz"])
def test_characters_never_seen_are_read_as_unknown(text):
    assert ref.ids_of([text], "ab").ids.tolist() == [[1] * len(text)]
