"""Texts as sequence rows: reading a table of texts, cleaning, tokens, and what is learned of training texts."""
