import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from skimage.data import astronaut, brick, coffee

from regionfer.faces import MTCNN, Detections, mtcnn
from regionfer.faces.mtcnn import _suppress_nested, suppress

GOLDENS = json.loads(Path(__file__).with_name("mtcnn_goldens.json").read_text())
WEIGHTS = files("regionfer.faces").joinpath("weights")
NETWORKS = ["pnet", "rnet", "onet"]


@pytest.fixture(scope="module")
def detector():
    return MTCNN()


def photo(rows, columns, step=1, repeat=1, mirror=False, grey=False):
    """The same lines as in scripts/make_mtcnn_goldens.py."""
    image = astronaut()[rows[0] : rows[1] : step, columns[0] : columns[1] : step]
    image = image.repeat(repeat, axis=0).repeat(repeat, axis=1)
    image = image[:, ::-1] if mirror else image
    return np.ascontiguousarray(image[..., [1, 1, 1]] if grey else image)


def overlap(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    common = (high - low).clip(0).prod()
    return common / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common)


def test_networks_compute_what_tensorflow_computes():
    rng = np.random.default_rng(0)
    for name in NETWORKS:
        golden = GOLDENS["networks"][name]
        session = ort.InferenceSession(WEIGHTS.joinpath(f"{name}.onnx").read_bytes())
        outputs = [output.name for output in session.get_outputs()]
        found = session.run(outputs, {"images": rng.integers(0, 256, golden["shape"], dtype=np.uint8)})
        assert set(outputs) == set(golden) - {"shape"}
        for key, values in zip(outputs, found, strict=True):
            np.testing.assert_allclose(values, golden[key], atol=2e-5, err_msg=f"{name} {key}")


@pytest.mark.parametrize("golden", GOLDENS["photos"], ids=lambda golden: golden["name"])
def test_faces_agree_with_the_original(detector, golden):
    faces = detector.detect(photo(**golden["recipe"]))

    assert len(faces) == len(golden["faces"]) == 1
    expected = golden["faces"][0]
    landmarks = np.array(expected["landmarks"])
    eyes = np.linalg.norm(landmarks[1] - landmarks[0])
    # The original samples windows without averaging, and counts pixels from 1 in places.
    assert overlap(faces.boxes[0], np.array(expected["box"])) > 0.9
    assert np.linalg.norm(faces.landmarks[0] - landmarks, axis=1).max() < 0.08 * eyes
    assert faces.scores[0] == pytest.approx(expected["score"], abs=0.01)


def test_weights_are_the_published_ones():
    lines = WEIGHTS.joinpath("SHA256SUMS").read_text().splitlines()

    assert [line.split()[1] for line in lines] == [f"{name}.onnx" for name in NETWORKS]
    for line in lines:
        expected, name = line.split()
        assert hashlib.sha256(WEIGHTS.joinpath(name).read_bytes()).hexdigest() == expected


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_carry_source_and_licence(name):
    session = ort.InferenceSession(WEIGHTS.joinpath(f"{name}.onnx").read_bytes())

    notes = session.get_modelmeta().custom_metadata_map

    assert notes["licence"].startswith("MIT")
    assert "mtcnn 1.0.0" in notes["source"]
    assert notes["source_sha256"] in WEIGHTS.joinpath("PROVENANCE.md").read_text()


def test_several_faces_best_first(detector):
    face = astronaut()[:256, 100:356]
    image = np.full((400, 900, 3), 90, np.uint8)
    image[20:276, 20:276] = face
    image[60:188, 400:528] = cv2.resize(face, (128, 128), interpolation=cv2.INTER_AREA)
    image[100:356, 600:856] = face[:, ::-1]

    faces = detector.detect(image)

    assert len(faces) == 3
    assert (np.diff(faces.scores) <= 0).all()
    assert (faces.boxes[:, 2:] <= (900, 400)).all()
    assert (faces.boxes >= 0).all()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((300, 400, 3), np.uint8),
        np.full((64, 64, 3), 255, np.uint8),
        coffee(),
        np.stack([brick()] * 3, axis=-1),
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((3, 700, 3), np.uint8),
    ],
    ids=["black", "white", "coffee", "brick", "one pixel", "a line"],
)
def test_nothing_is_found_where_nothing_is(detector, image):
    assert len(detector.detect(image)) == 0


