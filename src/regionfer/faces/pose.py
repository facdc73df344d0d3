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
PITCH_WEIGHT = FACE_SPREAD / float(PITCH_SPREAD) / FACE_SIZE

ITERATIONS = 30
STARTS = np.radians([-40.0, 0.0, 40.0])  # yaw: the fit has local minima


class FaceFit(NamedTuple):
    """Pose, scale and place of n faces: ``landmarks = scale * (FACE_MODEL @ rotation.T)[:, :2] + shift``.

    All NaN for a face whose points do not determine them.
    """

    angles: Doubles  # (n, 3) yaw pitch roll, radians
    scale: Doubles  # (n,) pixels per eye distance of the frontal face
    shift: Doubles  # (n, 2) pixels, where the point between the eyes lies

    @property
    def pose(self) -> NDArray[np.float32]:
        """Yaw, pitch and roll, (n, 3), degrees."""
        return np.degrees(self.angles).astype(np.float32)


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
    return fit_face(landmarks).pose


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
        with np.errstate(over="ignore", invalid="ignore"):  # of steps that go too far, and are not taken
            angles, scale, shift = _best_fit((points[usable] - centre[:, None]) / size[:, None, None])
        fit.angles[usable] = angles
        fit.scale[usable] = scale * size
        fit.shift[usable] = shift * size[:, None] + centre
    return fit


def rotation(angles: Doubles) -> Doubles:
    """Rotation matrices (n, 3, 3) = Rz(roll) Ry(yaw) Rx(pitch) of angles (n, 3) yaw pitch roll in radians.

    >>> nose = np.array([0.0, 0.0, -1.0])
    >>> (rotation(np.radians([[90.0, 0.0, 0.0]]))[0] @ nose).round().tolist()  # to the image's right
    [1.0, 0.0, -0.0]
    """
    (cy, cp, cr), (sy, sp, sr) = np.cos(angles).T, np.sin(angles).T
    across, down = _turned_axes(cy, sy, cp, sp)
    depth = np.stack([sy, -cy * sp, cy * cp], axis=1)
    cr, sr = cr[:, None], sr[:, None]
    return np.stack([cr * across - sr * down, sr * across + cr * down, depth], axis=1)


def _turned_axes(cy: Doubles, sy: Doubles, cp: Doubles, sp: Doubles) -> tuple[Doubles, Doubles]:
    """The first two rows, (n, 3) each, of Ry(yaw) Rx(pitch)."""
    return np.stack([cy, sy * sp, -sy * cp], axis=1), np.stack([0 * cp, cp, sp], axis=1)


def _best_fit(points: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Angles, scale and shift of the start that ends with the smallest residual."""
    eyes = points[:, 1] - points[:, 0]
    middle = points[:, 3:].mean(axis=1) - points[:, :2].mean(axis=1)
    # Two estimates of the roll, from the eye line and from the middle line, each weighted by its length.
    roll = np.arctan2(eyes[:, 1] - middle[:, 0], eyes[:, 0] + middle[:, 1])
    start = np.zeros((len(STARTS), len(points), 6))
    start[..., 0] = STARTS[:, None]
    start[..., 2] = roll
    start[..., 3] = -np.log(FACE_SIZE)
    start[..., 4:] = points[:, :2].mean(axis=1)
    ends, errors = _descend(np.tile(points, (len(STARTS), 1, 1)), start.reshape(-1, 6))
    best = errors.reshape(len(STARTS), -1).argmin(axis=0)
    parameters = ends.reshape(start.shape)[best, np.arange(len(points))]
    angles = (parameters[:, :3] + np.pi) % (2 * np.pi) - np.pi
    return angles, np.exp(parameters[:, 3]), parameters[:, 4:]


def _descend(points: Doubles, parameters: Doubles) -> tuple[Doubles, Doubles]:
    """Levenberg-Marquardt on all faces at once; the parameters (n, 6) and their squared errors (n,)."""
    damping = np.full(len(points), 1e-2)
    residual, slopes = _linearize(points, parameters)
    error = np.square(residual).sum(axis=1)
    for _ in range(ITERATIONS):
        normal = slopes.swapaxes(1, 2) @ slopes + damping[:, None, None] * np.eye(6)
        step = np.linalg.solve(normal, slopes.swapaxes(1, 2) @ residual[..., None])[..., 0]
        tried = parameters - step
        new_residual, new_slopes = _linearize(points, tried)
        new_error = np.square(new_residual).sum(axis=1)
        better = new_error < error
        parameters = np.where(better[:, None], tried, parameters)
        residual = np.where(better[:, None], new_residual, residual)
        slopes = np.where(better[:, None, None], new_slopes, slopes)
        error = np.where(better, new_error, error)
        damping = np.where(better, damping * 0.3, damping * 5).clip(1e-9, 1e6)
        if np.abs(step).max() < 1e-5:
            break
    return parameters, error


def _linearize(points: Doubles, parameters: Doubles) -> tuple[Doubles, Doubles]:
    """What the fit makes small, (n, 11), and its derivatives by the parameters, (n, 11, 6).

    That is the distances of the points, five in x and five in y, and the pitch. Noses and mouths differ between people
    by as much as ten degrees of pitch move them: without a mild expectation of a level head the pitch would mostly
    measure the length of the nose.
    """
    (cy, cp, cr), (sy, sp, sr) = np.cos(parameters[:, :3]).T, np.sin(parameters[:, :3]).T
    axes = np.zeros((3, len(parameters), 2, 3))  # across and down, as they are, by yaw and by pitch
    axes[0, :, 0], axes[0, :, 1] = _turned_axes(cy, sy, cp, sp)
    axes[1, :, 0] = np.stack([-sy, cy * sp, -cy * cp], axis=1)
    axes[2, :, 0, 1:] = np.stack([sy * cp, sy * sp], axis=1)
    axes[2, :, 1, 1:] = np.stack([-sp, cp], axis=1)
    tilt = (np.exp(parameters[:, 3]) * np.array([[cr, -sr], [sr, cr]])).transpose(2, 0, 1)
    placed, by_yaw, by_pitch = tilt @ axes @ FACE_MODEL.T  # (n, 2, 5) each
    by_roll = np.stack([-placed[:, 1], placed[:, 0]], axis=1)

    residual = np.empty((len(points), 11))
    residual[:, :10] = (placed + parameters[:, 4:, None] - points.swapaxes(1, 2)).reshape(-1, 10)
    residual[:, 10] = PITCH_WEIGHT * parameters[:, 1]
    slopes = np.zeros((len(points), 11, 6))
    for column, by in enumerate((by_yaw, by_pitch, by_roll, placed)):
        slopes[:, :10, column] = by.reshape(-1, 10)
    slopes[:, :5, 4] = slopes[:, 5:10, 5] = 1  # by the shift
    slopes[:, 10, 1] = PITCH_WEIGHT
    return residual, slopes
