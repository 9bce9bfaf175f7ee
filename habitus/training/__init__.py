"""Training: one loop for every task, with checkpoints that resume bit for bit."""

from habitus.training.callbacks import Callback, ProgressBar
from habitus.training.loop import TrainingResult, train
from habitus.training.optim import Training
from habitus.training.study import LabelledStudy, Study, score

__all__ = ["Callback", "LabelledStudy", "ProgressBar", "Study", "Training", "TrainingResult", "score", "train"]