def test_a_large_photo_is_searched_at_a_bounded_size():
    large = cv2.resize(astronaut(), (3000, 3000))

    whole = MTCNN(max_side=512).detect(large)

    assert len(whole) == 1
    np.testing.assert_allclose(whole.landmarks / (3000 / 512), MTCNN().detect(astronaut()).landmarks, atol=3)


def test_min_face_leaves_out_smaller_faces():
    assert len(MTCNN(min_face=250, retry=False).detect(astronaut())) == 0


def test_retry_finds_a_dark_face_and_can_be_switched_off():
    dark = astronaut() // 12

    assert len(MTCNN(retry=False).detect(dark)) == 0
    assert len(MTCNN().detect(dark)) == 1


@pytest.mark.parametrize("look", [3, 4])
def test_retry_in_the_mirror_image(monkeypatch, look):
    """What is found there only, with the contrast raised or not, is where it is in the image, left and right, too."""
    image, cascade, looks = astronaut()[:300, 60:400], MTCNN._cascade, []
    (expected,) = MTCNN(retry=False).detect(image).landmarks

    def blind(detector, seen, threshold):
        looks.append(seen)
        return cascade(detector, seen, threshold) if len(looks) == look else Detections.empty()

    monkeypatch.setattr(MTCNN, "_cascade", blind)
    found = MTCNN().detect(image)
    assert len(found) == 1
    np.testing.assert_allclose(found.landmarks[0], expected, atol=6)
    x1, y1, x2, y2 = found.boxes[0]
    assert (found.landmarks[0] > (x1, y1)).all()
    assert (found.landmarks[0] < (x2, y2)).all()


def test_one_detector_serves_several_threads(detector):
    images = [photo(**golden["recipe"])[:300] for golden in GOLDENS["photos"]]
    alone = [detector.detect(image) for image in images]

    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(detector.detect, images))

    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a.boxes, b.boxes, atol=1e-3)


def test_the_image_is_left_as_it_was(detector):
    image = astronaut()
    image.setflags(write=False)

    detector.detect(image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_face": 3}, "min_face must be at least 6 pixels, got 3"),
        ({"thresholds": (0.6, 0.7)}, r"thresholds must be three numbers in 0\.\.1"),
        ({"thresholds": (0.6, 0.7, 1.0)}, r"thresholds must be three numbers in 0\.\.1"),
        ({"max_side": 5}, "max_side must be at least 12 pixels or None, got 5"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"providers": ["MoonExecutionProvider"]}, "MoonExecutionProvider.*not in this ONNX Runtime"),
    ],
    ids=["min_face", "two thresholds", "threshold of 1", "max_side", "threads", "providers"],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MTCNN(**options)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((10, 10), np.uint8), r"array \(H, W, 3\) of uint8 in RGB, got \(10, 10\) uint8"),
        (np.zeros((10, 10, 3)), r"got \(10, 10, 3\) float64"),
        ("photo.jpg", "got str; read files with read_image"),
        (np.zeros((0, 10, 3), np.uint8), "image has no pixels"),
    ],
    ids=["grey", "float", "path", "empty"],
)
def test_what_is_no_image_is_refused(detector, image, message):
    with pytest.raises(ValueError, match=message):
        detector.detect(image)


def test_suppression_within_a_box():
    boxes = np.array([[0, 0, 10, 10], [3, 3, 7, 7]], np.float32)
    scores = np.array([0.9, 0.8], np.float32)

    assert suppress(boxes, scores, 0.7).tolist() == [0, 1]
    assert _suppress_nested(boxes, scores, 0.7).tolist() == [0]
    for either in (suppress, _suppress_nested):
        assert either(boxes[:0], scores[:0], 0.7).tolist() == []


def test_suppression_by_its_definition():
    rng = np.random.default_rng(3)
    corners = rng.uniform(0, 60, (300, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 30, (300, 2))], axis=1).astype(np.float32)
    scores = rng.uniform(0.5, 1, 300).astype(np.float32)

    expected = []
    for row in np.argsort(-scores):
        if all(overlap(boxes[row], boxes[kept]) <= 0.4 for kept in expected):
            expected.append(row)

    assert suppress(boxes, scores, 0.4).tolist() == expected
    assert 10 < len(expected) < 290


