"""Backbones: step vectors in, step states out. One file each, read top to bottom."""

from habitus.backbones.cnn import CNN
from habitus.backbones.embed import EventEmbedding, ProfileEmbedding
from habitus.backbones.encoder_decoder import EncoderDecoder
from habitus.backbones.gru import GRU
from habitus.backbones.lstm import LSTM
from habitus.backbones.pool import Pool, Pooling
from habitus.backbones.rnn import RNN
from habitus.backbones.transformer import Transformer

__all__ = [
    "CNN",
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
