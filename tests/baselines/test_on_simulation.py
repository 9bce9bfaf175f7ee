"""On the simulation, counting finds the bag and stays well below the best possible, read through the real reader."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from habitus.baselines import BASELINES
from habitus.data.encode import Encoder
from habitus.data.events import read_events
from habitus.data.examples import read_examples
from habitus.data.sequence import build_sequences
from habitus.data.simulate import simulate_installs
from habitus.data.split import Split


@pytest.mark.slow
def test_counting_lies_between_guessing_and_the_truth():
    simulation = simulate_installs(n_users=6_000, seed=0)
    log = read_events(simulation.events)
    examples, schema = read_examples(simulation.labels, log, target="risk")
    part = Split().assign(examples.frame, schema.entity, schema.cutoff)
    sequences = build_sequences(log, examples)
    encoder = Encoder.fit(sequences, part == "train")
    encoded = encoder.encode(sequences).with_target(simulation.labels["risk"].to_numpy())
    train, validation, test = (encoded.take(part == name) for name in ("train", "validation", "test"))
    sizes = {**encoder.sizes, **encoder.profile_sizes}
    best = roc_auc_score(test.target, simulation.truth["true_probability"].to_numpy()[part == "test"])
    auc = {}
    for name, baseline in BASELINES.items():
        probability = baseline().fit(train, validation, sizes, 2).predict_proba(test)
        auc[name] = roc_auc_score(test.target, probability[:, 1])
    assert auc["most frequent"] == 0.5
    assert 0.66 < auc["bag + logistic regression"] < best - 0.05, (auc, best)
    assert 0.66 < auc["bag + LightGBM"] < best - 0.05, (auc, best)
    assert np.mean(encoded.target) == pytest.approx(simulation.labels["risk"].mean())
