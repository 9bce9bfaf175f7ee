"""Train in child processes, kill them with SIGKILL at random moments, resume, and print what came of it as JSON.

    python killed.py FOLDER N_KILLS

The children are forked from a process that has only imported, so that each costs no import.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path


def fork(work):
    """Start `work` in a child; returns its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    return pid


def ended(pid):
    """Say whether a child has ended, and leave it to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def step_of(place):
    """Return the step of the checkpoint that lies there, 0 where there is none (or it is just being replaced)."""
    try:
        return json.loads((place / "checkpoint" / "progress.json").read_text())["step"]
    except (OSError, ValueError):
        return 0


def main(folder, n_kills):
    import tiny

    def train_in(place):
        network, _ = tiny.run(place, resume=True, checkpoint_every_s=0.0, epochs=3)
        (place / "digest").write_text(tiny.digest(network))

    os.waitpid(fork(lambda: train_in(folder / "undisturbed")), 0)
    expected, moments, found = (folder / "undisturbed" / "digest").read_text(), random.Random(0), []
    for number in range(n_kills):
        place, step = folder / str(number), moments.randrange(3 * tiny.N_BATCHES - 2)
        pid = fork(lambda place=place: train_in(place))
        while step_of(place) < step and not ended(pid):
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.02))  # anywhere in a step, or in the writing of a checkpoint
        os.kill(pid, signal.SIGKILL)  # a child that has ended waits for `waitpid`, so that the id is still its own
        died = os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        status = os.waitpid(fork(lambda place=place: train_in(place)), 0)[1]
        same = status == 0 and (place / "digest").read_text() == expected
        found.append({"died": died, "after_step": step, "same": same})
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
