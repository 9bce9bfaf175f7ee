"""Pairs of sequences: tables of texts or lists, their vocabularies, their split, and batches of similar lengths."""
