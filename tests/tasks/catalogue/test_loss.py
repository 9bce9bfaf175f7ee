"""CatalogueLoss: the choice, what it says, and that each choice is the function it names."""

import pytest
import torch

from habitus.errors import ConfigError
from habitus.tasks.catalogue import (
    CatalogueLoss,
    binary_cross_entropy,
    draw_negatives,
    full_softmax,
    gbce,
    has_fast_bf16,
    loss,
    precision,
    sampled_softmax,
)


def batch(n=6, d=4, v=11):
    rng = torch.Generator().manual_seed(0)
    states, weight, bias = (torch.randn(*shape, generator=rng) for shape in ((n, d), (v, d), (v,)))
    return states, weight.requires_grad_(), bias, torch.randint(3, v, (n,), generator=rng)


def seeded(function, *arguments, **options):
    torch.manual_seed(7)
    return function(*arguments, **options)


def test_auto_goes_by_size_and_a_kind_overrules_it():
    auto = CatalogueLoss()
    assert [auto.choose(size) for size in (13, 10_003, 10_004, 200_003)] == ["softmax", "softmax", "sampled", "sampled"]
    assert CatalogueLoss(negatives=20_000).choose(15_000) == "softmax"  # fewer items than negatives
    assert CatalogueLoss("gbce").choose(13) == "gbce"
    assert CatalogueLoss("softmax").choose(200_003) == "softmax"


@pytest.mark.parametrize(
    ("options", "size", "words"),
    [
        ({}, 3417, ["softmax over all 3,414 items", "chosen by size"]),
        ({}, 200_003, ["512 sampled negatives out of 200,000 items", "chosen by size (beyond 10,000"]),
        ({"kind": "sampled", "in_batch_share": 0.5}, 103, ["50% of them from the batch, with logQ", "asked for"]),
        ({"kind": "gbce"}, 103, ["generalised binary cross-entropy with 512 sampled negatives (t=0.75)", "asked for"]),
        ({"kind": "bce"}, 103, ["one sampled negative for each target", "asked for"]),
        ({"kind": "bce", "precision": "bf16"}, 103, ["fp32: bf16 is for the full softmax"]),
    ],
)
def test_the_sentence_says_the_choice_and_why(options, size, words):
    sentence = CatalogueLoss(**options).sentence(size)
    assert all(word in sentence for word in words), sentence


def test_each_kind_is_the_function_it_names():
    arguments = batch()
    target = arguments[3]
    negatives = seeded(draw_negatives, 5, 11)[0]
    expected = {
        "softmax": full_softmax(*arguments),
        "sampled": sampled_softmax(*arguments, negatives=negatives),
        "gbce": gbce(*arguments, negatives, beta=1 - 0.5 * (1 - 5 / 7)),  # 5 of the 7 items beside the target
        "bce": binary_cross_entropy(*arguments, seeded(torch.randint, 3, 11, (len(target), 1))),
    }
    for kind, value in expected.items():
        assert seeded(CatalogueLoss(kind, negatives=5, gbce_t=0.5), *arguments).item() == pytest.approx(value.item())


def test_in_batch_negatives_are_corrected_by_the_counts_given():
    arguments, counts = batch(), torch.arange(11)
    options = {"batch_targets": arguments[3], "in_batch_share": 0.5, "counts": counts}
    negatives, log_expected = seeded(draw_negatives, 8, 11, **options)
    expected = sampled_softmax(*arguments, negatives=negatives, log_expected=log_expected)
    made = seeded(CatalogueLoss("sampled", negatives=8, in_batch_share=0.5), *arguments, counts=counts)
    assert made == expected


@pytest.mark.parametrize("kind", ["sampled", "gbce", "bce"])
def test_draws_come_from_the_global_generator_or_the_given_one(kind):
    of, arguments = CatalogueLoss(kind, negatives=2), batch()
    assert seeded(of, *arguments) == seeded(of, *arguments)
    made = [of(*arguments, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert made[0] == made[1]


@pytest.mark.parametrize("fast", [True, False])
def test_bf16_is_used_where_it_is_fast_and_refused_aloud_elsewhere(monkeypatch, fast):
    monkeypatch.setattr(loss, "has_fast_bf16", lambda: fast)
    of, arguments = CatalogueLoss(precision="bf16"), batch()
    assert of(*arguments) == full_softmax(*arguments, precision="bf16" if fast else "fp32")
    assert ("in bf16." if fast else "no instructions for bf16") in of.sentence(11)


@pytest.mark.parametrize(
    ("found", "fast"),
    [
        ({"architecture": "x86_64", "avx512_bf16": True}, True),
        ({"architecture": "x86_64", "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": True}, True),
        ({"architecture": "aarch64", "bf16": True}, True),
        ({"architecture": "aarch64", "neon": True}, False),
    ],
)
def test_the_processor_is_asked_about_bf16_and_not_the_library(monkeypatch, found, fast):
    monkeypatch.setattr(precision.torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert has_fast_bf16() is fast


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "softmx"}, "did you mean 'softmax'"),
        ({"precision": "fp16"}, "precision='fp16'"),
        ({"negatives": 0}, "use 1 or more"),
        ({"in_batch_share": 1.5}, "0 to 1"),
        ({"gbce_t": -0.1}, "0 to 1"),
        ({"kind": "gbce", "in_batch_share": 0.5}, "use kind='sampled'"),
    ],
)
def test_impossible_options_are_refused_with_a_sentence(options, message):
    with pytest.raises(ConfigError, match=message):
        CatalogueLoss(**options)
