"""Make small trees in the official layouts of FERPlus, AffectNet, RAF-DB and SFEW, with faces drawn here.

The corpora may not be passed on, so tests and trials use these. They have the quirks of the real ones: misspelt file
names, expressions that are none, boxes that are NULL, archives unpacked twice, lists with repeated lines.

    python scripts/make_dataset_trees.py OUT [--faces 4]
"""

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

LABELS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
SEVEN = LABELS[:7]
AFFECTNET = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
RAFDB = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
SFEW = {
    "anger": "Angry",
    "disgust": "Disgust",
    "fear": "Fear",
    "happiness": "Happy",
    "neutral": "Neutral",
    "sadness": "Sad",
    "surprise": "Surprise",
}

# Of a face whose box is 0..1: eyes, nose, mouth corners, as x y.
LANDMARKS = np.array([[0.32, 0.40], [0.68, 0.40], [0.5, 0.62], [0.36, 0.78], [0.64, 0.78]])

# How far the mouth corners are raised, the mouth is open, the brows are raised, and their inner ends lowered;
# shares of the side of the face.
EXPRESSIONS = {
    "neutral": (0.0, 0.01, 0.0, 0.0),
    "happiness": (0.05, 0.05, 0.0, 0.0),
    "surprise": (0.0, 0.13, 0.06, 0.0),
    "sadness": (-0.05, 0.01, 0.01, -0.04),
    "anger": (-0.03, 0.02, -0.02, 0.06),
    "disgust": (-0.02, 0.04, -0.01, 0.03),
    "fear": (-0.01, 0.09, 0.04, -0.04),
    "contempt": (0.02, 0.01, 0.0, 0.01),
}


def draw_face(expression: str, side: int, rng: np.random.Generator) -> np.ndarray:
    """A face that fills its image, (side, side, 3) uint8 RGB; no two are alike."""
    big = side * (4 if side < 64 else 2)  # drawn larger and averaged down, for soft edges
    background, skin, hair = rng.integers(60, 200, 3), rng.integers(150, 230), rng.integers(10, 110, 3)
    colour = np.array([skin, skin * 0.82, skin * 0.7])
    image = np.full((big, big, 3), background, np.float32)
    _ellipse(image, (0.5, 0.42), (0.46, 0.44), hair)
    _ellipse(image, (0.5, 0.80), (0.16, 0.30), colour * 0.85)
    _ellipse(image, (0.5, 0.53), (0.37, 0.45), colour)
    lift, gap, raised, lowered = EXPRESSIONS[expression]
    for sign, (x, y) in zip((-1, 1), LANDMARKS[:2], strict=True):
        _ellipse(image, (x, y), (0.085, 0.045 + raised / 3), np.full(3, 245))
        _ellipse(image, (x, y), (0.036, 0.036 + raised / 4), rng.integers(20, 90, 3))
        outer, inner = (x + sign * 0.10, y - 0.09 - raised), (x - sign * 0.09, y - 0.09 - raised + lowered)
        _line(image, outer, inner, hair * 0.6, 0.03)
    _line(image, (0.5, 0.44), (0.48, 0.60), colour * 0.88, 0.025)
    _line(image, (0.44, 0.63), (0.56, 0.63), colour * 0.6, 0.025)
    corners = LANDMARKS[3:] - [0, lift]
    if expression == "contempt":
        corners[0, 1] += 0.03
    _mouth(image, corners, gap + 0.025, np.array([170, 60, 60]))
    _mouth(image, corners, gap, np.array([70, 20, 25]))
    light = np.linspace(*rng.uniform(0.75, 1.15, 2), big, dtype=np.float32)[None, :, None]
    noise = rng.normal(0, 5, (side, side, 1))
    small = cv2.resize(image * light, (side, side), interpolation=cv2.INTER_AREA)
    return (small + noise).clip(0, 255).astype(np.uint8)


def _ellipse(image: np.ndarray, centre: Sequence[float], radii: Sequence[float], colour: np.ndarray) -> None:
    side = len(image)
    place = tuple(round(float(value) * side) for value in centre)
    axes = tuple(round(float(value) * side) for value in radii)
    cv2.ellipse(image, place, axes, 0, 0, 360, [float(value) for value in colour], -1)


def _line(image: np.ndarray, start: Sequence[float], end: Sequence[float], colour: np.ndarray, width: float) -> None:
    side = len(image)
    points = [tuple(round(float(value) * side) for value in point) for point in (start, end)]
    cv2.line(image, *points, [float(value) for value in colour], max(1, round(width * side)))


