"""Recognise facial expressions when faces are turned away or covered.

>>> from regionfer import LABELS
>>> LABELS[:3]
('neutral', 'happiness', 'surprise')
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regionfer.drawing import draw as draw
    from regionfer.errors import ImageError as ImageError
    from regionfer.errors import ModelError as ModelError
    from regionfer.errors import NoFaceError as NoFaceError
    from regionfer.errors import OutputError as OutputError
    from regionfer.errors import RegionferError as RegionferError
    from regionfer.faces import MTCNN as MTCNN
    from regionfer.faces import Detections as Detections
    from regionfer.faces import FaceDetector as FaceDetector
    from regionfer.faces import YuNet as YuNet
    from regionfer.fusion import FusedModel as FusedModel
    from regionfer.images import read_image as read_image
    from regionfer.labels import LABELS as LABELS
    from regionfer.model_card import ModelCard as ModelCard
    from regionfer.onnx_model import ExpressionModel as ExpressionModel
    from regionfer.recognizer import Recognizer as Recognizer
    from regionfer.results import Expressions as Expressions
    from regionfer.results import Face as Face

    __version__: str

# Where each public name lives. Modules load when a name is first used, so that `import regionfer` costs nothing.
_HOMES = {
    "regionfer.drawing": ("draw",),
    "regionfer.errors": ("ImageError", "ModelError", "NoFaceError", "OutputError", "RegionferError"),
    "regionfer.faces": ("MTCNN", "Detections", "FaceDetector", "YuNet"),
    "regionfer.fusion": ("FusedModel",),
    "regionfer.images": ("read_image",),
    "regionfer.labels": ("LABELS",),
    "regionfer.model_card": ("ModelCard",),
    "regionfer.onnx_model": ("ExpressionModel",),
    "regionfer.recognizer": ("Recognizer",),
    "regionfer.results": ("Expressions", "Face"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "LABELS",
    "MTCNN",
    "Detections",
    "ExpressionModel",
    "Expressions",
    "Face",
    "FaceDetector",
    "FusedModel",
    "ImageError",
    "ModelCard",
    "ModelError",
    "NoFaceError",
    "OutputError",
    "Recognizer",
    "RegionferError",
    "YuNet",
    "draw",
    "read_image",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("regionfer")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'regionfer' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME_OF, "__version__"])
