# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["mtcnn==1.0.0", "tensorflow-cpu>=2.16", "scikit-image>=0.24", "joblib", "lz4"]
# ///
"""Write tests/faces/mtcnn_goldens.json: what the mtcnn package finds, run by TensorFlow.

    pip install mtcnn==1.0.0 tensorflow-cpu scikit-image
    python scripts/make_mtcnn_goldens.py

Needs TensorFlow and is therefore no part of the tests. The photos are cut from scikit-image's astronaut (NASA, public
domain) by slicing alone, so that the test makes the same pixels. The networks' inputs come from a seeded generator.
"""

import json
from pathlib import Path

import numpy as np
from mtcnn import MTCNN
from skimage.data import astronaut

TARGET = Path(__file__).parents[1] / "tests" / "faces" / "mtcnn_goldens.json"
THRESHOLDS = {"threshold_pnet": 0.6, "threshold_rnet": 0.7, "threshold_onet": 0.9}

PHOTOS = {
    "photo": {"rows": [0, 512], "columns": [0, 512]},
    "mirrored": {"rows": [0, 512], "columns": [0, 512], "mirror": True},
    "grey": {"rows": [0, 512], "columns": [0, 512], "grey": True},
    "portrait": {"rows": [0, 260], "columns": [90, 350]},
    "twice as large": {"rows": [0, 300], "columns": [60, 360], "repeat": 2},
    "half as large": {"rows": [0, 512], "columns": [0, 512], "step": 2},
}


def photo(
    rows: list[int], columns: list[int], step: int = 1, repeat: int = 1, mirror: bool = False, grey: bool = False
):
    """Part of the astronaut; the test holds the same lines."""
    image = astronaut()[rows[0] : rows[1] : step, columns[0] : columns[1] : step]
    image = image.repeat(repeat, axis=0).repeat(repeat, axis=1)
    image = image[:, ::-1] if mirror else image
    return np.ascontiguousarray(image[..., [1, 1, 1]] if grey else image)


def main() -> None:
    """Run the original and write what it gives."""
    detector = MTCNN()
    rng = np.random.default_rng(0)
    networks = {}
    for stage, name, shape in zip(
        detector.stages, ["pnet", "rnet", "onet"], [(1, 17, 21, 3), (2, 24, 24, 3), (2, 48, 48, 3)], strict=True
    ):
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
        offsets, *landmarks, shares = (o.numpy() for o in stage._model((pixels.astype(np.float32) - 127.5) / 128))
        networks[name] = {"shape": shape, "offsets": offsets.tolist(), "scores": shares[..., 1].tolist()}
        if landmarks:  # five x, then five y
            networks[name]["landmarks"] = landmarks[0].reshape(-1, 2, 5).swapaxes(1, 2).tolist()

    photos = []
    for name, recipe in PHOTOS.items():
        rows = detector.detect_faces(
            photo(**recipe), output_type="numpy", box_format="xyxy", fit_to_image=False, **THRESHOLDS
        )
        faces = [
            {"box": r[1:5].tolist(), "score": r[5], "landmarks": r[6:].reshape(2, 5).T.tolist()}
            for r in np.asarray(rows)
        ]
        photos.append({"name": name, "recipe": recipe, "faces": faces})
    TARGET.write_text(json.dumps({"source": "mtcnn 1.0.0", "networks": networks, "photos": photos}) + "\n")


if __name__ == "__main__":
    main()
