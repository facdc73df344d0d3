"""Head pose from five landmarks, by fitting a small rigid face under weak perspective.

Weak perspective (scaled orthography) means: turn the 3D face, drop its depth, scale and shift it. A photo needs no
focal length for it, and for a head it is exact enough from about an arm's length.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Doubles = NDArray[np.float64]

FACE_MODEL: Doubles = np.array(
    [[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.570, -0.40], [-0.422, 1.063, 0.08], [0.422, 1.063, 0.08]]
)
"""The five landmarks of a mean face seen from the front, (5, 3).

x to the image's right, y down, z away from the viewer, origin between the eyes. The unit is the distance
between the eyes.

Measured with this package's MTCNN on 2,010 faces of FERPlus Train (score above 0.95, images drawn at random): x and
y are the mean over the 1,300 whose nose lies within 0.12 of the middle between the eyes, made symmetric; the two depths
are those that leave the smallest residual when the model is fitted to faces turned every way (600 of them; 4 % of the
eye distance a point). Pitch 0 is therefore the mean pitch of such photos.
"""

FACE_SPREAD = 0.04  # how far a face's points lie from the fitted model, in eye distances: measured as above
FACE_SIZE = float(np.linalg.norm(FACE_MODEL[:, :2] - FACE_MODEL[:, :2].mean(axis=0)))
PITCH_SPREAD = np.radians(15)  # spread of pitch expected before looking; see _residual

ITERATIONS = 30
STARTS = np.radians([[-40.0, 0.0], [0.0, 0.0], [40.0, 0.0]])  # yaw, pitch: the fit has local minima


class FaceFit(NamedTuple):
    """Pose, scale and place of n faces: ``landmarks = scale * (FACE_MODEL @ rotation.T)[:, :2] + shift``.

    All NaN for a face whose points do not determine them.
    """

    angles: Doubles  # (n, 3) yaw pitch roll, radians
    scale: Doubles  # (n,) pixels per eye distance of the frontal face
    shift: Doubles  # (n, 2) pixels, where the point between the eyes lies


def head_pose(landmarks: ArrayLike) -> NDArray[np.float32]:
    """Yaw, pitch and roll of n heads, (n, 3) float32, degrees.

    yaw > 0: the face is turned to the image's right; pitch > 0: it looks up; roll > 0: the head is tilted
    clockwise as seen in the image. Roll acts last, in the image plane: undoing it makes the eyes level.

    Args:
        landmarks: (n, 5, 2) x y pixels, in ``regionfer.regions.LANDMARKS`` order.

    Returns:
        NaN in all three columns where the points are not finite or coincide.

    Raises:
        ValueError: the landmarks have another shape.
    """
    return np.degrees(fit_face(landmarks).angles).astype(np.float32)


def fit_face(landmarks: ArrayLike) -> FaceFit:
    """Least-squares fit of ``FACE_MODEL`` to landmarks (n, 5, 2), see ``FaceFit``.

    Raises:
        ValueError: the landmarks have another shape.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.ndim != 3 or points.shape[1:] != (5, 2):
        raise ValueError(f"landmarks must have shape (n, 5, 2), got {points.shape}")
    with np.errstate(invalid="ignore", over="ignore"):
        centre = points.mean(axis=1)
        size = np.sqrt(np.square(points - centre[:, None]).sum(axis=(1, 2)))
        usable = np.isfinite(size) & (size > 1e-6)
    fit = FaceFit(*(np.full((len(points), *shape), np.nan) for shape in ((3,), (), (2,))))
    if usable.any():
        size, centre = size[usable], centre[usable]
        # In units of the face's own size, the damping below means the same for every face.
        angles, scale, shift = _best_fit((points[usable] - centre[:, None]) / size[:, None, None])
        fit.angles[usable] = angles
        fit.scale[usable] = scale * size
        fit.shift[usable] = shift * size[:, None] + centre
    return fit


