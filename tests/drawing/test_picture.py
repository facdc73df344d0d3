import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from regionfer.drawing import draw
from regionfer.drawing.cards import HIDDEN, MAX_CARDS, VISIBLE, notes_of
from regionfer.drawing.photo import axes_of, outline_regions, place_all
from regionfer.drawing.style import AXES, COLOURS, INK, OTHER, PANEL, REGION, paste
from regionfer.faces.pose import rotation
from regionfer.labels import LABELS
from regionfer.regions import FIXED_REGIONS, WHOLE_FACE
from regionfer.results import Expressions, Pose, Region

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("face", *FIXED_REGIONS)
REGIONS = np.array([WHOLE_FACE, *FIXED_REGIONS.values()], np.float32)
EVEN = (1 / 6,) * 6
TOP_LEFT = (0.1, 0.5, 0.1, 0.1, 0.1, 0.1)
PROBABILITIES = (0.05, 0.4, 0.2, 0.1, 0.1, 0.05, 0.05, 0.05)


def expressions(
    boxes: Sequence[Sequence[float]],
    *,
    attention: Sequence[float] = EVEN,
    probabilities: Sequence[float] = PROBABILITIES,
    labels: tuple[str, ...] = LABELS,
    aligned: NDArray[np.float32] | None = None,
    image_size: tuple[int, int] | None = None,
) -> Expressions:
    n = len(boxes)
    weights = np.tile(np.array(attention, np.float32), (n, 1))
    return Expressions(
        boxes=np.array(boxes, np.float32).reshape(n, 4),
        scores=np.full(n, 0.99, np.float32),
        pose=np.tile(np.array([-12.4, 3.0, np.nan], np.float32), (n, 1)),
        probabilities=np.tile(np.array(probabilities, np.float32), (n, 1)),
        mu=weights,
        nu=weights,
        attention=weights,
        regions=REGIONS,
        region_names=NAMES,
        labels=labels,
        aligned=aligned,
        image_size=image_size,
    )


def grey(width: int, height: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 128, np.uint8)


