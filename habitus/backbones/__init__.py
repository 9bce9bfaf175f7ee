"""Backbones: step vectors in, step states out. One file each, read top to bottom."""

from habitus.backbones.embed import EventEmbedding, ProfileEmbedding
from habitus.backbones.encoder_decoder import EncoderDecoder
from habitus.backbones.gru import GRU
from habitus.backbones.lstm import LSTM
from habitus.backbones.pool import Pool, Pooling
from habitus.backbones.rnn import RNN
from habitus.backbones.transformer import Transformer

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "EncoderDecoder",
    "EventEmbedding",
    "Pool",
    "Pooling",
    "ProfileEmbedding",
    "Transformer",
]
