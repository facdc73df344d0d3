"""The checks of pose themselves: an estimator without fault passes, a faulty one shows."""

import csv
import itertools
import re

import cv2
import numpy as np
import pytest

from regionfer.faces import MTCNN, head_pose
from regionfer.faces.pose import rotation
from regionfer.onnx_model import Classifier, ModelOutput


@pytest.fixture
def pose(script):
    return script("pose")


@pytest.fixture
def made(script):
    return script("made_head")


@pytest.fixture(scope="module")
def heads(script):
    return script("made_head").load_heads()


ANSWERS = np.array([[20.0, 5, 170], [-50, -10, -30], [0, 0, 0]])


def test_a_consistent_mirror_has_no_error(pose):
    assert not pose.mirror_errors(ANSWERS, ANSWERS * [-1, 1, -1]).any()
    np.testing.assert_array_equal(pose.mirror_errors(ANSWERS, ANSWERS)[:, 0], [40, -100, 0])


def test_roll_follows_over_the_half_turn(pose):
    after = ANSWERS + np.array([0, 0, 20])
    after[0, 2] -= 360
    assert not pose.turn_errors(ANSWERS, after, 20).any()
    np.testing.assert_array_equal(pose.turn_errors(ANSWERS, ANSWERS, 20)[:, 2], [-20] * 3)


def test_rolls_are_compared_around_the_half_turn(pose):
    upside_down = np.array([[0.0, 0, 175]])
    np.testing.assert_array_equal(pose.mirror_errors(upside_down, np.array([[0.0, 0, 178]])), [[0, 0, -7]])
    roll = re.search(r"roll +([\d.]+)", pose.distances("made", np.array([[0.0, 0, 178]]), np.array([[0.0, 0, -178]])))
    assert roll[1] == "4.0"


def test_faces_are_turned_clockwise(pose):
    """A spot above the middle goes to the right."""
    face = np.zeros((1, 49, 49, 3), np.uint8)
    face[0, 8:11, 23:26] = 255
    spot = pose.turned(face, 90)[0, ..., 0].astype(float)
    y, x = (np.average(axis, weights=spot) for axis in np.mgrid[:49, :49])
    assert (x, y) == pytest.approx((39, 24), abs=0.2)


def test_turning_agrees_with_the_five_landmarks(pose, made, heads):
    """On a picture, and with a detector that knows nothing of it: roll > 0 is clockwise."""
    face = made.draw(heads["astronaut.jpg"], 0, 0, side=144)[None]
    for degrees in (-25, 25):
        found = MTCNN().detect(pose.turned(face, degrees)[0])
        assert head_pose(found.landmarks[:1])[0, 2] == pytest.approx(degrees, abs=6)


def test_the_whole_turn_is_small_where_a_profile_s_pitch_and_roll_are_confused(pose):
    truth, answers = np.array([[90.0, 20, 0]]), np.array([[90.0, 0, -20]])
    means = re.findall(r"(yaw|pitch|roll|whole) +([\d.]+)", pose.distances("made heads", answers, truth))
    assert means == [("yaw", "0.0"), ("pitch", "20.0"), ("roll", "20.0"), ("whole", "0.0")]
    assert pose.turns_between(np.array([[0.0, 0, 0]]), np.array([[30.0, 0, 0]])) == pytest.approx(30)


def test_no_answer_counts_as_frontal_and_not_as_right(pose):
    labels = np.array([[0.0, 0, 0], [50, 0, 0], [-60, 0, 0], [10, 0, 0]])
    answers = labels.copy()
    answers[1] = np.nan
    text = "\n".join(pose.teacher_lines(answers, labels))
    assert "AUC 0.625, n = 2" in text  # of four pairs two are right, the missing one is below one and ties with one
    assert "n = 3" in text.splitlines()[0]