def _mouth(image: np.ndarray, corners: np.ndarray, gap: float, colour: np.ndarray) -> None:
    """A mouth between two corners; its middle stays at one height, so that raised corners smile."""
    t = np.linspace(0, 1, 21)
    line = corners[0] + (corners[1] - corners[0]) * t[:, None]
    bow = 4 * t * (1 - t)
    middle = LANDMARKS[3, 1] - line[:, 1].mean()
    upper = line + np.stack([0 * t, bow * (middle - gap / 2)], 1)
    lower = line + np.stack([0 * t, bow * (middle + gap / 2)], 1)
    outline = np.concatenate([upper, lower[::-1]]) * len(image)
    cv2.fillPoly(image, [outline.round().astype(np.int32)], [float(value) for value in colour])


def draw_photo(
    expression: str, rng: np.random.Generator, *, width: int = 200, height: int = 160
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A photo with one face: (height, width, 3), its box x y width height, and its five landmarks (5, 2), pixels."""
    side = int(rng.integers(90, 120))
    x, y = int(rng.integers(5, width - side - 5)), int(rng.integers(5, height - side - 5))
    photo = np.full((height, width, 3), rng.integers(60, 200, 3), np.uint8)
    photo[y : y + side, x : x + side] = draw_face(expression, side, rng)
    return photo, np.array([x, y, side, side]), LANDMARKS * side + [x, y]


def sixty_eight(points: np.ndarray) -> np.ndarray:
    """68 landmarks (68, 2) whose eyes, nose tip and mouth corners are the five given."""
    left_eye, right_eye, nose, left_mouth, right_mouth = points
    all_points = np.repeat(nose[None], 68, 0) + np.linspace(-1, 1, 68)[:, None]
    ring = np.array([[-6, 0], [-3, -3], [3, -3], [6, 0], [3, 3], [-3, 3]])
    all_points[30] = nose
    all_points[36:42], all_points[42:48] = left_eye + ring, right_eye + ring
    all_points[48], all_points[54] = left_mouth, right_mouth
    return all_points


def _save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def _write(path: Path, lines: Sequence[str], *, end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + end for line in lines), encoding="utf-8", newline="")


def _votes(expression: str, rng: np.random.Generator) -> list[int]:
    """Ten votes with a majority for an expression, and a stray one that the protocol drops."""
    votes = [0] * 10
    votes[LABELS.index(expression)] = int(rng.integers(6, 9))
    votes[int(rng.integers(0, 8))] += 1
    return votes


UNDECIDED = [
    [5, 0, 0, 5, 0, 0, 0, 0, 0, 0],
    [1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    [2, 0, 0, 0, 0, 0, 0, 0, 8, 0],
    [0] * 9 + [10],
]


def make_ferplus(root: Path, faces: int = 4, seed: int = 0) -> None:
    """The folders that Microsoft's FER+ scripts write: 48 x 48 grey PNG and label.csv without a header.

    Numbers go on from split to split, as in the original. Four images of each split have no majority.
    """
    rng = np.random.default_rng(seed)
    number = 0
    for folder in ("FER2013Train", "FER2013Valid", "FER2013Test"):
        lines = []
        votes = [_votes(expression, rng) for _ in range(faces) for expression in LABELS] + UNDECIDED
        for row in votes:
            grey = draw_face(LABELS[int(np.argmax(row[:8]))], 48, rng).mean(2).astype(np.uint8)
            name = f"fer{number:07d}.png"
            _save(root / folder / name, grey)
            lines.append(f'{name},"(0, 0, 48, 48)",' + ",".join(map(str, row)))
            number += 1
        _write(root / folder / "label.csv", lines, end="\r\n")


def make_ferplus_tables(root: Path, faces: int = 1, seed: int = 0) -> None:
    """The original pair of tables; one image, as in the original, has no name, because FER+ dropped it."""
    rng = np.random.default_rng(seed)
    pixels, votes = ["emotion,pixels,Usage"], [f"Usage,Image name,{','.join(LABELS)},unknown,NF"]
    number = 0
    for usage in ("Training", "PublicTest", "PrivateTest"):
        for expression in LABELS * faces:
            grey = draw_face(expression, 48, rng).mean(2).astype(np.uint8)
            pixels.append(f"0,{' '.join(map(str, grey.ravel()))},{usage}")
            votes.append(f"{usage},fer{number:07d}.png,{','.join(map(str, _votes(expression, rng)))}")
            number += 1
        pixels.append(f"0,{' '.join(['0'] * 48 * 48)},{usage}")
        votes.append(f"{usage},,{','.join(['0'] * 9)},10")
    _write(root / "fer2013.csv", pixels)
    _write(root / "fer2013new.csv", votes)


def affectnet_names(count: int, seed: int = 0) -> Iterator[str]:
    """Names such as AffectNet's: 56 hexadecimal digits."""
    return (hashlib.sha224(f"{seed}/{number}".encode()).hexdigest() for number in range(count))


def make_affectnet(root: Path, faces: int = 4, seed: int = 1) -> None:
    """The release with tables, and photos in numbered folders.

    Some images have no expression of interest, one of them neither box nor landmarks. Suffixes differ, in case, too.
    """
    rng = np.random.default_rng(seed)
    names = affectnet_names(10_000, seed)
    header = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    suffixes = (".jpg", ".JPG", ".png", ".jpeg")
    for table in ("training.csv", "validation.csv"):
        lines = [header]
        for number in range(faces * 11):
            code = number % 11
            expression = AFFECTNET[code] if code < 8 else "neutral"
            photo, box, points = draw_photo(expression, rng)
            name = f"{number % 3 + 1}/{next(names)}{suffixes[number % 4]}"
            _save(root / "Manually_Annotated_Images" / name, photo)
            landmarks = ";".join(f"{value:.2f}" for value in sixty_eight(points).ravel())
            cells = [*map(str, box), landmarks]
            if code == 10:  # no face
                cells = ["NULL", "NULL", "NULL", "NULL", "NULL"]
            affect = ["-2", "-2"] if code > 7 else [f"{value:.4f}" for value in rng.uniform(-1, 1, 2)]
            lines.append(",".join([name, *cells, str(code), *affect]))
        _write(root / table, lines)


def make_affectnet_folders(root: Path, faces: int = 4, seed: int = 2) -> None:
    """The newer release: crops by number, and arrays beside them that hold text. Numbers repeat in both sets.

    Numbers have gaps. One validation image of contempt is lost, as in the real release.
    """
    rng = np.random.default_rng(seed)
    for folder in ("train_set", "val_set"):
        for number in range(faces * 8):
            code = number % 8
            if folder == "val_set" and number == 7:
                continue
            stem = str(3 * number)
            _save(root / folder / "images" / f"{stem}.jpg", draw_face(AFFECTNET[code], 224, rng))
            values = {
                "exp": np.array(str(code)),
                "val": np.array(f"{rng.uniform(-1, 1):.4f}"),
                "aro": np.array(f"{rng.uniform(-1, 1):.4f}"),
                "lnd": sixty_eight(LANDMARKS * 224).ravel(),
            }
            for kind, value in values.items():
                path = root / folder / "annotations" / f"{stem}_{kind}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, value)


def make_rafdb(root: Path, faces: int = 4, seed: int = 3) -> None:
    """``basic`` with aligned crops, original photos, and the annotations of both. The list's name is misspelt."""
    rng = np.random.default_rng(seed)
    base = root / "basic"
    lines = []
    for split, digits in (("train", 5), ("test", 4)):
        for number in range(1, faces * 7 + 1):
            code = int(rng.integers(1, 8)) if number > 7 else number
            stem = f"{split}_{number:0{digits}d}"
            photo, (x, y, width, height), points = draw_photo(RAFDB[code - 1], rng)
            crop = cv2.resize(photo[y : y + height, x : x + width], (100, 100), interpolation=cv2.INTER_AREA)
            _save(base / "Image" / "original" / f"{stem}.jpg", photo)
            _save(base / "Image" / "aligned" / f"{stem}_aligned.jpg", crop)
            people = [str(rng.integers(0, count)) for count in (3, 3, 5)]
            manual = [f"{px:.4f}\t{py:.4f}" for px, py in points] + people
            _write(base / "Annotation" / "manual" / f"{stem}_manu_attri.txt", manual)
            box = f"{x:.2f} {y:.2f} {x + width:.2f} {y + height:.2f} "
            _write(base / "Annotation" / "boundingbox" / f"{stem}_boundingbox.txt", [box])
            lines.append(f"{stem}.jpg {code}")
    _write(base / "EmoLabel" / "list_patition_label.txt", lines)


def make_sfew(root: Path, faces: int = 4, seed: int = 4) -> None:
    """Film stills and aligned faces; the archive of the validation faces is one folder deeper. Test has no labels."""
    rng = np.random.default_rng(seed)
    aligned = {"Train": "Train_Aligned_Faces", "Val": "Val_Aligned_Faces_new/Val_Aligned_Faces"}
    for split, archive in aligned.items():
        for expression, folder in SFEW.items():
            for number in range(faces):
                name = f"Film{number}_000{rng.integers(100000, 999999)}_00000001.png"
                photo, (x, y, width, height), _ = draw_photo(expression, rng, width=180, height=144)
                crop = cv2.resize(photo[y : y + height, x : x + width], (143, 181), interpolation=cv2.INTER_LINEAR)
                _save(root / split / folder / name, photo)
                _save(root / split / archive / folder / name, crop)
    for number in range(faces):
        _save(root / "Test" / f"Film9_{number:09d}_00000001.png", draw_photo("neutral", rng)[0])


def make_lists(root: Path) -> None:
    """Challenge lists in the authors' forms and under their names, for the trees that the functions above make."""
    ferplus = _ferplus_test(root / "ferplus")
    folder = root / "lists" / "FERplus_dir"
    _write(folder / "jianfei_occlusion_list.txt", [f"{k}_{n}.png 8 {i % 4}" for i, (n, k) in enumerate(ferplus[::2])])
    _write(folder / "pose_30_ferplus_list.txt", [f"{k}/{n}.jpg" for n, k in ferplus[::3]])
    _write(folder / "pose_45_ferplus_list.txt", [f"{k}/{n}.jpg" for n, k in ferplus[::5]])
    _write(folder / "dlib_ferplus_val_center_crop_range_list.txt", [f"{k}/{n} 6" for n, k in ferplus])
    _write(folder / "readme.txt", ["This folder has lists."])
    rafdb = _rafdb_test(root / "rafdb")
    folder = root / "lists" / "RAF_DB_dir"
    occluded = [f"{n}_aligned {k} {i % 4 + 1}" for i, (n, k) in enumerate(rafdb[::2])]
    _write(folder / "rafdb_occlusion_list.txt", [*occluded, occluded[1]])
    _write(folder / "val_raf_db_list.txt", [f"{k - 1}/{n}_aligned.jpg" for n, k in rafdb[::3]])
    _write(folder / "val_raf_db_label.txt", [str(k - 1) for _, k in rafdb[::3]])
    affectnet = _affectnet_valid(root / "affectnet")
    folder = root / "lists" / "AffectNet_dir"
    _write(folder / "occlusion_affectnet_list.txt", [f"val/{k}/{n}/" for n, k in affectnet[::2]])
    turned = [f"{k}/{n}.jpg" for n, k in affectnet[::3]]
    _write(folder / "pose_30_affectnet_list.txt", [*turned, *turned[:2]])


def _ferplus_test(root: Path) -> list[tuple[str, int]]:
    rows = [line.rsplit(",", 10) for line in (root / "FER2013Test" / "label.csv").read_text().splitlines()]
    decided = rows[: -len(UNDECIDED)]
    return [(row[0].split(".")[0], int(np.argmax([int(vote) for vote in row[1:9]]))) for row in decided]


def _rafdb_test(root: Path) -> list[tuple[str, int]]:
    lines = (root / "basic" / "EmoLabel" / "list_patition_label.txt").read_text().splitlines()
    return [(line.split(".")[0], int(line.split()[1])) for line in lines if line.startswith("test")]


def _affectnet_valid(root: Path) -> list[tuple[str, int]]:
    rows = [line.split(",") for line in (root / "validation.csv").read_text().splitlines()[1:]]
    return [(Path(row[0]).stem, int(row[6])) for row in rows if int(row[6]) < 8]


def main() -> None:
    """Make all trees."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to make them in")
    parser.add_argument("--faces", type=int, default=4, help="faces a class and split (default 4)")
    arguments = parser.parse_args()
    makers = {
        "ferplus": make_ferplus,
        "ferplus-tables": make_ferplus_tables,
        "affectnet": make_affectnet,
        "affectnet-folders": make_affectnet_folders,
        "rafdb": make_rafdb,
        "sfew": make_sfew,
    }
    for name, make in makers.items():
        make(arguments.out / name, arguments.faces)
        print(arguments.out / name)
    make_lists(arguments.out)
    print(arguments.out / "lists")


if __name__ == "__main__":
    main()
