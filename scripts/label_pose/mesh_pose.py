"""Head pose from a face mesh: the turn that brings a mean frontal mesh onto it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Doubles = NDArray[np.float64]

LEFT_EYE, RIGHT_EYE = (33, 133), (263, 362)  # corners, of the eye at the image's left and at its right
ROUNDS = 20
LOPSIDED = 0.2  # distance of counterparts in the mirror, in spreads of the mesh, from which it is no face

MESH_YAW = (0.0, 17.5, 26.0, 34.0, 40.5, 46.0, 52.0, 60.0, 75.0)
TRUE_YAW = (0.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0)
"""Face Mesh turns its mesh less far than the head is turned, in large pictures as in small ones.

To 60 degrees: what it answers, in the mean of both skins, to the made heads of benchmarks/made_head.py. Beyond, it
hardly answers more than 50 to those, and up to 65 to the profiles of FERPlus; there the curve is drawn so that these
become profiles.
"""


@dataclass(frozen=True, eq=False)
class MeanHead:
    """A frontal mesh, and how far each of its points may be trusted.

    Attributes:
        points: (468, 3) x right, y down, z away from the viewer, eye distances, origin at the weighted mean.
        weights: (468,) positive, sum to 1; small where faces differ or move.
        mirrored: (468,) index of each point's counterpart on the other side.
    """

    points: Doubles
    weights: Doubles
    mirrored: NDArray[np.int64]

    def save(self, path: str | Path) -> None:
        """Write as .npz."""
        np.savez_compressed(path, points=self.points, weights=self.weights, mirrored=self.mirrored)

    @classmethod
    def load(cls, path: str | Path) -> MeanHead:
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            return cls(arrays["points"], arrays["weights"], arrays["mirrored"])


def mesh_pose(meshes: NDArray[np.floating], head: MeanHead) -> Doubles:
    """Yaw, pitch and roll of n meshes (n, 468, 3), in degrees, (n, 3); signs as in ``regionfer.results.Pose``.

    These are the mesh's own: see `true_yaw`.
    """
    return np.degrees(angles_of(fit_rotation(meshes, head.points, head.weights)[0]))


def true_yaw(mesh_yaw: Doubles) -> Doubles:
    """The head's yaw, degrees, from that of its mesh."""
    return np.sign(mesh_yaw) * np.interp(np.abs(mesh_yaw), MESH_YAW, TRUE_YAW)


