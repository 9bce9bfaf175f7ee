"""A small fitted model and its log, made once a process."""

from functools import cache

import habitus as hb
from habitus.data.simulate import simulate_installs
from habitus.model import Options
from habitus.training import Training


@cache
def small_log():
    return simulate_installs(400, seed=0)


@cache
def small_model():
    log = small_log()
    model = hb.SequenceModel(
        hb.Classify("risk"),
        backbone=hb.GRU(hidden_size=16),
        data=hb.Data(max_length=24),
        training=Training(epochs=1, threads=1),
        options=Options(baselines=()),
    )
    return model.fit(log.events, log.labels)
