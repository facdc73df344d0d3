import numpy as np
import pytest
from skimage.data import astronaut

from regionfer.faces import Detections, align_faces, aligned_landmarks
from regionfer.faces.alignment import CROP_CENTRE, CROP_SIDE, frame_corners, frame_roll, turn_frames
from regionfer.faces.pose import FACE_MODEL, rotation
from regionfer.regions import TYPICAL_LANDMARKS


def face_at(yaw=0.0, pitch=0.0, roll=0.0, eyes=40.0, place=(150.0, 120.0)):
    """A face drawn from the model: ``eyes`` pixels between the eyes, ``place`` between them."""
    turned = FACE_MODEL @ rotation(np.radians([[yaw, pitch, roll]])).swapaxes(1, 2)
    landmarks = eyes * turned[..., :2] + place
    boxes = np.concatenate([landmarks.min(axis=1), landmarks.max(axis=1)], axis=1)
    return Detections(boxes, np.ones(1), landmarks)


def ramp(height=300, width=400):
    """Red grows with x, green with y: a pixel's colour tells where it came from."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 / width, y * 255 / height, 0 * x], axis=-1).round().astype(np.uint8)


def test_a_frontal_face_lands_on_the_ferplus_template():
    np.testing.assert_allclose(aligned_landmarks(face_at())[0], TYPICAL_LANDMARKS, atol=0.02)


@pytest.mark.parametrize("roll", [-60, -20, 20, 60, 170])
def test_roll_is_removed(roll):
    np.testing.assert_allclose(aligned_landmarks(face_at(roll=roll)), aligned_landmarks(face_at()), atol=0.01)


@pytest.mark.parametrize("yaw", [-60, -30, 30, 60])
def test_a_turned_face_is_not_enlarged(yaw):
    points = aligned_landmarks(face_at(yaw=yaw))[0]
    frontal = aligned_landmarks(face_at())[0]

    height = points[3:, 1].mean() - points[:2, 1].mean()
    assert height == pytest.approx(frontal[3:, 1].mean() - frontal[:2, 1].mean(), rel=0.04)


def test_pixels_and_landmarks_agree():
    """The crop's colour at each aligned landmark is the image's colour at the landmark."""
    image, faces = ramp(), face_at(yaw=20, roll=30)

    crop = align_faces(image, faces, 200)[0]

    for (x, y), (u, v) in zip(faces.landmarks[0], aligned_landmarks(faces)[0] * 200, strict=True):
        expected = [(x - 0.5) * 255 / 400, (y - 0.5) * 255 / 300]
        np.testing.assert_allclose(crop[int(v), int(u), :2], expected, atol=1.5)


def test_shrinking_averages():
    """A board of single pixels becomes even grey; sampling would keep some of its pixels."""
    y, x = np.mgrid[:1000, :1000]
    board = np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)

    crop = align_faces(board, face_at(eyes=200, place=(500, 450)), 48)

    assert np.abs(crop.astype(int) - 127).max() <= 12


def test_the_crop_of_a_48_pixel_frame_is_the_image_itself():
    image = np.ascontiguousarray(astronaut()[60:220, 150:310])
    eyes = 48 / CROP_SIDE
    corner = np.array([40.0, 30.0])
    place = corner + 24 - CROP_CENTRE[:2] * eyes

    crop = align_faces(image, face_at(eyes=eyes, place=place), 48)[0]

    np.testing.assert_allclose(crop.astype(int), image[30:78, 40:88], atol=4)


def test_beyond_the_edge_the_edge_is_repeated():
    image = np.full((60, 60, 3), 200, np.uint8)

    crops = align_faces(image, face_at(eyes=40, place=(2, 2)), 48)

    assert (crops == 200).all()


def test_a_face_far_outside_does_not_raise():
    assert align_faces(ramp(), face_at(place=(-5000, 9000)), 48).shape == (1, 48, 48, 3)


@pytest.mark.parametrize("side", [1, 48, 224])
def test_several_faces_in_order(side):
    one, two = face_at(place=(100, 100)), face_at(yaw=30, place=(250, 150))
    both = Detections(*(np.concatenate([getattr(f, k) for f in (one, two)]) for k in ("boxes", "scores", "landmarks")))

    crops = align_faces(ramp(), both, side)

    assert crops.shape == (2, side, side, 3)
    assert crops.dtype == np.uint8
    np.testing.assert_array_equal(crops[1], align_faces(ramp(), two, side)[0])


def test_no_faces():
    assert align_faces(ramp(), Detections.empty(), 48).shape == (0, 48, 48, 3)
    assert aligned_landmarks(Detections.empty()).shape == (0, 5, 2)


def test_without_usable_landmarks_the_box_is_cut():
    faces = Detections(np.array([[100, 50, 180, 130]]), np.ones(1), np.full((1, 5, 2), np.nan))

    crop = align_faces(ramp(), faces, 80)[0]

    np.testing.assert_allclose(crop.astype(int), ramp()[50:130, 100:180], atol=1)


def test_a_size_of_zero_is_refused():
    with pytest.raises(ValueError, match="size must be at least 1 pixel, got 0"):
        align_faces(ramp(), Detections.empty(), 0)


def test_the_model_is_symmetric():
    np.testing.assert_array_equal(FACE_MODEL[[1, 0, 2, 4, 3]] * [-1, 1, 1], FACE_MODEL)


@pytest.mark.parametrize("degrees", [-170, -30, 0, 45, 90])
def test_roll_and_corners_of_a_turned_frame(degrees):
    upright = np.array([[(10.0, 20.0), (8.0, 0.0), (0.0, 8.0)]])
    turned = turn_frames(upright, np.array([degrees]))
    np.testing.assert_allclose(frame_roll(turned), [degrees], atol=1e-9)
    corners = frame_corners(turned)[0]
    np.testing.assert_allclose(corners.mean(axis=0), (14, 24), atol=1e-5)
    expected = np.array([(-4, -4), (4, -4), (4, 4), (-4, 4)]) @ rotation(np.radians([[0.0, 0.0, degrees]]))[0, :2, :2].T
    np.testing.assert_allclose(corners - (14, 24), expected, atol=1e-5)
