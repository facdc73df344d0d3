"""How well a model does on a dataset: subsets, a paired comparison, end to end, and a report."""

from regionfer.evaluation.evaluate import Evaluation, ModelResults, Results, evaluate, passes
from regionfer.evaluation.report import prepare_report, write_report
from regionfer.evaluation.scores import Comparison, Measured

__all__ = [
    "Comparison",
    "Evaluation",
    "Measured",
    "ModelResults",
    "Results",
    "evaluate",
    "passes",
    "prepare_report",
    "write_report",
]
