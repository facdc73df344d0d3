"""Face meshes of small, loose face crops: several windows are tried, the best is framed anew and seen twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import windows
from face_mesh import FaceMesh, Meshes
from mesh_pose import MeanHead, angles_of, fit_rotation
from numpy.typing import NDArray
from windows import Window

BATCH = 8  # larger ones fall out of the processor's cache and are slower

FIRST = ((0.0, 0.0, 1.3, 0.0), (0.0, 0.0, 1.5, 0.0))
"""Windows that every face is tried with: shift in x and y as a share of the image, scale, roll in degrees."""

MORE = (
    *((0.0, 0.0, scale, 0.0) for scale in (1.15, 1.8)),
    *((0.0, 0.0, 1.4, roll) for roll in (-80.0, -40.0, 40.0, 80.0)),
    *((shift, 0.0, 1.4, 0.0) for shift in (-0.2, 0.2)),
    *((0.0, shift, 1.4, 0.0) for shift in (-0.2, 0.2)),
)
"""Windows for the faces that are not clear in the first ones: laid down, cut off, or at the crop's side."""

CLEAR = 0.9  # face flag
FINALISTS = 3  # of the unclear faces' windows, so many are framed anew


class Seen(NamedTuple):
    """One face, seen as it is and in a mirror."""

    points: NDArray[np.float32]  # (2, 468, 3) pixels of the 192-pixel window; the second of its mirror image
    flags: NDArray[np.float32]  # (2,) 0..1
    window: Window


def see_faces(mesh: FaceMesh, head: MeanHead, images: Sequence[NDArray[np.uint8]]) -> list[Seen]:
    """The best view of each image, (h, w) uint8 grey; there is always one, however low its flags."""
    views: list[list[tuple[float, Window, NDArray[np.float32]]]] = [[] for _ in images]
    _try(mesh, images, FIRST, views, range(len(images)))
    unclear = [i for i, tried in enumerate(views) if max(flag for flag, *_ in tried) < CLEAR]
    _try(mesh, images, MORE, views, unclear)
    chosen = []
    for i, tried in enumerate(views):
        tried.sort(key=lambda view: -view[0])
        for _, window, points in tried[: FINALISTS if i in set(unclear) else 1]:
            chosen.append((i, reframe(points, window, head)))
    best: list[Seen | None] = [None] * len(images)
    for (i, _), seen in zip(chosen, see_twice(mesh, [(images[i], window) for i, window in chosen]), strict=True):
        before = best[i]
        if before is None or seen.flags.min() > before.flags.min():
            best[i] = seen
    return [seen for seen in best if seen is not None]


def see_twice(mesh: FaceMesh, framed: Sequence[tuple[NDArray[np.uint8], Window]]) -> Iterator[Seen]:
    """Run the mesh on windows of images and on their mirror images."""
    cuts = [windows.cut(image, window) for image, window in framed]
    seen = run(mesh, [view for cut in cuts for view in (cut, cut[:, ::-1])])
    for k, (_, window) in enumerate(framed):
        yield Seen(seen.points[2 * k : 2 * k + 2], seen.flags[2 * k : 2 * k + 2], window)


def reframe(points: NDArray[np.float32], window: Window, head: MeanHead) -> Window:
    """The window around the face that was seen, (468, 3), in another window; turned so that it is upright there."""
    rotation = fit_rotation(points[None], head.points, head.weights)[0]
    matrix = windows.to_image(window)
    placed = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    return windows.around(placed, window.roll + float(angles_of(rotation)[0, 2]))


def run(mesh: FaceMesh, cuts: Sequence[NDArray[np.uint8]]) -> Meshes:
    """Run the mesh on grey windows (192, 192), batch by batch."""
    seen = []
    for start in range(0, len(cuts), BATCH):
        grey = np.stack(cuts[start : start + BATCH]).astype(np.float32) / 255
        seen.append(mesh(np.repeat(grey[..., None], 3, axis=3)))
    return Meshes(np.concatenate([part.points for part in seen]), np.concatenate([part.flags for part in seen]))


def _try(
    mesh: FaceMesh,
    images: Sequence[NDArray[np.uint8]],
    places: Sequence[tuple[float, float, float, float]],
    views: list[list[tuple[float, Window, NDArray[np.float32]]]],
    which: Sequence[int],
) -> None:
    """Add what is seen in windows at these places to the views of some images."""
    framed = [(i, _placed(images[i], place)) for i in which for place in places]
    if not framed:
        return
    seen = run(mesh, [windows.cut(images[i], window) for i, window in framed])
    for (i, window), points, flag in zip(framed, seen.points, seen.flags, strict=True):
        views[i].append((float(flag), window, points))


def _placed(image: NDArray[np.uint8], place: tuple[float, float, float, float]) -> Window:
    across, down, scale, roll = place
    side = max(image.shape[:2])
    whole = windows.whole(image, scale)
    return whole._replace(x=whole.x + across * side, y=whole.y + down * side, roll=float(np.radians(roll)))
