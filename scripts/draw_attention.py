"""Draw docs/attention.png: the attention weights that docs/mathematics.md computes, as a heat map.

    python scripts/draw_attention.py             write docs/attention.png
    python scripts/draw_attention.py other.png   write another file

The words are Chinese; where no font for them is installed, they are numbered, and the legend is printed. Needs
matplotlib (`pip install 'habitus[report]'`). The lines of `sentence_weights` are those of the page; a test
compares the two.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import numpy as np

from habitus import reference as ref
from habitus.reference.parameters import FloatArray, Params

matplotlib.use("Agg")
from matplotlib import font_manager, pyplot

TARGET = Path(__file__).resolve().parents[1] / "docs" / "attention.png"
WORDS = ["小明", "今天", "去", "商店", "买", "了", "一", "本", "书"]
MEANINGS = ["Xiaoming", "today", "go", "shop", "buy", "(done)", "one", "(volume)", "book"]
FONTS = ["Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"]
FONTS += ["PingFang SC", "Heiti SC", "Microsoft YaHei", "SimHei"]
WIDTH = 4


def main(arguments: list[str]) -> int:
    """Draw the picture; return the exit code."""
    target = Path(arguments[0]) if arguments else TARGET
    font = chinese_font()
    draw(sentence_weights(), target, font)
    if font is None:
        print("No Chinese font is installed; the words are numbered:")
        print("  ".join(f"{number} {word}" for number, word in enumerate(WORDS, start=1)))
    print(target)
    return 0


def sentence_weights() -> FloatArray:
    """Return the softmax weights of sections 1 to 6 of the page, (9, 9)."""
    rng = np.random.default_rng(0)
    table: Params = {"weight": rng.normal(size=(len(WORDS), WIDTH))}
    embedded, _ = ref.embedding_forward(np.arange(len(WORDS)), table)
    x = embedded + ref.sinusoidal_positions(len(WORDS), WIDTH)
    weights_of = {name: ref.linear_init(rng, WIDTH, WIDTH) for name in ("query", "key", "value")}
    query, _ = ref.linear_forward(x, weights_of["query"])
    key, _ = ref.linear_forward(x, weights_of["key"])
    return ref.softmax_forward(query @ key.T / np.sqrt(WIDTH))[0]


def chinese_font() -> str | None:
    """Return the name of an installed font that has Chinese characters."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in FONTS if name in installed), None)


def draw(weights: FloatArray, target: Path, font: str | None) -> None:
    """Write the heat map, each weight printed in its cell."""
    labels = [str(number) for number in range(1, len(WORDS) + 1)] if font is None else WORDS
    with pyplot.rc_context({"font.family": [font] if font else ["DejaVu Sans"]}):
        figure, axes = pyplot.subplots(figsize=(7.6, 7.0), layout="constrained")
        axes.imshow(weights, cmap="Blues", vmin=0, vmax=float(weights.max()))
        pairs = list(zip(MEANINGS, labels, strict=True))
        axes.set_xticks(range(len(labels)), [f"{label}\n{meaning}" for meaning, label in pairs], linespacing=1.4)
        axes.set_yticks(range(len(labels)), [f"{meaning}  {label}" for meaning, label in pairs])
        axes.tick_params(length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("is asked (key)")
        axes.set_ylabel("asks (query); each row sums to 1")
        for (row, column), weight in np.ndenumerate(weights):
            colour = "white" if weight > 0.5 * weights.max() else "#303030"
            axes.text(column, row, f"{weight:.2f}", ha="center", va="center", color=colour, fontsize=9)
        axes.set_title(r"softmax($QK^T/\sqrt{d}$): random weights (seed 0), untrained", fontsize=11, pad=12)
        figure.savefig(target, dpi=110)
        pyplot.close(figure)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
