"""Evaluate: runs, comparisons and the report that shows what they are worth."""
