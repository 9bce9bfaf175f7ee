"""`habitus fit --resume` after SIGKILL at random moments: is the weights file the same, byte for byte?

    python benchmarks/resume.py --kills 10

Each trial starts the command, kills it at a random moment, starts it again with --resume and compares the SHA-256 of
model/weights.safetensors with that of an undisturbed run. The last trial sets the sampler's position in the
checkpoint back by one batch; it must NOT give the same weights, or this check could not fail.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from habitus.data.simulate import simulate_installs, write_installs

_FLAGS = ["--set", "training.checkpoint_every_s=0.2", "--epochs", "4", "--threads", "1", "--quiet"]


def command(log: Path, out: Path, *more: str) -> list[str]:
    """Return the fit command on the simulated log."""
    habitus = Path(sys.executable).with_name("habitus")
    paths = ["--events", log / "installs.parquet", "--examples", log / "labels.parquet", "--out", out]
    return [str(part) for part in [habitus, "fit", "classify", *paths, "--target", "risk", *_FLAGS, *more]]


def run(log: Path, out: Path, *more: str) -> str:
    """Fit to the end and return the hash of the weights."""
    subprocess.run(command(log, out, *more), check=True, capture_output=True, text=True)
    return hashlib.sha256((out / "model" / "weights.safetensors").read_bytes()).hexdigest()


def kill_after(seconds: float, log: Path, out: Path) -> bool:
    """Start a fit and kill it with SIGKILL after some seconds; returns whether it was still running."""
    process = subprocess.Popen(command(log, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    was_running = process.poll() is None
    if was_running:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return was_running


def main() -> None:
    """Run the trials and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--users", type=int, default=1_500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        log = folder / "log"
        write_installs(simulate_installs(given.users, seed=0), log)
        began = time.monotonic()
        expected = run(log, folder / "undisturbed")
        seconds, moments, same, in_training = time.monotonic() - began, random.Random(0), 0, 0
        for number in range(given.kills):
            out = folder / str(number)
            moment = moments.uniform(0.2, 0.95) * seconds
            killed = kill_after(moment, log, out)
            position = _position(out)
            in_training += position is not None
            found = run(log, out, "--resume")
            same += found == expected
            at = "before the first checkpoint" if position is None else f"checkpoint at epoch, batch {position}"
            print(f"kill {number + 1} after {moment:.1f} s ({killed=}, {at}): same={found == expected}", flush=True)
        print(f"\n{same} of {given.kills} identical, {in_training} of them resumed from a checkpoint")
        _bite(log, folder / "bite", expected, seconds)


def _position(out: Path) -> tuple[int, int] | None:
    progress = out / "checkpoint" / "progress.json"
    if not progress.is_file():
        return None
    found = json.loads(progress.read_text("utf-8"))
    return found["epoch"], found["position"]


def _bite(log: Path, out: Path, expected: str, seconds: float) -> None:
    """Set the sampler back by one batch in a real checkpoint: the weights must differ."""
    for share in (0.6, 0.7, 0.5, 0.8, 0.65, 0.75):
        kill_after(share * seconds, log, out)
        position = _position(out)
        if position and position[1] > 0:
            progress = out / "checkpoint" / "progress.json"
            document = json.loads(progress.read_text("utf-8"))
            progress.write_text(json.dumps(document | {"position": position[1] - 1}), "utf-8")
            print(f"sampler one batch short: same={run(log, out, '--resume') == expected} (must be False)")
            return
    print("no kill fell inside an epoch, so that the sampler's position could not be set back; run again")


if __name__ == "__main__":
    main()
