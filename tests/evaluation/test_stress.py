import json
from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import regionfer.evaluation.stress_faces as faces_module
from regionfer.degradations import DEGRADATIONS, LEVELS, degrade
from regionfer.errors import DatasetError, ModelError, NoFaceError
from regionfer.evaluation import DatasetFaces, PhotoFaces, stress
from regionfer.evaluation.stress import OVERALL
from regionfer.evaluation.stress_answers import CLEAN, Condition
from regionfer.faces.alignment import align_faces, aligned_landmarks
from regionfer.labels import LABELS
from regionfer.metrics import expected_calibration_error
from regionfer.onnx_model import HEADS, ExpressionModel
from regionfer.parts import Parts
from regionfer.recognizer import Recognizer

SIDE = 32
RED, GREEN, BLUE = (250, 20, 20), (20, 250, 20), (20, 20, 250)


@pytest.fixture
def make_recognizer(save_model, make_card, square_detector):
    """A function that makes a recogniser of a tiny model for faces of 32 pixels, which can be judged."""

    def make(seed=0, heads=(), landmarks=False, max_risk=None, **changes):
        card = make_card(landmarks=landmarks, face_size=SIDE, input_size=SIDE, **changes)
        model = ExpressionModel.load(save_model(card, seed=seed, heads=heads), threads=1)
        return Recognizer(model, square_detector, threads=2, max_risk=max_risk)

    return make


@pytest.fixture
def plain(make_recognizer):
    return make_recognizer()


@pytest.fixture
def noisy(make_manifest, plain):
    """A function that makes a manifest of faces of random colours with texture, labelled as the model answers."""

    def make(count=30, right=1.0, **changes):
        rng = np.random.default_rng(1)
        pixels = rng.integers(0, 256, (count, 1, 1, 3)) + rng.normal(0, 25, (count, SIDE, SIDE, 3))
        pixels = pixels.clip(0, 255).astype(np.uint8)
        answers = plain.recognize_crops(pixels).probabilities.argmax(1)
        labels = np.where(np.arange(count) < right * count, answers, (answers + 1) % 8).astype(np.int64)
        targets = np.eye(8, dtype=np.float32)[labels]
        return make_manifest(count, **({"pixels": pixels, "labels": labels, "targets": targets} | changes))

    return make


@pytest.fixture
def album(draw_squares, tmp_path):
    """Photos: of two faces, of one, of none, and one that is damaged."""
    for name, colours in {"a": (RED, GREEN), "b": (BLUE,), "c": ()}.items():
        Image.fromarray(draw_squares(*colours)).save(tmp_path / f"{name}.png")
    (tmp_path / "d.png").write_bytes(b"no image")
    return sorted(tmp_path.glob("*.png"))