def test_the_head_is_drawn_where_its_points_lie(made, heads):
    """A bright spot at one point of the skin is seen where the turned point projects to."""
    head = heads["astronaut.jpg"]
    for yaw, pitch, roll in ((0, 0, 0), (30, 10, 0), (-40, -15, 20)):
        for point in (1, 168, 18):  # tip and root of the nose, below the lips: hidden in none of these
            photo = np.zeros_like(head.photo)
            x, y = head.places[point]
            cv2.circle(photo, (round(x - 0.5), round(y - 0.5)), 1, 1000, -1)  # a spot this small must shine
            shares, tones = np.ones_like(head.shares), np.zeros_like(head.tones)
            marked = made.Head(head.points, head.triangles, head.places, shares, tones, photo, head.framed)
            turned = head.points @ rotation(np.radians([[yaw, pitch, roll]]))[0].T
            expected = made.frame(turned, head.framed)[0][point] * 96 / made.CANVAS
            seen = made.draw(marked, yaw, pitch, roll, side=96)[..., 0].astype(float)
            seen[seen < 112] = 0  # the ground is grey
            found_y, found_x = (np.average(axis, weights=seen) + 0.5 for axis in np.mgrid[:96, :96])
            assert (found_x, found_y) == pytest.approx(tuple(expected), abs=1.5)


def test_near_surfaces_hide_far_ones(made):
    near = [[2.0, 2, 0], [30, 2, 0], [2, 30, 0]]
    far = [[2.0, 2, 5], [30, 2, 5], [2, 30, 5]]
    for points, values in ((near + far, [1, 1, 1, 2, 2, 2]), (far + near, [2, 2, 2, 1, 1, 1])):
        drawn, covered = made.rasterise(
            np.array(points), np.arange(6).reshape(2, 3), np.array(values, float)[:, None], 32
        )
        assert set(drawn[covered].ravel()) == {1.0}
        assert covered.sum() == pytest.approx(28 * 28 / 2, abs=30)


def test_values_are_spread_evenly(made):
    corners = np.array([[0.0, 0, 0], [64, 0, 0], [0, 64, 0]])
    drawn, covered = made.rasterise(corners, np.array([[0, 2, 1]]), corners[:, :2], 64)
    y, x = np.mgrid[:64, :64] + 0.5
    np.testing.assert_allclose(drawn[covered], np.stack([x, y], -1)[covered], atol=1e-4)


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (30, 0), (-30, 0), (45, 0), (-45, 0)])
def test_made_heads_are_turned_as_they_say(made, heads, yaw, pitch):
    """The five landmarks, found by a detector, tell the same direction."""
    found = MTCNN().detect(made.draw(heads["astronaut.jpg"], yaw, pitch, side=144))
    assert head_pose(found.landmarks[:1])[0, 0] == pytest.approx(yaw, abs=14)


def test_made_heads_look_up_where_pitch_is_positive(made, heads):
    pitches = [
        head_pose(MTCNN().detect(made.draw(heads["astronaut.jpg"], 0, pitch, side=144)).landmarks[:1])[0, 1]
        for pitch in (-25, 0, 25)
    ]
    assert pitches[0] < pitches[1] - 5 < pitches[2] - 10


