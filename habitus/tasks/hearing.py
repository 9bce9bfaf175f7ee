"""Answers of a speech network: transcripts of utterances, and how likely a text is.

Batches by length, no gradient, nothing kept between utterances: alone and in a batch the answer is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from habitus.data.loader import length_batches
from habitus.data.speech_encoder import SpeechEncoder
from habitus.data.utterances import Utterances
from habitus.tasks.ctc import BLANK, beam, greedy
from habitus.tasks.lexicon import Lexicon
from habitus.tasks.transcribe import SpeechBatch, SpeechNetwork, Transcribe

_FRAMES_A_BATCH, _ROWS_A_BATCH = 32_768, 64


@torch.no_grad()
def log_shares(network: SpeechNetwork, rows: Utterances) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the number of each utterance and its log-shares of blank and characters, float32 (T', C); any order."""
    network.eval()
    device = next(network.parameters()).device
    for chosen in length_batches(rows.lengths, batch_tokens=_FRAMES_A_BATCH, batch_rows=_ROWS_A_BATCH):
        log_probs_BTC, n_steps_B = network(speech_batch([rows.of(row) for row in chosen]).to(device))
        for row, log_probs_TC, n_steps in zip(chosen, log_probs_BTC.cpu().numpy(), n_steps_B.tolist(), strict=True):
            yield int(row), log_probs_TC[:n_steps]


def transcribed(
    network: SpeechNetwork, rows: Utterances, encoder: SpeechEncoder, task: Transcribe
) -> tuple[list[str], np.ndarray]:
    """Return the transcripts, and the mean logarithm of the share of their characters, float64 (n,).

    The share of a text sums over all ways to spread it over the steps, and its logarithm is divided by the number of
    characters (of steps, for an empty text).
    """
    texts, scores = [""] * len(rows), np.zeros(len(rows))
    lexicon = lexicon_of(encoder) if task.decoder == "words" else None
    for row, log_probs_TC in log_shares(network, rows):
        ids = greedy(log_probs_TC) if task.decoder == "greedy" else beam(log_probs_TC, task.beam_width, lexicon)
        texts[row] = encoder.text(ids)
        scores[row] = _log_share(log_probs_TC, ids) / (len(ids) or len(log_probs_TC))
    return texts, scores


def lexicon_of(encoder: SpeechEncoder) -> Lexicon:
    """Return the words of the training transcripts."""
    return Lexicon((encoder.ids(word) for word in encoder.words), encoder.numbers().get(" "))


def heard(network: SpeechNetwork, rows: Utterances, encoder: SpeechEncoder) -> tuple[list[str], np.ndarray]:
    """Return greedy transcripts, and minus the logarithm of the share of each utterance's own transcript, (n,).

    It is infinite where a transcript does not fit its recording.
    """
    texts, losses = [""] * len(rows), np.zeros(len(rows))
    for row, log_probs_TC in log_shares(network, rows):
        texts[row] = encoder.text(greedy(log_probs_TC))
        losses[row] = -_log_share(log_probs_TC, encoder.ids(rows.texts[row]))
    return texts, losses


def speech_batch(frames: Sequence[np.ndarray], texts: Sequence[Sequence[int]] | None = None) -> SpeechBatch:
    """Return utterances, (T, M) each, as padded tensors."""
    lengths = np.array([len(one) for one in frames], dtype=np.int64)
    padded = np.zeros((len(frames), int(lengths.max()), frames[0].shape[1]), np.float32)
    for row, one in enumerate(frames):
        padded[row, : len(one)] = one
    return SpeechBatch(
        torch.from_numpy(padded),
        torch.from_numpy(lengths),
        None if texts is None else torch.tensor([number for text in texts for number in text], dtype=torch.int64),
        None if texts is None else torch.tensor([len(text) for text in texts], dtype=torch.int64),
    )


def _log_share(log_probs_TC: np.ndarray, ids: Sequence[int]) -> float:
    return -float(
        F.ctc_loss(
            torch.from_numpy(np.ascontiguousarray(log_probs_TC))[:, None].double(),
            torch.tensor([list(ids)], dtype=torch.int64),
            torch.tensor([len(log_probs_TC)]),
            torch.tensor([len(ids)]),
            blank=BLANK,
            reduction="sum",
        )
    )