class TestDataset:
    @pytest.mark.parametrize("chunk", [7, 64])
    def test_as_if_one_by_one(self, plain, noisy, monkeypatch, chunk):
        """Every answer is the one that the recogniser gives to the degraded face alone."""
        monkeypatch.setattr(faces_module, "CHUNK", chunk)
        manifest = noisy(right=0.6)
        result = stress(plain, DatasetFaces(manifest), seed=5)
        assert (result.title, result.right, len(result.names)) == ("Colours, test", "accuracy", 30)
        for kind in DEGRADATIONS:
            for level in (1, 5):
                pixels = [degrade(face, kind, level, seed=5).pixels for face in manifest.pixels]
                expected = plain.recognize_crops(pixels).probabilities
                condition = Condition(kind, level)
                assert np.allclose(result.model.probabilities[condition], expected, atol=1e-6)
                point = result.model.points[condition]
                assert point.right == pytest.approx((expected.argmax(1) == manifest.labels).mean())
                assert point.right_ci95[0] < point.right < point.right_ci95[1] or point.right in point.right_ci95
                assert point.confidence == pytest.approx(expected.max(1).mean(), abs=1e-5)
                ece = expected_calibration_error(manifest.labels, expected)
                assert point.ece == pytest.approx(ece, abs=1e-5)
        assert result.model.points[CLEAN].right == 0.6

    def test_means(self, plain, noisy):
        result = stress(plain, DatasetFaces(noisy()), kinds=["mask", "border"])
        points = result.model.points
        by_kind = {kind: np.mean([points[Condition(kind, level)].right for level in LEVELS]) for kind in result.kinds}
        for kind, mean in by_kind.items():
            assert result.means[kind].right == pytest.approx(mean)
            assert result.means[kind].right_ci95[0] < mean < result.means[kind].right_ci95[1]
        assert result.means[OVERALL].right == pytest.approx(np.mean(list(by_kind.values())))
        assert result.means["mask"].difference is None
        assert result.amounts[Condition("mask", 1)] < result.amounts[Condition("mask", 5)]

    def test_a_draw_is_part_of_the_whole(self, plain, noisy):
        manifest = noisy()
        whole = stress(plain, DatasetFaces(manifest), kinds=["hand"])
        some = stress(plain, DatasetFaces(manifest, limit=8, seed=3), kinds=["hand"])
        assert len(set(some.names)) == 8
        assert some.protocol == "as drawn; each face looked at once; 8 of 30 images, drawn at random with seed 3"
        rows = [whole.names.index(name) for name in some.names]
        assert rows == sorted(rows)
        assert rows != list(range(8))
        condition = Condition("hand", 4)
        drawn, expected = some.model.probabilities[condition], whole.model.probabilities[condition][rows]
        assert np.allclose(drawn, expected, atol=1e-6)
        assert DatasetFaces(manifest, limit=99).images == 30

    def test_unreadable_images(self, plain, on_disk):
        result = stress(plain, DatasetFaces(on_disk), kinds=["blur"])
        assert len(result.names) == 10
        assert sorted(result.failures) == ["003.png", "007.png"]
        assert result.to_dict()["failed_images"][0]["image"] == "003.png"

    def test_small_faces_are_left_out(self, plain, noisy, tmp_path):
        for row, side in enumerate((15, 16, 40)):
            Image.fromarray(np.full((40, side, 3), 40 * row, np.uint8)).save(tmp_path / f"{row:03}.png")
        result = stress(plain, DatasetFaces(noisy(3, root=tmp_path, pixels=None)), kinds=["blur"])
        assert result.names == ("001.png", "002.png")
        assert result.left_out == {"000.png": "a face below 16 pixels, too small to be judged"}

    def test_a_small_face_beside_another(self, plain, noisy, tmp_path):
        Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(tmp_path / "a.png")
        boxes = np.array([[0, 0, 8, 8], [10, 0, 50, 40]], np.float32)
        changes = {"names": np.array(["a.png"] * 2), "boxes": boxes, "crops": False, "pixels": None, "root": tmp_path}
        result = stress(plain, DatasetFaces(noisy(2, **changes)), kinds=["blur"])
        assert result.names == ("a.png, face 1",)
        assert list(result.left_out) == ["a.png, face 0"]

    def test_nothing_readable(self, plain, make_manifest, tmp_path):
        faces = DatasetFaces(make_manifest(root=tmp_path, pixels=None))
        with pytest.raises(NoFaceError, match=r"no face to degrade in 40 images; the first: 000\.png: .*no such file"):
            stress(plain, faces)

    def test_photos_without_boxes(self, plain, make_manifest):
        with pytest.raises(DatasetError, match="photos without face boxes here"):
            stress(plain, DatasetFaces(make_manifest(crops=False)))

    def test_progress_ends_at_all_images(self, plain, on_disk):
        steps = []
        stress(plain, DatasetFaces(on_disk), kinds=["blur", "mask"], advance=steps.append)
        assert sum(steps) == pytest.approx(12)
        assert len(steps) == 11


