"""A BERT of two small layers with a tokenizer of a few words, as `save_pretrained` writes one."""

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = ["good", "bad", "film", "a", "not", "very", "##ly", "##s", "buy", "click", "phone", "tea", ".", ","]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def tiny_bert(folder, seed=0, words=WORDS, positions=40, std=0.4):
    """Write the encoder into a folder and return its path as text."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    vocabulary = {name: number for number, name in enumerate([*SPECIAL, *words])}
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=positions, pad_token_id=0,
    )  # fmt: skip
    model = BertModel(config)
    for one in model.parameters():  # far from the start, so that every word and place tells
        if std is not None:
            torch.nn.init.normal_(one, std=std)
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(f"{folder}/tokenizer.json")
    return str(folder)
