"""How well a model does on a dataset: subsets, a paired comparison, end to end, under stress, and reports."""

from regionfer.evaluation.evaluate import Evaluation, ModelResults, Results, evaluate, passes
from regionfer.evaluation.report import prepare_report, write_report
from regionfer.evaluation.scores import Comparison, Measured
from regionfer.evaluation.stress import Stress, stress
from regionfer.evaluation.stress_faces import DatasetFaces, PhotoFaces
from regionfer.evaluation.stress_report import write_stress_report

__all__ = [
    "Comparison",
    "DatasetFaces",
    "Evaluation",
    "Measured",
    "ModelResults",
    "PhotoFaces",
    "Results",
    "Stress",
    "evaluate",
    "passes",
    "prepare_report",
    "stress",
    "write_report",
    "write_stress_report",
]
