"""A made 3D head, drawn at known angles: a face of which the pose is known exactly.

The shape is the mean of MediaPipe's Face Mesh over frontal faces (scripts/label_pose), on a skull that is an ellipsoid;
the skin is a photo of a face that looks into the camera. Drawn without perspective, as the poses here are defined.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from regionfer.faces.pose import rotation
from regionfer.images import read_image

Doubles = NDArray[np.float64]

HERE = Path(__file__).parent
LEFT_CHEEK, RIGHT_CHEEK = 234, 454  # points of the mesh before the ears
CANVAS = 144  # pixels that are drawn, before the picture is made small
FACE_SHARE = 0.91  # of the picture's side that the face mesh takes: the median of FERPlus
BLUR = 0.6  # pixels of the small picture; FERPlus is about as soft
BACKGROUND, HAIR = 110, 40  # grey
SKULL = (1.04, 1.15, 1.2)  # half its width, height and depth, in halves of the face's width
LIGHT = np.array([-0.35, -0.5, -0.8])
AMBIENT = 0.75


@dataclass(frozen=True, eq=False)
class Head:
    """A surface with a picture on it.

    Attributes:
        points: (p, 3) x right, y down, z away from the viewer, eye distances.
        triangles: (t, 3) indices of points.
        places: (p, 2) x y of each point in the photo, pixels.
        shares: (p,) 0..1, how much of a point's grey is the photo's: little where that shows it at a flat angle.
        tones: (p,) the rest of its grey, 0..255.
        photo: (h, w) float32 grey, 0..255.
        framed: how many of the points, from the first, are the face mesh that frames the picture.
    """

    points: Doubles
    triangles: NDArray[np.int64]
    places: Doubles
    shares: Doubles
    tones: Doubles
    photo: NDArray[np.float32]
    framed: int


def load_heads() -> dict[str, Head]:
    """The made heads by the name of the photo that is their skin."""
    with np.load(HERE / "made_head.npz") as arrays:
        points = arrays["points"].astype(np.float64)
        skins = {name: arrays[name].astype(np.float64) for name in arrays.files if name != "points"}
    examples = HERE.parent / "examples"
    return {name: with_skull(points, places, read_image(examples / name)) for name, places in skins.items()}


def with_skull(
    points: Doubles,
    places: Doubles,
    photo: NDArray[np.uint8],
    *,
    size: tuple[float, float, float] = SKULL,
    hair: float | None = HAIR,
) -> Head:
    """A face mesh (p, 3), with its places in a photo (p, 2), on a skull.

    Args:
        points: x right, y down, z away from the viewer, eye distances.
        places: x y of each point in the photo, pixels.
        photo: (h, w, 3) uint8 RGB.
        size: of the skull, as ``SKULL``.
        hair: its grey, 0..255; None for that of the skin.
    """
    face = triangulate(points)
    skull, skull_triangles = ellipsoid(points, size)
    fit = np.linalg.lstsq(np.column_stack([points[:, :2], np.ones(len(points))]), places, rcond=None)[0]
    around = np.column_stack([skull[:, :2], np.ones(len(skull))]) @ fit
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32)
    grey = cv2.GaussianBlur(grey, (0, 0), float(np.linalg.norm(fit[0])) / 48)
    facing = (
        -normals_of(points, face)[:, 2],
        -normals_of(skull, skull_triangles)[:, 2] * (skull[:, 2] < points[:, 2].max()),
    )
    skin = float(np.median(sample(grey, places)))
    return Head(
        np.concatenate([points, skull]),
        np.concatenate([face, skull_triangles + len(points)]),
        np.concatenate([places, around]),
        np.concatenate([((facing[0] - 0.3) / 0.3).clip(0, 1), ((facing[1] - 0.5) / 0.3).clip(0, 1)]),
        np.concatenate([np.full(len(points), skin), np.full(len(skull), skin if hair is None else hair)]),
        grey,
        len(points),
    )


def sample(photo: NDArray[np.float32], places: Doubles) -> NDArray[np.float32]:
    """Values of a photo (h, w) at x y pixels (..., 2)."""
    places = places.astype(np.float32).reshape(-1, 1, 2) - np.float32(0.5)
    return cv2.remap(photo, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def triangulate(points: Doubles) -> NDArray[np.int64]:
    """Triangles between the points of a face, (t, 3): Delaunay's, with the face unrolled around the head's axis."""
    axis = points[[LEFT_CHEEK, RIGHT_CHEEK]].mean(axis=0)
    angles = np.arctan2(points[:, 0] - axis[0], axis[2] - points[:, 2])
    return Delaunay(np.column_stack([angles, points[:, 1]])).simplices.astype(np.int64)


def ellipsoid(
    points: Doubles, size: tuple[float, float, float], rows: int = 12, columns: int = 24
) -> tuple[Doubles, NDArray[np.int64]]:
    """Points and triangles of the skull behind a face mesh.

    It reaches from cheek to cheek and lies behind the face. A deeper one reaches further back, a higher one further up.

    Args:
        points: of the mesh, (p, 3), as `Head.points`.
        size: half its width, height and depth, in halves of the face's width, as ``SKULL``.
        rows: of points, from the top down.
        columns: of points, around.
    """
    left, right = points[LEFT_CHEEK], points[RIGHT_CHEEK]
    width = (right[0] - left[0]) / 2
    bottom, front = points[:, 1].min() + 1.85 * width, left[2] - 1.08 * width
    radii = width * np.array(size)
    centre = np.array([(left[0] + right[0]) / 2, bottom - radii[1], front + radii[2]])
    down = np.linspace(0, np.pi, rows)
    around = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    ring = np.stack([np.sin(around), 0 * around, -np.cos(around)], axis=1)
    unit = np.sin(down)[:, None, None] * ring + np.cos(down)[:, None, None] * [0, -1, 0]
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    a, b = i * columns + j, i * columns + (j + 1) % columns
    c, d = a + columns, b + columns
    triangles = np.concatenate([np.stack([a, b, c], axis=-1), np.stack([b, d, c], axis=-1)]).reshape(-1, 3)
    return centre + radii * unit.reshape(-1, 3), triangles.astype(np.int64)


def draw(
    head: Head,
    yaw: float,
    pitch: float,
    roll: float = 0.0,
    *,
    side: int = 48,
    light: Doubles = LIGHT,
    background: float = BACKGROUND,
    blur: float = BLUR,
) -> NDArray[np.uint8]:
    """The head at an angle, framed like a FERPlus face: (side, side, 3) uint8 grey.

    Args:
        head: what is drawn.
        yaw: degrees, signs as in ``Pose``; so are pitch and roll.
        pitch: up or down.
        roll: in the plane of the picture.
        side: of the picture, pixels.
        light: (3,) where it shines to.
        background: grey, 0..255.
        blur: standard deviation, pixels of the picture.
    """
    turned = head.points @ rotation(np.radians([[yaw, pitch, roll]]))[0].T
    placed, scale = frame(turned, head.framed)
    values = np.column_stack([head.places, head.shares, head.tones, lit(turned, head.triangles, light)])
    drawn, covered = rasterise(np.column_stack([placed, scale * turned[:, 2]]), head.triangles, values, CANVAS)
    places, share, tone, light = drawn[..., :2], *np.moveaxis(drawn[..., 2:], -1, 0)
    skin = sample(head.photo, places.astype(np.float64)).reshape(CANVAS, CANVAS)
    grey = np.where(covered, (share * skin + (1 - share) * tone) * light, np.float32(background))
    soft = cv2.GaussianBlur(grey, (0, 0), blur * CANVAS / side)
    small = cv2.resize(soft, (side, side), interpolation=cv2.INTER_AREA)
    return np.repeat(small.round().clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def frame(turned: Doubles, framed: int) -> tuple[Doubles, float]:
    """Where points (p, 3) lie in the canvas, (p, 2) pixels, if the first of them fill it as a FERPlus face does."""
    low, high = turned[:framed, :2].min(axis=0), turned[:framed, :2].max(axis=0)
    scale = FACE_SHARE * CANVAS / float((high - low).max())
    return (turned[:, :2] - (low + high) / 2) * scale + CANVAS / 2, scale


def lit(points: Doubles, triangles: NDArray[np.int64], light: Doubles) -> Doubles:
    """Brightness of each point, (p,), about 1, by Lambert's law."""
    cosine = (normals_of(points, triangles) @ (light / np.linalg.norm(light))).clip(0, 1)
    return AMBIENT + (1 - AMBIENT) * cosine / 0.8


