"""What holds for every test: one thread in each process, because `make test` runs several processes side by side.

Set before anything imports torch or numpy; doctests of the package load this file too.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_COLOR", "1")  # so that help and messages can be compared as plain text