def fit_rotation(meshes: NDArray[np.floating], points: Doubles, weights: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Weighted least squares fit ``mesh = scale * points @ rotation.T + shift`` (Umeyama, 1991).

    Args:
        meshes: (n, p, 3).
        points: (p, 3).
        weights: (p,), sum to 1.

    Returns:
        Rotations (n, 3, 3), never reflections; scales (n,); shifts (n, 3).
    """
    meshes = np.asarray(meshes, np.float64)
    centre = weights @ points
    centres = weights @ meshes
    flat = (points - centre) * weights[:, None]
    u, sizes, vt = np.linalg.svd((meshes - centres[:, None]).swapaxes(1, 2) @ flat)
    signs = np.ones_like(sizes)
    signs[:, 2] = np.linalg.det(u @ vt)
    rotations = (u * signs[:, None]) @ vt
    scales = (sizes * signs).sum(1) / (flat * (points - centre)).sum()
    return rotations, scales, centres - scales[:, None] * (rotations @ centre)


def angles_of(rotations: Doubles) -> Doubles:
    """Yaw, pitch and roll in radians, (n, 3), of rotations (n, 3, 3): undoes ``regionfer.faces.pose.rotation``."""
    yaw = np.arcsin(rotations[:, 2, 0].clip(-1, 1))
    pitch = np.arctan2(-rotations[:, 2, 1], rotations[:, 2, 2])
    roll = np.arctan2(rotations[:, 1, 0], rotations[:, 0, 0])
    return np.stack([yaw, pitch, roll], axis=1)


def mean_rotation(rotations: Doubles) -> Doubles:
    """The rotation nearest to all of (k, n, 3, 3) along the first axis, (n, 3, 3)."""
    u, _, vt = np.linalg.svd(rotations.mean(axis=0))
    signs = np.ones(u.shape[:-1])
    signs[:, 2] = np.linalg.det(u @ vt)
    return (u * signs[:, None]) @ vt


def mirror_rotation(rotations: Doubles) -> Doubles:
    """The turn of a head seen in a mirror, from that of the head, and back: yaw and roll change sign."""
    return rotations * np.array([[1, -1, -1], [-1, 1, 1], [-1, 1, 1]])


def turns_between(first: Doubles, second: Doubles) -> Doubles:
    """Angles in degrees, (n,), by which rotations (n, 3, 3) differ."""
    cosine = (np.einsum("nij,nij->n", first, second) - 1) / 2
    return np.degrees(np.arccos(cosine.clip(-1, 1)))


def mean_head(meshes: NDArray[np.floating]) -> MeanHead:
    """The mean of n near-frontal meshes (n, 468, 3), made symmetric (generalised Procrustes analysis).

    A point's weight is one over the variance that the fit leaves it, so that jaws and lips, which move, count little.
    The frontal direction is that of symmetry for yaw and roll; pitch 0 is the mean pitch of these meshes.
    """
    meshes = np.asarray(meshes, np.float64)
    count = meshes.shape[1]
    weights = np.full(count, 1 / count)
    points = _level(meshes.mean(axis=0))
    mirrored = mirror_pairs(points)
    for _ in range(ROUNDS):
        points = _symmetric(points, mirrored)
        points = (points - weights @ points) / eye_distance(points)
        rotations, scales, shifts = fit_rotation(meshes, points, weights)
        placed = ((meshes - shifts[:, None]) / scales[:, None, None]) @ rotations
        points = np.median(placed, axis=0)
        spread = np.square(placed - points).sum(axis=2).mean(axis=0)
        spread = (spread + spread[mirrored]) / 2
        weights = 1 / spread
        weights /= weights.sum()
    points = _symmetric(points, mirrored)
    points -= weights @ points
    points /= eye_distance(points)
    return MeanHead(points, weights, mirrored)


def eye_distance(points: Doubles) -> float:
    """Distance between the eyes' middles."""
    return float(np.linalg.norm(points[list(RIGHT_EYE)].mean(axis=0) - points[list(LEFT_EYE)].mean(axis=0)))


def mirror_pairs(points: Doubles) -> NDArray[np.int64]:
    """Index of each point's counterpart, (p,), in a roughly symmetric mesh (p, 3) that faces the viewer."""
    flipped = points * [-1, 1, 1]
    squares = np.square(points[:, None] - flipped).sum(axis=2)
    pairs = linear_sum_assignment(squares + squares.T)[1]
    apart = squares[np.arange(len(points)), pairs].mean()
    if (pairs[pairs] != np.arange(len(points))).any() or apart > LOPSIDED**2 * points.var(axis=0).sum():
        raise ValueError("the mesh is too lopsided to find which points mirror each other; give more frontal faces")
    return pairs


def _level(points: Doubles) -> Doubles:
    """Centred between the eyes, with the eyes level."""
    left, right = points[list(LEFT_EYE)].mean(axis=0), points[list(RIGHT_EYE)].mean(axis=0)
    across = (right - left) / np.linalg.norm(right - left)
    down = np.cross([0.0, 0.0, 1.0], across)
    down /= np.linalg.norm(down)
    axes = np.stack([across, down, np.cross(across, down)])
    return (points - (left + right) / 2) @ axes.T


def _symmetric(points: Doubles, mirrored: NDArray[np.int64]) -> Doubles:
    """The mean of a mesh and its mirror image, laid upon each other as well as they fit."""
    flipped = (points * [-1, 1, 1])[mirrored]
    return (points + flipped) / 2