class TestTrust:
    @pytest.fixture
    def trusted(self, make_recognizer):
        curve = {"threshold": [0.7, 0.6], "coverage": [0.3, 0.8], "risk": [0.07, 0.1]}
        uncertainty = {"threshold": 0.6, "risk": 0.1, "coverage": 0.8, "n": 50, "curve": curve}
        return lambda **options: make_recognizer(heads=HEADS, uncertainty=uncertainty, **options)

    def test_without_a_threshold(self, plain, noisy):
        result = stress(plain, DatasetFaces(noisy()), kinds=["mask"])
        assert {point.selection for point in result.model.points.values()} == {None}
        assert result.to_dict()["model"]["clean"]["coverage"] is None

    @pytest.mark.parametrize("max_risk", [None, 0.08])
    def test_uncertain_as_the_recogniser_says(self, trusted, noisy, max_risk):
        manifest, recognizer = noisy(right=0.7), trusted(max_risk=max_risk)
        result = stress(recognizer, DatasetFaces(manifest), kinds=["darkness", "resolution"])
        for condition in (CLEAN, Condition("darkness", 3), Condition("resolution", 3), Condition("resolution", 4)):
            pixels = [
                face if condition == CLEAN else degrade(face, condition.kind, condition.level).pixels
                for face in manifest.pixels
            ]
            alone = recognizer.recognize_crops(pixels)
            sure = ~np.array(alone.uncertain)
            wrong = alone.probabilities.argmax(1) != manifest.labels
            point = result.model.points[condition]
            assert point.selection.coverage == pytest.approx(sure.mean())
            assert point.coverage_ci95[0] <= sure.mean() <= point.coverage_ci95[1]
            if sure.any():
                assert point.selection.risk == pytest.approx(wrong[sure].mean())
        covers = [result.model.points[Condition("resolution", level)].selection for level in LEVELS]
        assert covers[2].coverage > 0
        assert covers[3][1:] == (0.0, None, None)  # below 16 pixels no face is judged

    def test_uncertain_answers_are_marked_under_the_pictures(self, trusted, noisy, plain):
        manifest, recognizer = noisy(right=0.7), trusted()
        result = stress(recognizer, DatasetFaces(manifest), baseline=plain, kinds=["resolution"], examples=12)
        levels = defaultdict(list)
        for shown in result.examples.values():
            for condition, example in shown.items():
                levels[condition.level].append(example.answers)
        all_marked = []
        for number, each in enumerate((recognizer, plain)):  # the second has no threshold
            marked = [answers[number].endswith("%, uncertain") for answers in levels[0]]
            assert marked == [bool(u) for u in each.recognize_crops(list(manifest.pixels[:12])).uncertain]
            all_marked.append(sum(marked))
            assert all(answers[number].endswith("%, uncertain") for answers in levels[4])  # of 12 pixels none is judged
        assert all_marked[1] < all_marked[0] < 12


class TestBaseline:
    def test_the_same_pictures(self, plain, make_recognizer, noisy):
        manifest, other = noisy(), make_recognizer(seed=3, name="other")
        both = stress(plain, DatasetFaces(manifest), baseline=other, kinds=["mask", "rotation"], seed=2)
        alone = stress(other, DatasetFaces(manifest), kinds=["mask", "rotation"], seed=2)
        assert both.baseline.name == "other 0.0.1"
        condition = Condition("mask", 3)
        assert np.array_equal(both.baseline.probabilities[condition], alone.model.probabilities[condition])
        compared = both.comparison[condition]
        model, baseline = both.model.points[condition], both.baseline.points[condition]
        assert (compared.accuracy, compared.baseline_accuracy) == (model.right, baseline.right)
        mean = both.means["mask"]
        assert mean.baseline_right == alone.means["mask"].right
        assert mean.difference == pytest.approx(mean.right - mean.baseline_right)
        assert mean.difference_ci95[0] < mean.difference < mean.difference_ci95[1]

    def test_itself(self, plain, noisy):
        result = stress(plain, DatasetFaces(noisy()), baseline=plain, kinds=["hand"])
        assert {compared.difference for compared in result.comparison.values()} == {0.0}

    def test_other_classes_of_a_dataset(self, plain, make_recognizer, noisy):
        other = make_recognizer(labels=("calm", *LABELS[1:]))
        with pytest.raises(ModelError, match="does not know neutral of Colours"):
            stress(plain, DatasetFaces(noisy()), baseline=other)

    @pytest.mark.parametrize("labels", [("calm", *LABELS[1:]), LABELS[:7], (*LABELS, "calm")])
    def test_other_labels(self, plain, make_recognizer, album, labels):
        other = make_recognizer(labels=labels)
        with pytest.raises(ModelError, match="a baseline needs the model's labels, neutral, happiness, "):
            stress(plain, PhotoFaces(album), baseline=other)

    def test_labels_in_another_order(self, plain, make_recognizer, album):
        other = make_recognizer(labels=LABELS[::-1])
        result = stress(plain, PhotoFaces(album), baseline=other, kinds=["blur"])
        expected = other.recognize(album[1])[0].probabilities
        row = result.names.index(str(album[1]))
        found = dict(zip(result.classes, result.baseline.probabilities[CLEAN][row], strict=True))
        assert found == pytest.approx(expected, abs=1e-5)


