"""Histories with a label for every event: logs and files of tagged text, their windows and their split."""