def rotation(angles: Doubles) -> Doubles:
    """Rotation matrices (n, 3, 3) = Rz(roll) Ry(yaw) Rx(pitch) of angles (n, 3) yaw pitch roll in radians."""
    cos, sin = np.cos(angles).T, np.sin(angles).T
    zero, one = np.zeros(len(angles)), np.ones(len(angles))
    yaw = [[cos[0], zero, -sin[0]], [zero, one, zero], [sin[0], zero, cos[0]]]
    pitch = [[one, zero, zero], [zero, cos[1], sin[1]], [zero, -sin[1], cos[1]]]
    roll = [[cos[2], -sin[2], zero], [sin[2], cos[2], zero], [zero, zero, one]]
    rz, ry, rx = (np.moveaxis(np.array(r), -1, 0) for r in (roll, yaw, pitch))
    return np.asarray(rz @ ry @ rx)


def project(parameters: Doubles, model: Doubles = FACE_MODEL) -> Doubles:
    """Image points (n, 5, 2) of the model under parameters (n, 6): yaw, pitch, roll, log scale, shift x, shift y."""
    turned = model @ rotation(parameters[:, :3]).swapaxes(1, 2)
    return np.asarray(np.exp(parameters[:, 3, None, None]) * turned[..., :2] + parameters[:, None, 4:])


def _best_fit(points: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Angles, scale and shift of the start that ends with the smallest residual."""
    eyes = points[:, 1] - points[:, 0]
    down = points[:, 3:].mean(axis=1) - points[:, :2].mean(axis=1)
    # Two estimates of the roll, from the eye line and from the middle line, each weighted by its length.
    roll = np.arctan2(eyes[:, 1] - down[:, 0], eyes[:, 0] + down[:, 1])
    candidates = []
    for yaw, pitch in STARTS:
        start = np.zeros((len(points), 6))
        start[:, :3] = np.stack([np.full_like(roll, yaw), np.full_like(roll, pitch), roll], axis=1)
        start[:, 3] = -np.log(FACE_SIZE)
        start[:, 4:] = points[:, :2].mean(axis=1)
        candidates.append(_descend(points, start))
    best = np.argmin([error for _, error in candidates], axis=0)
    parameters = np.stack([p for p, _ in candidates])[best, np.arange(len(points))]
    angles = (parameters[:, :3] + np.pi) % (2 * np.pi) - np.pi
    return angles, np.exp(parameters[:, 3]), parameters[:, 4:]


def _descend(points: Doubles, parameters: Doubles) -> tuple[Doubles, Doubles]:
    """Levenberg-Marquardt on all faces at once; the parameters (n, 6) and their squared errors (n,)."""
    damping = np.full(len(points), 1e-2)
    residual = _residual(points, parameters)
    error = np.square(residual).sum(axis=1)
    for _ in range(ITERATIONS):
        slopes = _slopes(points, parameters)
        normal = slopes.swapaxes(1, 2) @ slopes + damping[:, None, None] * np.eye(6)
        step = np.linalg.solve(normal, slopes.swapaxes(1, 2) @ residual[..., None])[..., 0]
        tried = parameters - step
        new_residual = _residual(points, tried)
        new_error = np.square(new_residual).sum(axis=1)
        better = new_error < error
        parameters = np.where(better[:, None], tried, parameters)
        residual = np.where(better[:, None], new_residual, residual)
        error = np.where(better, new_error, error)
        damping = np.where(better, damping * 0.3, damping * 5).clip(1e-9, 1e6)
    return parameters, error


def _residual(points: Doubles, parameters: Doubles) -> Doubles:
    """What the fit makes small, (n, 11): distances of the points in x and y, and the pitch.

    Noses and mouths differ between people by as much as ten degrees of pitch move them: without a mild
    expectation of a level head the pitch would mostly measure the length of the nose.
    """
    distances = (project(parameters) - points).reshape(len(points), -1)
    pitch = parameters[:, 1:2] * (FACE_SPREAD / PITCH_SPREAD / FACE_SIZE)
    return np.concatenate([distances, pitch], axis=1)


def _slopes(points: Doubles, parameters: Doubles) -> Doubles:
    """Derivatives (n, 11, 6) of the residual, by central differences."""
    steps = np.eye(6) * 1e-5
    columns = [(_residual(points, parameters + h) - _residual(points, parameters - h)) / 2e-5 for h in steps]
    return np.stack(columns, axis=-1)