class TestPhotos:
    def test_faces_are_those_that_predict_finds(self, plain, album):
        faces = PhotoFaces(album, min_confidence=0.5)
        result = stress(plain, faces, kinds=["rotation"])
        assert [name.removeprefix(str(album[0].parent)) for name in result.names] == [
            *("/a.png, face 1", "/a.png, face 2", "/b.png")
        ]
        assert list(result.left_out.items()) == [(str(album[2]), "no face found")]
        assert "d.png: is not an image" in result.failures[str(album[3])]
        expected = [plain.recognize(photo, min_confidence=0.5).probabilities for photo in album[:2]]
        assert np.allclose(result.model.probabilities[CLEAN], np.concatenate(expected), atol=1e-6)
        assert not result.labelled
        assert result.right == "agreement"
        assert (result.model.points[CLEAN].right, result.model.points[CLEAN].ece) == (1.0, None)

    def test_agreement(self, plain, album):
        result = stress(plain, PhotoFaces(album, min_confidence=0.5), kinds=["mask"])
        answers = {condition: shares.argmax(1) for condition, shares in result.model.probabilities.items()}
        for condition, point in result.model.points.items():
            assert point.right == pytest.approx((answers[condition] == answers[CLEAN]).mean())
        assert result.model.points[Condition("mask", 5)].right < 1

    def test_things_are_put_on_by_the_landmarks_found(self, plain, album, monkeypatch):
        found = plain.detector.detect(np.asarray(Image.open(album[1])))
        shifted = replace(found, landmarks=found.landmarks + np.float32([0, 8]))
        monkeypatch.setattr(plain, "_detector", SimpleNamespace(detect=lambda image: shifted))
        seen = stress(plain, PhotoFaces(album[1:2]), kinds=["mask"], examples=1).examples[str(album[1])]
        image = np.asarray(Image.open(album[1]))
        face, places = align_faces(image, shifted, SIDE)[0], aligned_landmarks(shifted)[0]
        assert np.array_equal(seen[Condition("mask", 4)].pixels, degrade(face, "mask", 4, landmarks=places).pixels)
        assert (seen[Condition("mask", 4)].pixels != degrade(face, "mask", 4).pixels).any()

    def test_crops(self, plain, album):
        result = stress(plain, PhotoFaces(album, detect=False), kinds=["border"])
        assert list(result.names) == [str(path) for path in album[:3]]
        expected = plain.recognize_crops([str(path) for path in album[:3]]).probabilities
        assert np.allclose(result.model.probabilities[CLEAN], expected, atol=1e-6)

    def test_small_faces_are_left_out(self, plain, album, tmp_path):
        Image.fromarray(np.full((9, 40, 3), 99, np.uint8)).save(tmp_path / "small.png")
        result = stress(plain, PhotoFaces([*album, tmp_path / "small.png"], detect=False), kinds=["border"])
        assert result.left_out == {str(tmp_path / "small.png"): "a face below 16 pixels, too small to be judged"}

    @pytest.mark.parametrize("limit", [1, 2, 3, 9])
    def test_limit(self, plain, album, limit):
        result = stress(plain, PhotoFaces(album, min_confidence=0.5, limit=limit, seed=1), kinds=["blur"])
        assert len(result.names) == min(limit, 3)
        assert f"at most {limit} face{'s' if limit > 1 else ''}, photos" in result.protocol

    def test_no_face(self, plain, album):
        with pytest.raises(
            NoFaceError, match=r"own photos: no face to degrade in 2 images; the first: .*d\.png: is no"
        ):
            stress(plain, PhotoFaces(album[2:]))

    def test_many_faces_in_one_photo(self, plain, album, monkeypatch):
        monkeypatch.setattr(faces_module, "CHUNK", 1)
        steps = []
        result = stress(plain, PhotoFaces(album, min_confidence=0.5), kinds=["blur"], advance=steps.append)
        assert len(result.names) == 3
        assert sum(steps) == pytest.approx(4)


