"""What is said of one face."""

import cv2
import numpy as np
import pytest
from PIL import Image

from regionfer.annotation.attributes import BLUR_SIDE, describe_faces, measure_blur, pose_bin
from regionfer.recognizer import Recognizer
from regionfer.results import Pose


@pytest.mark.parametrize(
    ("pose", "expected"),
    [
        (None, None),
        (Pose(0, 0, 90), "0-30"),
        (Pose(30, -30, 0), "0-30"),
        (Pose(-30.5, 0, 0), "30-45"),
        (Pose(0, 45, 0), "30-45"),
        (Pose(0, -45.5, 0), ">45"),
        (Pose(80, 10, 0), ">45"),
    ],
)
def test_pose_bin(pose, expected):
    assert pose_bin(pose) == expected


def corners(side):
    return np.float32([[0, 0], [side, 0], [side, side], [0, side]])


class TestBlur:
    def test_is_the_variance_of_the_laplacian(self):
        grey = np.random.default_rng(0).integers(0, 256, (BLUR_SIDE, BLUR_SIDE)).astype(np.uint8)
        around = np.pad(grey.astype(float), 1, mode="reflect")
        neighbours = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]
        measured = measure_blur(np.repeat(grey[..., None], 3, 2), corners(BLUR_SIDE))
        assert measured == pytest.approx((neighbours - 4.0 * grey).var(), rel=1e-5)

    def test_one_colour(self):
        assert measure_blur(np.full((50, 50, 3), 90, np.uint8), corners(50)) == 0

    def test_falls_with_blur_whatever_the_size(self, request):
        photo = Image.open(request.config.rootpath / "examples" / "hopper.jpg").convert("RGB")
        for side in (64, 200):
            face = np.asarray(photo.crop((170, 110, 350, 340)).resize((side, side), Image.Resampling.LANCZOS))
            values = [measure_blur(cv2.GaussianBlur(face, (0, 0), k * side / 64), corners(side)) for k in (0.5, 1, 2)]
            assert values == sorted(values, reverse=True)
            assert values[0] > 4 * values[2]


@pytest.mark.usefixtures("plain_faces")
class TestFaces:
    def test_of_a_face_too_small_to_be_judged_nothing_is_said(self, trusted_model):
        recognizer = Recognizer(trusted_model, threads=1)
        image = np.full((8, 8, 3), (102, 0, 0), np.uint8)
        (outcome,) = recognizer.stream([image], detect=False, keep_images=True)
        (row,) = describe_faces(outcome.image, outcome.result, "a.png")
        names = ("fraction", "where", "probability", "upper", "lower", "left", "right")
        assert {getattr(row, f"occluded_{name}") for name in names} == {None}
        assert (row.occluded, row.yaw, row.pose_bin, row.uncertain, row.face_size) == (None, None, None, True, 8)

    def test_model_with_all_outputs(self, trusted_model):
        recognizer = Recognizer(trusted_model, threads=1)
        image = np.full((48, 48, 3), (102, 0, 0), np.uint8)
        (outcome,) = recognizer.stream([image], detect=False, keep_images=True)
        (row,) = describe_faces(outcome.image, outcome.result, "a.png", "fear", "test")
        face = outcome.result[0]
        assert (row.image, row.face, row.label, row.split) == ("a.png", 0, "fear", "test")
        assert (row.yaw, row.pitch, row.roll) == tuple(face.pose)
        assert row.yaw == pytest.approx(24, abs=0.1)
        assert (row.occluded_fraction, row.occluded_where) == (face.occlusion.fraction, "+".join(face.occlusion.where))
        assert (row.occluded_upper, row.occluded_right) == (face.occlusion.upper, face.occlusion.right)
        assert (row.occluded, row.uncertain) == (face.occlusion.occluded, face.uncertain)
        assert (row.face_size, row.x2, row.blur) == (48, 48, 0)
        assert (row.expression, row.probability) == (face.expression, face.probability)

    def test_the_longer_side_is_the_size(self, tiny_model):
        image = np.full((40, 60, 3), 200, np.uint8)
        (outcome,) = Recognizer(tiny_model, threads=1).stream([image], detect=False, keep_images=True)
        assert describe_faces(outcome.image, outcome.result, "a.png")[0].face_size == 60

    def test_what_the_model_does_not_know_stays_unknown(self, tiny_model):
        recognizer = Recognizer(tiny_model, threads=1)
        (outcome,) = recognizer.stream([np.full((48, 48, 3), 200, np.uint8)], detect=False, keep_images=True)
        (row,) = describe_faces(outcome.image, outcome.result, "a.png")
        unknown = {name for name, value in vars(row).items() if value is None}
        assert unknown == {
            *("yaw", "pitch", "roll", "pose_bin", "occluded_fraction", "occluded_where", "uncertain", "occluded"),
            *("occluded_probability", "occluded_upper", "occluded_lower", "occluded_left", "occluded_right"),
            *("uncertain_reason", "label", "split"),
        }

    @pytest.mark.parametrize(
        ("side", "colour"), [(8, (60, 60, 60)), (48, (255, 0, 0))], ids=["8 pixels", "wholly covered"]
    )
    def test_a_face_that_cannot_be_judged(self, trusted_model, side, colour):
        recognizer = Recognizer(trusted_model, threads=1)
        image = np.full((side, side, 3), colour, np.uint8)
        (outcome,) = recognizer.stream([image], detect=False, keep_images=True)
        (row,) = describe_faces(outcome.image, outcome.result, "a.png")
        assert (row.pose_bin, row.yaw, row.uncertain, row.face_size) == (None, None, True, side)
        assert row.uncertain_reason == outcome.result[0].uncertain_reason is not None
