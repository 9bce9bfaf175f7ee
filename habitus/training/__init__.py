"""Training: one loop for every task, with checkpoints that resume bit for bit."""

from habitus.training.callbacks import Callback, ProgressBar
from habitus.training.loop import TrainingResult, score, train
from habitus.training.optim import Training

__all__ = ["Callback", "ProgressBar", "Training", "TrainingResult", "score", "train"]