def longest_run(image: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    """Length of the longest row of pixels of exactly this colour."""
    same = np.pad((image == colour).all(axis=-1), ((0, 0), (1, 1)))
    ends = np.flatnonzero(np.diff(same.ravel().astype(np.int8)))
    return int((ends[1::2] - ends[::2]).max(initial=0))


def test_the_image_is_not_changed_and_stays_at_the_top_left() -> None:
    image = np.random.default_rng(0).integers(0, 255, (800, 1000, 3), np.uint8)
    before = image.copy()
    drawn = draw(image, expressions([(400, 300, 600, 550)]))
    assert drawn.dtype == np.uint8
    assert (image == before).all()
    assert (drawn[600:800, :300] == image[600:800, :300]).all()
    assert drawn.size > image.size


@pytest.mark.parametrize("size", [(200, 150), (1000, 700), (4000, 3000)], ids=["small", "medium", "large"])
@pytest.mark.parametrize("faces", [1, 5])
def test_bars_are_in_proportion_and_large_enough_at_any_size(size: tuple[int, int], faces: int) -> None:
    width, height = size
    side = width // 10
    boxes = [(side * (2 * i), side, side * (2 * i + 1), 2.2 * side) for i in range(faces)]
    drawn = draw(grey(width, height), expressions(boxes))
    scale = max(1, 720 / max(size))
    beside, below = drawn[::3, round(width * scale) :], drawn[round(height * scale) :: 3]
    bars = {
        name: max(longest_run(beside, COLOURS[name]), longest_run(below, COLOURS[name]))
        for name in ("happiness", "surprise", "sadness")
    }
    unit = bars["happiness"] / 0.4
    assert unit >= 90  # pixels of a full bar
    # as a share of the picture, which is shown on one screen whatever its size
    assert unit / max(drawn.shape) > 0.04
    assert bars["surprise"] == pytest.approx(0.2 * unit, abs=2)
    assert bars["sadness"] == pytest.approx(0.1 * unit, abs=2)


def test_without_cards_the_size_stays() -> None:
    for width, height in ((200, 150), (1000, 700), (8, 5)):
        drawn = draw(grey(width, height), expressions([(2, 2, 6, 5)]), cards=False)
        assert drawn.shape == (height, width, 3)
        assert (drawn != 128).any()


def test_box_and_label_have_the_colour_of_the_expression() -> None:
    drawn = draw(grey(1000, 700), expressions([(400, 300, 600, 500)]), cards=False)
    assert tuple(drawn[400, 400]) == COLOURS["happiness"]  # middle of the left edge
    assert tuple(drawn[500, 500]) == COLOURS["happiness"]
    label = (drawn[270:298, 380:620] == COLOURS["happiness"]).all(axis=-1)
    assert label.sum() > 1000  # above the box


def test_every_label_has_a_colour_on_which_its_text_can_be_read() -> None:
    def luminance(colour: Sequence[int]) -> float:  # WCAG 2.1
        linear = [(c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    assert set(COLOURS) == set(LABELS)
    assert len(set(COLOURS.values())) == len(LABELS)
    for colour in COLOURS.values():
        assert (luminance(colour) + 0.05) / (luminance(INK) + 0.05) >= 4.5


# --- attention ----------------------------------------------------------------------------------------------------


def regions(attention: Sequence[float]) -> list[Region]:
    boxes = [tuple(box) for box in REGIONS.tolist()]
    return [Region(name, box, 0.5, 0.5, w) for name, box, w in zip(NAMES, boxes, attention, strict=True)]


@pytest.mark.parametrize("attention", [EVEN, (1.0,)], ids=["equal", "plain backbone"])
def test_equal_weights_have_no_outlines(attention: Sequence[float]) -> None:
    image = grey(200, 200)
    square = np.float32([(20, 20), (180, 20), (180, 180), (20, 180)])
    outline_regions(image, regions(EVEN)[: len(attention)], square, 2)
    assert (image == 128).all()


def violet(image: NDArray[np.uint8]) -> NDArray[np.int_]:
    return image[..., 2].astype(int) - image[..., 1]


@pytest.mark.parametrize("only_strongest", [False, True])
def test_the_strongest_region_has_the_strongest_outline_and_nothing_is_filled(only_strongest: bool) -> None:
    image = grey(400, 400)
    square = np.float32([(0, 0), (400, 0), (400, 400), (0, 400)])
    weights = (0.05, 0.4, 0.2, 0.15, 0.1, 0.1)
    outline_regions(image, regions(weights), square, 3, only_strongest=only_strongest)
    shade = violet(image)
    assert shade[150, 298:302].max() > 80  # right edge of the top left region
    weaker = shade[150, 98:102].max()  # left edge of the top right one
    assert weaker == 0 if only_strongest else 5 < weaker < 60
    assert (shade == 0).mean() > 0.85
    assert (image[190:210, 190:210] == 128).all()


def test_regions_are_outlined_in_the_aligned_face() -> None:
    # a face that lies on its side: its top left is at the image's top right
    turned = np.array([[(600, 300), (600, 500), (400, 500), (400, 300)]], np.float32)
    drawn = draw(grey(1000, 700), expressions([(400, 300, 600, 500)], attention=TOP_LEFT, aligned=turned), cards=False)
    shade = violet(drawn)
    assert shade[375, 448:452].max() > 80  # the region's lower edge, at three quarters of the face's height
    assert shade[448:452, 550].max() > 80  # and its right one
    assert shade[300:500, 410:440].max() < 40
    assert abs(shade[:, 620:]).max() == 0


def test_the_strongest_region_is_named_below_the_face_if_there_is_room() -> None:
    def named(box: tuple[int, int, int, int], *others: tuple[int, int, int, int]) -> int:
        drawn = draw(grey(1000, 700), expressions([box, *others], attention=TOP_LEFT), cards=False)
        return run_of(REGION, drawn[box[3] + 1 : box[3] + 30, box[0] : box[2]])

    assert named((400, 300, 600, 500)) > 500
    assert named((400, 300, 600, 500), (400, 505, 600, 690)) < 100  # would hide the other face
    assert named((400, 300, 440, 350)) < 100  # a small face


@pytest.mark.parametrize(
    "pose", [Pose(0, 0, 0), Pose(40, 0, 0), Pose(0, 30, 0), Pose(0, 0, 50), Pose(-50, 20, 170), Pose(60, -35, -80)]
)
def test_axes_are_those_of_the_head(pose: Pose) -> None:
    turned = rotation(np.radians([pose]))[0]  # its columns are where x, y and z go; the head looks along -z
    np.testing.assert_allclose(axes_of(pose), [turned[:2, 0], turned[:2, 1], -turned[:2, 2]], atol=1e-6)


def test_axes_of_a_face_are_drawn_where_there_is_room() -> None:
    pose = np.float32([[30, 0, 0]])
    for box, shown in (((400, 300, 600, 500), True), ((400, 300, 440, 350), False)):
        drawn = draw(grey(1000, 700), replace(expressions([box]), pose=pose), cards=False)
        assert [run_of(colour, drawn) > 30 for colour in AXES] == [shown] * 3
    assert run_of(AXES[0], draw(grey(1000, 700), expressions(FACE), cards=False)) == 0  # unknown


def test_a_legend_tells_what_is_drawn() -> None:
    plain, faces = grey(1000, 700), expressions(FACE)
    known = replace(faces, pose=np.float32([[30, 0, 0]]), threshold=0.9)
    bottom = {name: draw(plain, each)[700:] for name, each in (("nothing", faces), ("all", known))}
    assert run_of(AXES[1], bottom["all"]) > 20
    assert run_of(AXES[1], bottom["nothing"]) == 0
    assert run_of(REGION, draw(plain, expressions(FACE, attention=TOP_LEFT))[700:]) > 20
    narrow = draw(grey(150, 720), known)
    assert narrow.shape[1] < 800


# --- what is covered and uncertain --------------------------------------------------------------------------------

COVERED = np.float32([[0.9, 0.3, 0.1, 0.5, 0.3, 0.2]])
FACE = [(400, 300, 600, 500)]


def run_of(colour: tuple[int, int, int], image: NDArray[np.uint8]) -> int:
    return int((image == colour).all(axis=-1).sum())


@pytest.mark.parametrize("size", [(200, 150), (1000, 700), (4000, 3000)], ids=["small", "medium", "large"])
def test_visibility_of_each_region_has_its_colour_at_any_size(size: tuple[int, int]) -> None:
    width, height = size
    box = [(width * 0.4, height * 0.3, width * 0.6, height * 0.6)]
    seen = np.float32([[1, 1, 1, 0, 1, 1]])
    drawn = draw(grey(width, height), replace(expressions(box), visibility=seen))
    text = max(13, round(max(round(width * max(1, 720 / width)), 720) / 64))
    side = round(1.8 * text)
    whole, crop = side * side, (0.75 * side) ** 2
    assert longest_run(drawn, VISIBLE) == side  # the whole face
    assert run_of(VISIBLE, drawn) == pytest.approx(whole + 2 * crop + (0.9**2 + 0.85**2) * whole, rel=0.1)
    assert run_of(HIDDEN, drawn) == pytest.approx(crop, rel=0.1)
    assert run_of(HIDDEN, draw(grey(width, height), expressions(box))) == 0


@pytest.mark.parametrize("regions", [1, 6, 11])
def test_marks_of_many_regions_stay_in_the_card(regions: int) -> None:
    weights = np.full((1, regions), 1 / regions, np.float32)
    faces = replace(
        expressions([(20, 20, 100, 100)]),
        mu=weights,
        nu=weights,
        attention=weights,
        visibility=np.zeros((1, regions), np.float32),
        regions=np.tile(np.float32(WHOLE_FACE), (regions, 1)),
        region_names=tuple(f"region {index}" for index in range(regions)),
    )
    drawn = draw(grey(720, 480), faces)
    side = round(1.8 * 13)
    assert run_of(HIDDEN, drawn) == regions * side * side
    assert (drawn[:, -5:] == PANEL).all()


def test_an_uncertain_answer_has_a_label_that_says_so_and_open_sides() -> None:
    sure, unsure = (replace(expressions(FACE), threshold=threshold) for threshold in (0.3, 0.5))
    drawn = {name: draw(grey(1000, 700), faces, cards=False) for name, faces in (("sure", sure), ("unsure", unsure))}
    happy = COLOURS["happiness"]
    assert [tuple(drawn[name][400, 400]) == happy for name in ("sure", "unsure")] == [True, False]  # the left side
    assert [tuple(drawn[name][320, 400]) == happy for name in ("sure", "unsure")] == [True, True]  # near its corner
    label = {name: run_of(happy, drawn[name][260:295, :]) for name in drawn}
    assert label["unsure"] > 1.3 * label["sure"]
    assert (draw(grey(1000, 700), expressions(FACE), cards=False) == drawn["sure"]).all()  # unknown is not uncertain
    marked, unmarked = (run_of(OTHER, draw(grey(1000, 700), faces)) for faces in (unsure, sure))
    assert marked > unmarked + 1000  # the mark on the card


def test_notes_of_a_card() -> None:
    faces = expressions(FACE)
    assert len(notes_of(faces[0])) == 2
    covered = replace(faces, occlusion=COVERED, visibility=np.full((1, 6), 0.5, np.float32))
    assert notes_of(covered[0])[2:] == ["covered: 30% (lower, left)", "how visible each region is:"]
    assert notes_of(replace(covered, occlusion=COVERED / 2)[0])[2] == "how visible each region is:"  # it is not covered


# --- several faces ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "box", [(0, 0, 100, 100), (900, 0, 1000, 90), (0, 600, 90, 700), (920, 620, 1000, 700), (0, 0, 1000, 700)]
)
def test_labels_stay_in_the_photo(box: tuple[float, ...]) -> None:
    ((x, y),), _ = place_all([(90, 20)], [box], (1000, 700), 2)
    assert 0 <= x <= 910
    assert 0 <= y <= 680
    drawn = draw(grey(1000, 700), expressions([box]), cards=False)
    label = (drawn[:, :, None] == COLOURS["happiness"]).all(axis=-1)
    assert label.sum() > 1500


@pytest.mark.parametrize("step_y", [110, 55], ids=["room above", "room beside only"])
def test_labels_hide_no_face(step_y: int) -> None:
    boxes = [(160 * i, step_y * j, 160 * i + 50, step_y * j + 50) for i in range(5) for j in range(3)]
    corners, hidden = place_all([(90, 20)] * len(boxes), boxes, (900, 400), 2)
    assert hidden == 0
    placed = [(x, y, x + 90, y + 20) for x, y in corners]
    for index, one in enumerate(placed):
        for other in placed[:index] + boxes:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart


def test_what_labels_hide_is_counted() -> None:
    _, hidden = place_all([(40, 20), (40, 20)], [(0, 0, 40, 20), (0, 0, 40, 20)], (40, 20), 2)
    assert hidden == 40 * 20 + 2 * 40 * 20  # the first hides the second face, the second a face and a label


@pytest.mark.parametrize("step", [75, 45, 35], ids=["loose", "dense", "packed"])
def test_labels_shrink_until_a_crowd_can_be_seen(step: int) -> None:
    boxes = [(step * i + 5, step * j + 25, step * i + 30, step * j + 50) for i in range(12) for j in range(6)]
    image = np.random.default_rng(0).integers(0, 120, (500, 1000, 3), np.uint8)
    drawn = draw(image, expressions(boxes), cards=False)
    for x1, y1, _, _ in boxes:
        assert (drawn[y1 + 12, x1 + 12] == image[y1 + 12, x1 + 12]).all()


def test_the_number_of_cards_is_bounded() -> None:
    boxes = [(45 * i + 5, 45 * j + 5, 45 * i + 30, 45 * j + 30) for i in range(6) for j in range(6)]
    crowd = expressions(boxes)
    assert len(crowd) > MAX_CARDS
    assert draw(grey(500, 500), crowd).shape == draw(grey(500, 500), crowd[:MAX_CARDS]).shape


def test_no_faces() -> None:
    drawn = draw(grey(1000, 700), expressions([]))
    assert drawn.shape == (700, 1000, 3)
    assert (drawn[:40, :200] != 128).any()
    assert (drawn[40:] == 128).all()
    assert (draw(grey(1000, 700), expressions([]), cards=False) == 128).all()


@pytest.mark.parametrize(
    "box",
    [(-50, -30, 40, 60), (180, 140, 400, 300), (300, 300, 400, 400), (50, 50, 50, 50), (50.2, 50.7, 51.1, 51.4)],
    ids=["across the corner", "across the edges", "outside", "empty", "one pixel"],
)
@pytest.mark.parametrize("attention", [EVEN, TOP_LEFT], ids=["even", "top left"])
def test_faces_at_the_edge_and_without_extent(box: tuple[float, ...], attention: tuple[float, ...]) -> None:
    drawn = draw(grey(200, 150), expressions([box, (20, 20, 60, 70)], attention=attention))
    assert longest_run(drawn, COLOURS["happiness"]) > 30


@pytest.mark.parametrize("count", [2, 3, 12])
def test_other_labels(count: int) -> None:
    labels = tuple(f"label {index}" for index in range(count))
    faces = expressions([(50, 50, 100, 100)], labels=labels, probabilities=np.full(count, 1 / count))
    faces = replace(faces, pose=np.zeros((1, 3), np.float32))
    assert draw(grey(300, 200), faces).size > 720 * 480 * 3


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((5, 5), np.uint8), r"RGB uint8 of shape \(H, W, 3\), got uint8 of shape \(5, 5\)"),
        (np.zeros((5, 5, 3), np.float32), r"got float32 of shape \(5, 5, 3\)"),
        (np.zeros((0, 5, 3), np.uint8), r"got uint8 of shape \(0, 5, 3\)"),
        (np.zeros((6, 5, 3), np.uint8), r"of an image of \(6, 5\) pixels, got one of \(5, 6\)"),
    ],
    ids=["grey", "float", "empty", "of another size"],
)
def test_wrong_images(image: NDArray[np.uint8], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(image, expressions([], image_size=(6, 5)))


def test_large_faces_are_averaged_into_their_card_not_sampled() -> None:
    stripes = grey(2000, 2000)
    stripes[::2] = 255
    stripes[1::2] = 0
    drawn = draw(stripes, expressions([(0, 0, 2000, 2000)]))
    card = drawn[:, 2000:]
    lively = card[..., 0].astype(float)[200:300, 90:200]
    assert math.isclose(lively.mean(), 127, abs_tol=12)
    assert lively.std() < 12


def test_a_label_is_blended_by_its_opacity():
    """Whole where it is opaque, nothing where it is clear, in between at its smooth edges."""
    photo, patch = np.full((2, 6, 3), 100, np.uint8), np.full((1, 4, 4), 200, np.uint8)
    patch[0, :, 3] = (255, 204, 51, 0)
    paste(photo, Image.fromarray(patch), (1, 1))
    assert photo[0].min() == photo[0].max() == 100
    for channel in range(3):
        assert photo[1, :, channel].tolist() == [100, 200, 180, 120, 100, 100]