class TestInterruption:
    """Runs that are stopped at some call of the network, and taken up again."""

    KINDS = ("mask", "resolution")
    CALLS = 2 * (1 + 2 * len(LEVELS))  # of both models, for each group of faces

    @pytest.fixture(autouse=True)
    def small_groups(self, monkeypatch):
        monkeypatch.setattr(faces_module, "CHUNK", 2)

    @pytest.fixture
    def make_faces(self, noisy, draw_squares, tmp_path):
        """A function that makes the faces anew, as a second call of the command does."""
        (tmp_path / "many").mkdir()
        photos = [(RED, GREEN), (), (BLUE,), (GREEN, BLUE), (RED,), (GREEN,), (BLUE, RED), (GREEN,)]
        for number, colours in enumerate(photos):
            Image.fromarray(draw_squares(*colours)).save(tmp_path / "many" / f"{number}.png")
        (tmp_path / "many" / "1x.png").write_bytes(b"no image")
        paths, manifest = sorted((tmp_path / "many").glob("*.png")), noisy(9)
        boxed, boxes = replace(manifest, crops=False), np.tile(np.array([0, 0, 30, 30], np.float32), (9, 1))
        return {
            "dataset": lambda: DatasetFaces(manifest, limit=7, seed=2),
            "photos": lambda: PhotoFaces(paths, min_confidence=0.5, failures={"gone.png": "gone.png: no such file"}),
            "some photos": lambda: PhotoFaces(paths, min_confidence=0.5, limit=6, seed=3),
            "crops": lambda: PhotoFaces(paths, detect=False),
            "boxes": lambda: DatasetFaces(replace(boxed, boxes=boxes)),
            "other boxes": lambda: DatasetFaces(replace(boxed, boxes=boxes + 1)),
        }

    @pytest.fixture
    def asked(self, monkeypatch):
        """How many faces each call of the network is asked."""
        calls = []
        ask = Recognizer.recognize_crops

        def count(self, faces, *arguments, **options):
            calls.append(len(faces))
            return ask(self, faces, *arguments, **options)

        monkeypatch.setattr(Recognizer, "recognize_crops", count)
        return calls

    @pytest.fixture
    def interrupt(self, monkeypatch):
        """A function that does something in which the network may be called so many times only."""

        def interrupt(calls, work):
            ask, left = Recognizer.recognize_crops, iter(range(calls))

            def answer(self, *arguments, **options):
                if next(left, None) is None:
                    raise KeyboardInterrupt
                return ask(self, *arguments, **options)

            with monkeypatch.context() as patch:
                patch.setattr(Recognizer, "recognize_crops", answer)
                with pytest.raises(KeyboardInterrupt):
                    work()

        return interrupt

    @pytest.mark.parametrize("kind", ["dataset", "photos", "some photos", "crops"])
    @pytest.mark.parametrize("groups", [0, 1, 2])
    def test_only_what_is_missing_is_computed(
        self, plain, make_recognizer, make_faces, asked, interrupt, tmp_path, kind, groups
    ):
        other, parts = make_recognizer(seed=3, name="other"), Parts(tmp_path / "parts", ".npz")

        def run(**more):
            result = stress(plain, make_faces[kind](), baseline=other, kinds=self.KINDS, examples=3, **more)
            pictures = [(name, *each) for name, shown in result.examples.items() for each in shown.items()]
            return result.to_dict(), [(name, c, each.pixels.tobytes(), each.answers) for name, c, each in pictures]

        straight = run()
        whole = asked.copy()
        interrupt(groups * self.CALLS + 7, lambda: run(parts=parts))
        del asked[:]
        steps = []
        assert run(parts=parts, advance=steps.append) == straight
        assert asked == whole[groups * self.CALLS :]
        images = 7 if kind == "dataset" else 9
        assert sum(steps) == pytest.approx(images) or kind == "some photos"
        del asked[:]
        assert run(parts=parts) == straight
        assert asked == []  # all is kept until the caller has written it

    def test_another_threshold_asks_nothing_anew(self, make_recognizer, make_faces, asked, tmp_path):
        curve = {"threshold": [0.7, 0.6], "coverage": [0.3, 0.8], "risk": [0.07, 0.1]}
        uncertainty = {"threshold": 0.6, "risk": 0.1, "coverage": 0.8, "n": 50, "curve": curve}
        models = [make_recognizer(uncertainty=uncertainty, max_risk=risk) for risk in (None, 0.08)]
        parts = Parts(tmp_path / "parts", ".npz")
        results = [stress(each, make_faces["dataset"](), kinds=["mask"], parts=parts) for each in models]
        assert [each.model.threshold for each in results] == [0.6, 0.7]
        assert len(asked) == 4 * 6

    @pytest.mark.parametrize(
        ("changes", "names"),
        [
            ({"kinds": ["mask"]}, "kinds"),
            ({"seed": 1}, "seed"),
            ({"examples": 1}, "examples"),
            ({"faces": "photos"}, "faces"),
            ({"faces": "crops"}, "faces"),
            ({"first": "boxes", "faces": "other boxes"}, "faces"),
            ({"model": 3}, "models"),
            ({"baseline": 3}, "models"),
        ],
    )
    def test_another_run_is_refused(self, make_recognizer, make_faces, interrupt, tmp_path, changes, names):
        first = changes.get("first", "some photos")
        changes = {name: value for name, value in changes.items() if name != "first"}

        def run(faces=first, model=0, baseline=None, kinds=self.KINDS, **more):
            beside = None if baseline is None else make_recognizer(seed=baseline)
            parts = Parts(tmp_path / "parts", ".npz")
            stress(make_recognizer(seed=model), make_faces[faces](), baseline=beside, kinds=kinds, parts=parts, **more)

        interrupt(30, run)
        other = rf"a run with other settings was interrupted here \(different: {names}\)"
        with pytest.raises(DatasetError, match=other):
            run(**changes)

    def test_a_damaged_part(self, plain, make_faces, interrupt, tmp_path):
        parts = Parts(tmp_path / "parts", ".npz")
        interrupt(30, lambda: stress(plain, make_faces["dataset"](), kinds=self.KINDS, parts=parts))
        part = parts.folder / "part-000000.npz"
        for content in (part.read_bytes()[:-40], b"", b"no archive"):
            part.write_bytes(content)
            with pytest.raises(DatasetError, match=r"part-000000\.npz: damaged: .*; delete it and call again"):
                stress(plain, make_faces["dataset"](), kinds=self.KINDS, parts=parts)

    def test_nothing_is_kept_where_there_is_no_face(self, plain, tmp_path):
        parts = Parts(tmp_path / "parts", ".npz")
        (tmp_path / "a.png").write_bytes(b"no image")
        with pytest.raises(NoFaceError):
            stress(plain, PhotoFaces([tmp_path / "a.png"]), parts=parts)
        assert not parts.folder.exists()


