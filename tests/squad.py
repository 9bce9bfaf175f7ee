"""Made-up questions about passages: who lives where, and what each of them does."""

import numpy as np
import polars as pl

NAMES = ("ann", "bo", "cy", "di", "ed", "flo")
TOWNS = ("oslo", "rome", "kyiv", "lima", "paris")
JOBS = ("baker", "nurse", "judge", "pilot")
WORDS = [*NAMES, *TOWNS, *JOBS, "lives", "live", "in", "works", "work", "as", "a", "what", "where", "does", "do", "."]
WORDS += ["?", "is", "the", "##s", "who"]


def questions(n=120, seed=0, unanswerable=0.2, people=3):
    """Return a table of questions about some people each; some ask about somebody else."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        who = rng.choice(NAMES, people, replace=False)
        towns, jobs = (rng.choice(some, people, replace=False) for some in (TOWNS, JOBS))
        told = [f"{name} lives in {town} ." for name, town in zip(who, towns, strict=True)]
        told += [f"{name} works as a {job} ." for name, job in zip(who, jobs, strict=True)]
        passage, at, of_town = " ".join(rng.permutation(told)), rng.integers(people), rng.random() < 0.5
        name, answer = who[at], (towns if of_town else jobs)[at]
        if rng.random() < unanswerable:
            name, answer = next(one for one in NAMES if one not in who), ""
        asked = f"where does {name} live ?" if of_town else f"what does {name} work as ?"
        rows.append((asked, passage, answer))
    return pl.DataFrame(rows, schema=["question", "context", "answer"], orient="row")