@pytest.fixture
def labelled(tmp_path):
    """Faces whose brightness is their yaw plus 90, and a table that says so."""
    rows = [("name", "split", "yaw", "pitch", "roll", "confidence")]
    for i, yaw in enumerate((-80, -50, -35, 0, 10, 40, 70)):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((48, 48), yaw + 90, np.uint8))
        rows.append((f"{i}.png", "valid", yaw, 3, 0, 0.9))
    rows += [("doubtful.png", "valid", 0, 0, 0, 0.1), ("other.png", "train", 0, 0, 0, 1)]
    with (tmp_path / "pose.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path


class Brightness(Classifier):
    """Tells brightness less 90 as yaw, 3 as pitch and no roll."""

    def __init__(self, card):
        self.card, self.heads, self.needs_landmarks = card, ("pose",), False

    def _run(self, faces, landmarks):
        told = np.zeros((len(faces), 3), np.float32)
        told[:, 0], told[:, 1] = faces.mean(axis=(1, 2, 3)) - 90, 3
        one = np.ones((len(faces), 6), np.float32)
        return ModelOutput(np.full((len(faces), 8), 1 / 8, np.float32), one, one, one, pose=told)


def test_a_model_is_reported(make_card, pose, labelled):
    """By the labels it is right, in the mirror it is wrong."""
    estimate = pose.of_model(Brightness(make_card(face_size=48)))
    data = pose.read_labelled(labelled, labelled / "pose.csv", "valid", 100)
    np.testing.assert_allclose(estimate(data.faces), data.poses, atol=1e-3)
    lines = {line[2:26].strip(): line for line in pose.report(estimate, data, {"made heads": data})}
    assert "yaw  0.0" in lines["teacher"]
    assert "AUC 1.000, n = 5" in lines["|yaw| > 30"]
    assert "n = 7" in lines["mirror"]
    assert "yaw 81.4" in lines["mirror"]  # twice the mean of |yaw|
    assert "roll 30.0" in lines["turned by 30"]
    assert "0.0%" in lines["no answer"]


@pytest.fixture
def people(tmp_path, made, heads):
    """Two pictures that look into the camera, one of them without a face, and a table that says so."""
    face = made.draw(heads["astronaut.jpg"], 0, 0)
    for name, picture in {"face.png": face, "nothing.png": np.full_like(face, 90)}.items():
        cv2.imwrite(str(tmp_path / name), picture)
    rows = "\n".join(f"{name},valid,0,0,0,0.9" for name in ("nothing.png", "face.png"))
    (tmp_path / "pose.csv").write_text(f"name,split,yaw,pitch,roll,confidence\n{rows}\n")
    return tmp_path


@pytest.mark.parametrize("yaw", [-30, 0, 30])
def test_heads_of_people_are_turned_as_they_say(pose, made, people, yaw):
    (head,) = pose.heads_of_people(people, people / "pose.csv", "valid", 5)
    found = MTCNN().detect(made.draw(head, yaw, 0, side=144))
    assert head_pose(found.landmarks[:1])[0, 0] == pytest.approx(yaw, abs=14)


def test_each_head_is_drawn_at_all_angles(pose, heads):
    made = pose.made_faces(heads.values(), (-75, 0))
    assert made.faces.shape == (12, 48, 48, 3)
    assert made.poses.tolist() == [[yaw, pitch, 0] for yaw in (-75, 0) for pitch in (-30, 0, 30)] * 2


def test_training_faces_are_drawn_on_heads_of_many_kinds(script, people):
    turn = script("turn_faces")
    sources = turn.read_sources(people / "pose.csv", "valid")
    rng = np.random.default_rng(0)
    drawn = [next(turn.turned_faces(sources, people, rng)) for _ in range(12)]
    assert all(picture.shape == (48, 48, 3) and name == "face.png" for picture, _, name in drawn)
    yaws, pitches, rolls = np.abs([truth for _, truth, _ in drawn]).T
    assert 15 <= yaws.min() < 40 < yaws.max() <= 90
    assert pitches.max() <= 45
    assert rolls.max() <= 15
    points = turn.MeanHead.load(turn.HEAD).points
    photo, places, _ = next(turn.fitted(sources, people, points))
    some = [turn.some_head(points, places, photo, rng) for _ in range(20)]
    faces = np.array([np.ptp(head.points[: head.framed], axis=0) for head in some]) / np.ptp(points, axis=0)
    assert (faces.min(0) >= 0.92).all()
    assert (faces.min(0) < 0.97).all()
    assert (faces.max(0) > 1.03).all()
    assert (faces.max(0) <= 1.08).all()
    assert np.abs(np.corrcoef(faces.T)[np.triu_indices(3, 1)]).max() < 0.9  # each side by itself
    skulls = np.array([np.ptp(head.points[head.framed :], axis=0) for head in some]) / faces
    assert (skulls.max(0) / skulls.min(0) > [1.05, 1.15, 1.3]).all()
    bald = [head.tones[-1] == head.tones[0] for head in some]  # as the skin
    assert 0 < sum(bald) < 12
    hair = [head.tones[-1] for head, none in zip(some, bald, strict=True) if not none]
    assert min(hair) < 60 < 150 < max(hair)


def test_no_skull_breaks_through_the_face(script, made, heads):
    """Seen from the front and from both sides, in the corners of what is drawn, stretched flat or not at all."""
    turn = script("turn_faces")
    points = heads["hopper.jpg"].points[: heads["hopper.jpg"].framed]
    face = made.triangulate(points)
    flat = np.array([1 + turn.STRETCH, 1 - turn.STRETCH, 1 - turn.STRETCH])
    for size in itertools.product(*turn.SKULLS):
        skull, triangles = made.ellipsoid(points, size)
        for yaw, stretch in itertools.product((-60, 0, 60), (1, flat)):
            head = np.concatenate([points, skull]) * stretch
            turned = head @ rotation(np.radians([[yaw, 0, 0]]))[0].T
            placed, scale = made.frame(turned, len(points))
            corners = np.column_stack([placed, scale * turned[:, 2]])
            is_face = np.repeat([[1.0], [0.0]], [len(points), len(skull)], axis=0)
            both, _ = made.rasterise(corners, np.concatenate([face, triangles + len(points)]), is_face, 144)
            _, covered = made.rasterise(corners, face, is_face, 144)
            assert both[covered, 0].mean() > 0.85, (size, yaw)


class Tilted(Brightness):
    """Tells as roll by how much the brightest column leans: half of it."""

    def _run(self, faces, landmarks):
        y, x = np.mgrid[: faces.shape[1], : faces.shape[2]] - (faces.shape[1] - 1) / 2
        light = faces[..., 0].astype(float)
        roll = np.degrees(np.arctan2(-(light * x * y).sum((1, 2)), (light * y * y).sum((1, 2))))
        output = super()._run(faces, landmarks)
        return output._replace(pose=np.column_stack([output.pose[:, :2] + roll[:, None], roll / 2]).astype(np.float32))


def test_rolled_faces_are_looked_at_again_unless_once_is_enough(make_card, pose):
    """Its yaw is off by the roll that is left."""
    face = np.zeros((48, 48, 3), np.uint8)
    face[4:44, 23:25] = 255
    model, rolled = Tilted(make_card(face_size=48)), pose.turned(np.stack([face, face]), 40)
    upright = pose.of_model(model)(np.stack([face, face]))
    again, once = pose.of_model(model)(rolled), pose.of_model(model, upright=False)(rolled)
    assert once[:, 2] == pytest.approx([20, 20], abs=3)
    assert np.abs(once[:, 0] - upright[:, 0]).min() > 25
    assert again[:, 2] == pytest.approx([40, 40], abs=5)
    assert again[:, 0] == pytest.approx(upright[:, 0], abs=12)


def test_a_model_without_pose_is_refused(pose, tiny_path):
    with pytest.raises(SystemExit, match="expected a model with an output 'pose', found no heads"):
        pose.load_model(tiny_path)


def test_an_empty_split_is_refused(pose, labelled):
    with pytest.raises(SystemExit, match="expected rows of split 'test'"):
        pose.read_labelled(labelled, labelled / "pose.csv", "test", 10)


def test_a_missing_image_is_named(pose, labelled):
    (labelled / "3.png").unlink()
    with pytest.raises(SystemExit, match=r"3\.png: named in the labels"):
        pose.read_labelled(labelled, labelled / "pose.csv", "valid", 10)