@pytest.mark.parametrize("strip", [1, 5_000, 20_011])
def test_strips_of_a_photo_are_searched_as_the_whole(detector, monkeypatch, strip):
    pixels = astronaut()[:301, :403]
    monkeypatch.setattr(mtcnn, "STRIP", 10**9)
    whole = detector._scan(pixels)
    monkeypatch.setattr(mtcnn, "STRIP", strip)

    assert whole[0].shape == (146, 197)
    for part, expected in zip(detector._scan(pixels), whole, strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-5)


def faces_at(*faces):
    """Detections of faces 20 pixels wide: score, middle, roll in degrees, each."""
    if not faces:
        return Detections.empty()
    scores, middle, roll = (np.float32(column) for column in zip(*faces, strict=True))
    cos, sin = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    upright = np.float32([[-4, -3], [4, -3], [0, 1], [-3, 5], [3, 5]])
    points = np.stack([upright @ np.float32([[c, s], [-s, c]]) for c, s in zip(cos, sin, strict=True)])
    return Detections(np.concatenate([middle - 10, middle + 10], axis=1), scores, points + middle[:, None])


class TestPhotosThatLie:
    """What each search finds is laid down, in 100 x 100 pixels: turned by 180 degrees x, y is 100 - x, 100 - y."""

    @pytest.fixture
    def search(self, monkeypatch):
        def run(*found, **options):
            rest = [faces_at(*each) for each in found]
            monkeypatch.setattr(MTCNN, "_cascade", lambda self, image, threshold: rest.pop(0))
            result = MTCNN(threads=1, **options).detect(np.zeros((100, 100, 3), np.uint8))
            assert rest == []  # all searches were made
            return [(round(float(s), 4), *m) for s, m in zip(result.scores, middles(result), strict=True)]

        return run

    def test_a_sure_face_ends_the_search(self, search):
        assert search([(0.99, (30, 40), 0)]) == [(0.99, 30, 40)]

    def test_unsure_faces_are_looked_for_in_turned_pictures_and_give_way_to_surer_ones(self, search):
        found = search([(0.95, (30, 40), 0)], [], [], [(0.999, (20, 20), 170)])
        assert found == [(0.999, 80, 80)]

    def test_but_only_to_much_surer_ones(self, search):
        assert search([(0.95, (30, 40), 0)], [], [], [(0.994, (20, 20), 170)]) == [(0.95, 30, 40)]

    def test_nor_to_fewer(self, search):
        unsure = [(0.95, (30, 40), 0), (0.94, (60, 40), 0)]
        assert search(unsure, [], [], [(0.999, (20, 20), 170)]) == [(0.95, 30, 40), (0.94, 60, 40)]

    def test_nothing_more_is_searched_without_retry(self, search):
        assert search([(0.95, (30, 40), 0)], retry=False) == [(0.95, 30, 40)]
        assert search([(0.99, (30, 40), 180)], retry=False) == [(0.99, 30, 40)]

    def test_where_all_faces_lie_more_are_found_in_the_picture_turned_by_their_roll(self, search):
        more = [(0.99, (70, 60), 0), (0.98, (40, 60), 0)]
        assert search([(0.99, (30, 40), 180)], more) == [(0.99, 30, 40), (0.98, 60, 40)]

    def test_but_not_without_those_found_before(self, search):
        others = [(0.99, (20, 60), 0), (0.98, (50, 60), 0)]
        assert search([(0.99, (30, 40), 180)], others) == [(0.99, 30, 40)]

    def test_nor_as_many(self, search):
        assert search([(0.99, (30, 40), 180)], [(0.995, (70, 60), 0)]) == [(0.99, 30, 40)]

    def test_nor_fewer(self, search):
        found = [(0.99, (30, 40), 180), (0.98, (60, 40), 170)]
        assert search(found, [(0.99, (70, 60), 0)]) == [(0.99, 30, 40), (0.98, 60, 40)]

    def test_one_upright_face_is_enough_to_leave_it(self, search):
        found = [(0.99, (30, 40), 180), (0.98, (60, 40), 10)]
        assert len(search(found)) == 2


def middles(faces):
    """Of boxes, (n, 2), to two pixels: the turned picture may be one larger."""
    return (((faces.boxes[:, :2] + faces.boxes[:, 2:]) / 4).round() * 2).astype(int).tolist()