def normals_of(points: Doubles, triangles: NDArray[np.int64]) -> Doubles:
    """Unit normals, even over the surface, (p, 3); towards the viewer, as what faces away is hidden."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    faces = np.cross(b - a, c - a)
    faces *= np.where(faces[:, 2:] > 0, -1.0, 1.0)
    normals = np.zeros_like(points)
    for k in range(3):
        np.add.at(normals, triangles[:, k], faces)
    return normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12)


def rasterise(
    points: Doubles, triangles: NDArray[np.int64], values: Doubles, side: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Draw triangles with a depth buffer.

    Args:
        points: (p, 3) x y in pixels (0 is the left or upper edge), z away from the viewer.
        triangles: (t, 3).
        values: (p, v) what to spread over them.
        side: of the square canvas, pixels.

    Returns:
        Values (side, side, v) of the surface nearest to the viewer at the middle of each pixel, and where there is one.
    """
    corners = points[triangles]
    low = np.floor(corners[..., :2].min(axis=1) - 0.5).astype(int).clip(0)
    high = (np.ceil(corners[..., :2].max(axis=1) - 0.5).astype(int) + 1).clip(0, side)
    width, height = (high - low).clip(0).T
    areas = _cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sizes = np.where(np.abs(areas) < 1e-9, 0, width * height)
    of = np.repeat(np.arange(len(triangles)), sizes)  # one entry for each pixel in the box around each triangle
    at = np.arange(len(of)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    x, y = low[of, 0] + at % width[of], low[of, 1] + at // width[of]
    p, middles = corners[of], np.column_stack([x, y]) + 0.5
    crosses = [_cross(p[:, j, :2] - middles, p[:, k, :2] - middles) for j, k in ((1, 2), (2, 0), (0, 1))]
    shares = np.stack(crosses, axis=-1) / areas[of, None]
    inside = np.flatnonzero((shares >= -1e-9).all(axis=-1))
    pixels, depths = (y * side + x)[inside], (shares[inside] * p[inside, :, 2]).sum(axis=-1)
    order = np.lexsort((depths, pixels))
    pixels, first = np.unique(pixels[order], return_index=True)
    nearest = inside[order[first]]
    drawn, covered = np.zeros((side * side, values.shape[1]), dtype=np.float32), np.zeros(side * side, dtype=np.bool_)
    drawn[pixels] = np.einsum("nk,nkv->nv", shares[nearest], values[triangles[of[nearest]]])
    covered[pixels] = True
    return drawn.reshape(side, side, -1), covered.reshape(side, side)


def _cross(a: Doubles, b: Doubles) -> Doubles:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
