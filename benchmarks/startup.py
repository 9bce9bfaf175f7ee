"""How long `import habitus` and `habitus --help` take, beside an empty Python, and what they load.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 7
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import habitus": [sys.executable, "-c", "import habitus"],
    "habitus --help": [str(Path(sys.executable).with_name("habitus")), "--help"],
    "habitus fit classify --help": [str(Path(sys.executable).with_name("habitus")), "fit", "classify", "--help"],
}
HEAVY = ("torch", "polars", "numpy", "pyarrow")
_LOADED = "import habitus.cli, sys; print([name for name in {heavy} if name in sys.modules])"


def main() -> None:
    """Print the medians and the heavy modules that the command line has loaded."""
    print(f"| command | seconds, median of {ROUNDS} |\n|---|---|")
    for name, command in COMMANDS.items():
        times = []
        for _ in range(ROUNDS + 1):
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times.append(time.perf_counter() - began)
        print(f"| {name} | {statistics.median(times[1:]):.2f} |")
    loaded = subprocess.run(
        [sys.executable, "-c", _LOADED.format(heavy=HEAVY)], check=True, capture_output=True, text=True
    )
    print(f"\nHeavy modules loaded by the command line: {loaded.stdout.strip()}")


if __name__ == "__main__":
    main()