class TestLandmarkModels:
    @pytest.fixture
    def following(self, make_recognizer):
        return make_recognizer(landmarks=True)

    def test_photos(self, following, album, monkeypatch):
        seen = []
        run = following.model.run
        monkeypatch.setattr(
            following.model,
            "run",
            lambda faces, places, **options: seen.append(places) or run(faces, places, **options),
        )
        stress(following, PhotoFaces(album), kinds=["rotation"])
        assert len(seen) == 6
        assert np.isfinite(seen[0]).all()
        assert not np.allclose(seen[0], seen[5])  # they turn with the face

    def test_crops(self, following, album):
        with pytest.raises(ModelError, match="which are found in photos only; leave out --no-detect"):
            stress(following, PhotoFaces(album, detect=False))

    @pytest.mark.parametrize("as_baseline", [False, True])
    def test_a_face_without(self, plain, following, noisy, as_baseline):
        points = np.tile(np.float32([[9, 12], [22, 12], [16, 18], [11, 25], [21, 25]]), (30, 1, 1))
        points[4, 2] = np.nan
        models = (plain, following) if as_baseline else (following, None)
        result = stress(models[0], DatasetFaces(noisy(landmarks=points)), baseline=models[1], kinds=["mask"])
        assert result.left_out == {"004.png": "the dataset gives no landmarks of this face"}
        assert len(result.names) == 29


class TestKinds:
    @pytest.mark.parametrize(
        ("kinds", "message"),
        [
            (["mask", "smog"], "unknown kind 'smog'; known: mask,"),
            (["mask", "mask"], "'mask' is given twice"),
            ([], "at"),
        ],
    )
    def test_wrong(self, plain, noisy, kinds, message):
        with pytest.raises(ValueError, match=message):
            stress(plain, DatasetFaces(noisy()), kinds=kinds)


def test_json(plain, make_recognizer, noisy):
    result = stress(plain, DatasetFaces(noisy()), baseline=make_recognizer(seed=3), kinds=["mask"], examples=1)
    figures = result.to_dict()
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures["measure"] == "accuracy"
    assert [level["level"] for level in figures["kinds"]["mask"]["levels"]] == [1, 2, 3, 4, 5]
    level = figures["kinds"]["mask"]["levels"][2]
    assert level["model"]["accuracy"] == result.model.points[Condition("mask", 3)].right
    assert level["comparison"]["difference"] == pytest.approx(
        level["model"]["accuracy"] - level["baseline"]["accuracy"]
    )
    assert figures["mean"]["accuracy"] == result.means[OVERALL].right
    assert figures["model"]["models"][0]["sha256"] == plain.model.sha256
    assert figures["model"]["models"][0]["file"] == "tiny.onnx"  # without the folders of this machine
