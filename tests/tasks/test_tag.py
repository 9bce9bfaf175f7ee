"""The task: what its options refuse, what it judges by, and what its network reads."""

import itertools

import numpy as np
import pytest
import torch

from habitus.backbones import GRU, Transformer
from habitus.data.histories import Histories
from habitus.data.tags.tagged import Tagged, Tags
from habitus.errors import ConfigError, DataError
from habitus.tasks.network import Inputs
from habitus.tasks.tag import Tag
from habitus.tasks.tag_network import TagNetwork, TagTensors, tag_rows

DAY_US = 86_400_000_000


def rows(lengths=(5, 1, 9), n_labels=2, seed=0, names=("no", "yes", "maybe")):
    rng = np.random.default_rng(seed)
    n = sum(lengths)
    ids = {"item": rng.integers(3, 8, n).astype(np.int32)}
    times = np.sort(rng.integers(0, 50, n)) * DAY_US
    histories = Histories(np.concatenate([[0], np.cumsum(lengths)]), ids, {}, times)
    return Tagged(histories, rng.integers(0, n_labels, n).astype(np.int32), names[:n_labels], n_labels)


def network(task, backbone=None, **options):
    torch.manual_seed(0)
    backbone = backbone or GRU(hidden_size=8)
    return TagNetwork(Inputs({"item": 8}, {}, {}, {}), backbone, task, **options).eval()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"label_history": True, "direction": "both"}, "know an event's own label"),
        ({"crf": True}, "direction='both'"),
        ({"scheme": "bios"}, "did you mean 'bio'"),
        ({"labels": ("a", "a")}, "names one twice"),
    ],
)
def test_options_that_cannot_be_right_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        Tag("tag", **options)


def test_labels_that_are_no_bio_tags_are_refused():
    with pytest.raises(DataError, match="'noun'"):
        Tag("tag", scheme="bio", labels=("O", "noun"))


def test_the_task_survives_json_with_its_labels():
    task = Tag("tag", direction="both", scheme="bio", crf=True).learned(("B-x", "O"))
    assert Tag.from_json(task.to_json()) == task


@pytest.mark.parametrize(
    ("task", "monitor"),
    [
        (Tag("t", labels=("a", "b")), "auc"),
        (Tag("t", labels=("a", "b", "c")), "macro_f1"),
        (Tag("t", scheme="bio", labels=("B-x", "O")), "f1"),
    ],
)
def test_the_monitor_is_that_of_the_labels(task, monitor):
    truth = rows(n_labels=len(task.labels), names=task.labels)
    answer = Tags.likeliest(np.random.default_rng(1).dirichlet(np.ones(len(task.labels)), len(truth.labels)))
    assert task.monitor == monitor
    found, gap = task.metrics(truth, answer), task.differences(truth, answer, answer)
    assert monitor in found and gap[monitor].value == 0
    assert task.monitor_value(truth, answer) == pytest.approx(found[monitor].value)


def test_a_label_that_two_labels_do_not_know_is_refused():
    task, truth = Tag("t", labels=("no", "yes")), rows(n_labels=3)
    with pytest.raises(DataError, match="'maybe'"):
        task.metrics(truth, Tags.likeliest(np.full((15, 2), 0.5)))
    with pytest.raises(DataError, match="nothing to judge"):
        task.metrics(Tagged(truth.histories, np.full(15, -1), ("no", "yes"), 2), Tags.likeliest(np.full((15, 2), 0.5)))


def test_the_loss_is_the_cross_entropy_of_labelled_events():
    task = Tag("t", labels=("no", "yes"))
    some = rows()
    some.labels[[2, 7]] = -1
    net = network(task)
    tensors = TagTensors.of(some, task, 512)
    answer, loss, n = tag_rows(net, tensors)
    known = some.labels >= 0
    expected = -np.log(answer.probability[np.arange(15), some.labels][known]).sum()
    assert n == 13 and loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("direction", ["past", "both"])
def test_windows_learn_every_labelled_event_once(direction):
    task = Tag("t", direction=direction, labels=("no", "yes"))
    backbone = Transformer(hidden_size=8, causal=direction == "past", n_heads=2)
    some = rows((23, 4, 1))
    whole, cut = (TagTensors.of(some, task, length) for length in (512, 6))
    assert len(cut.windows) > 3
    targets = cut.gather(cut.windows).target
    assert (targets >= 0).sum() == 28
    n = tag_rows(network(task, backbone), cut)[2]
    assert n == 28 == tag_rows(network(task, backbone), whole)[2]


def test_a_recurrent_network_reads_no_time_when_told_so():
    task, some = Tag("t", labels=("no", "yes")), rows()
    later = Tagged(
        Histories(some.histories.offsets, some.histories.ids, {}, some.histories.time_us * 3),
        some.labels, some.names, 2,
    )  # fmt: skip
    for backbone in (GRU(hidden_size=8), Transformer(hidden_size=8, n_heads=2, time_aware=True)):
        for use_time in (False, True):
            net = network(task, backbone, use_time=use_time)
            one, other = (tag_rows(net, TagTensors.of(given, task, 512))[0].probability for given in (some, later))
            assert (np.abs(one - other).max() > 1e-6) == use_time


def test_bio_tags_of_a_network_are_well_formed():
    names = ("B-x", "B-y", "I-x", "I-y", "O")
    some = rows((30, 20), n_labels=5, names=names)
    for crf in (False, True):
        task = Tag("t", direction="both", scheme="bio", crf=crf, labels=names)
        net = network(task, GRU(hidden_size=8, bidirectional=True))
        torch.nn.init.normal_(net.head.weight, std=5)
        codes = tag_rows(net, TagTensors.of(some, task, 512))[0].codes
        for start, stop in ((0, 30), (30, 50)):
            tags = ["O", *(names[code] for code in codes[start:stop])]
            assert all(b[0] != "I" or a[2:] == b[2:] for a, b in itertools.pairwise(tags))
