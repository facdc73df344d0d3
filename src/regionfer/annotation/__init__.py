"""Attributes of the faces of a dataset, by the model and by hand, and challenge lists made from them."""

from regionfer.annotation.attributes import POSE_BINS, FaceRow, pose_bin
from regionfer.annotation.inputs import Inputs, read_inputs
from regionfer.annotation.lists import write_lists
from regionfer.annotation.run import Annotated, annotate
from regionfer.annotation.table import AttributeTable, TableCard

__all__ = [
    "POSE_BINS",
    "Annotated",
    "AttributeTable",
    "FaceRow",
    "Inputs",
    "TableCard",
    "annotate",
    "pose_bin",
    "read_inputs",
    "write_lists",
]
