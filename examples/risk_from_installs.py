"""Which borrowers are risky, from the apps they installed: train, judge, save, reload, score.

python examples/risk_from_installs.py            # about a minute; ends in two numbers
python examples/risk_from_installs.py --users 200 --epochs 1
"""

import argparse
import tempfile
from pathlib import Path

import habitus as hb


def main() -> None:
    """Simulate a log, fit a GRU on it, and print its AUC beside the best rival's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=4_000)
    parser.add_argument("--epochs", type=int, default=8)
    given = parser.parse_args()

    data = hb.simulate_installs(n_users=given.users, seed=0)
    model = hb.SequenceModel(
        hb.Classify("risk"),
        backbone=hb.GRU(hidden_size=32),
        training=hb.Training(epochs=given.epochs, tracker=None),
    )
    model.fit(data.events, examples=data.labels)

    judged = model.evaluation_
    for name, metrics in {"GRU": judged.metrics, **judged.baselines}.items():
        print(f"{name:28} AUC {metrics['auc']} (n = {judged.n:,})")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "risk-model"
        model.save(path)
        before, after = model.predict(data.events, data.labels), hb.load(path).predict(data.events, data.labels)
    print("reloaded model scores the same:", before.equals(after))


if __name__ == "__main__":
    main()
