"""Which app comes next: train on simulated installs, recommend, fold one more event in, save, load, recommend again.

python examples/next_app.py --users 2000 --epochs 3
"""

import argparse
import tempfile
from datetime import timedelta

import polars as pl

import habitus as hb

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--users", type=int, default=2000)
parser.add_argument("--epochs", type=int, default=3)
arguments = parser.parse_args()

events = hb.simulate_installs(arguments.users, seed=0).events.select("user_id", "timestamp", "item_id")

model = hb.SequenceModel(
    hb.NextEvent("item_id"),
    backbone=hb.GRU(pooling="last"),
    split=hb.NextSplit("temporal"),
    training=hb.Training(epochs=arguments.epochs, learning_rate=5e-3, tracker=None),
)
model.fit(events)
judged = model.evaluation_.headline
print(f"next app among {len(model.vocabulary_.values):,}, n = {judged.n}: NDCG@10 {judged.metrics['ndcg@10']}")
for name, metrics in judged.baselines.items():
    print(f"  {name}: {metrics['ndcg@10']}, model minus this {judged.differences['model - ' + name]['ndcg@10']}")

recommended = model.recommend(events, k=3)
print(recommended.head(3))
print(model.generate(events.head(200), n=2, sampling=hb.Sampling(seed=1), rules=[hb.Once()]).head(2))

# one user, event by event: the state after each event is what reading the whole history again would give
user = events["user_id"][0]
stream = model.stream()
for event in events.filter(pl.col("user_id") == user).sort("timestamp", maintain_order=True).iter_rows(named=True):
    stream.push(user, event)
print("after one more event:")
stream.push(user, event | {"timestamp": event["timestamp"] + timedelta(hours=1)})
print(stream.recommend(user, k=3))

with tempfile.TemporaryDirectory() as folder:
    model.save(f"{folder}/model")
    again = hb.load(f"{folder}/model").recommend(events, k=3)
print("scores the same:", again.equals(recommended))
