"""Numpy in, numbers with intervals out; imports neither torch nor, until a calibration is fitted, scikit-learn."""

from habitus.metrics.bands import Band, score_bands
from habitus.metrics.calibration import Calibration, ReliabilityPoint, fit_calibration, reliability_curve
from habitus.metrics.classify import classification_metrics, paired_difference, paired_metric_differences
from habitus.metrics.decisions import ClassRow, choose_threshold, classification_report, confusion_matrix
from habitus.metrics.delong import auc_difference, auc_interval, delong
from habitus.metrics.intervals import Interval, wilson
from habitus.metrics.measures import METRICS, MICRO_METRICS
from habitus.metrics.outcome import degenerate_note
from habitus.metrics.regress import regression_differences, regression_metrics

__all__ = [
    "METRICS",
    "MICRO_METRICS",
    "Band",
    "Calibration",
    "ClassRow",
    "Interval",
    "ReliabilityPoint",
    "auc_difference",
    "auc_interval",
    "choose_threshold",
    "classification_metrics",
    "classification_report",
    "confusion_matrix",
    "degenerate_note",
    "delong",
    "fit_calibration",
    "paired_difference",
    "paired_metric_differences",
    "regression_differences",
    "regression_metrics",
    "reliability_curve",
    "score_bands",
    "wilson",
]
