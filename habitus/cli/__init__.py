"""The command line: `habitus --help`. Loads neither torch nor Polars until a command needs them."""

from habitus.cli.entry import app, main

__all__ = ["app", "main"]
