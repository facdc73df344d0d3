"""From face crops to the table, with a network that sees what the test says."""

import base64
import csv
import json

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from regionfer.faces.pose import rotation


@pytest.fixture
def module(script):
    return script("label_pose")


@pytest.fixture
def windows(script):
    return script("windows")


@pytest.fixture
def head(module):
    return module.MeanHead.load(module.HEAD)


class PretendMesh:
    """Sees a head of some yaw and pitch in every window, and tells images from their mirror images by their left edge.

    Images are dark on the left. Flags are those of the windows' brightness: a bright image is a clear face.
    """

    def __init__(self, script, head, yaw=20.0, pitch=-10.0):
        self.script, self.head, self.angles = script, head, (yaw, pitch)
        self.runs = 0

    def __call__(self, images):
        self.runs += len(images)
        mirrored = images[:, :, :60].mean((1, 2, 3)) > images[:, :, -60:].mean((1, 2, 3))
        yaw, pitch = self.angles
        angles = np.radians([[-yaw if flip else yaw, pitch, 0.0] for flip in mirrored])
        points = 45 * np.einsum("nij,pj->npi", rotation(angles), self.head.points) + [96, 96, 0]
        flags = (images.mean((1, 2, 3)) > 0.3).astype(np.float32)
        return self.script("face_mesh").Meshes(points.astype(np.float32), flags)


def image(low=80, high=220, side=48):
    return np.tile(np.linspace(low, high, side), (side, 1)).astype(np.uint8)


@pytest.mark.parametrize("roll", [0.0, 0.6, -1.4])
def test_a_cut_window_shows_what_to_image_says(windows, roll):
    picture = np.zeros((60, 80), np.uint8)
    picture[20:24, 50:54] = 255  # centre at x 52, y 22
    window = windows.Window(45.0, 28.0, 40.0, roll)
    cut = windows.cut(picture, window).astype(float)
    y, x = (np.average(axis, weights=cut.clip(1e-9)) + 0.5 for axis in np.mgrid[:192, :192])
    matrix = windows.to_image(window)
    np.testing.assert_allclose(matrix[:, :2] @ [x, y] + matrix[:, 2], [52, 22], atol=0.1)


def test_a_window_around_a_face_is_upright_to_it(windows):
    corners = np.array([[-10.0, -15], [10, -15], [10, 15], [-10, 15]])
    turn = np.radians(30)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])  # clockwise, as y is down
    window = windows.around(corners @ matrix.T + [50, 40], turn)
    np.testing.assert_allclose(window, [50, 40, 45, turn], atol=1e-9)


def test_a_whole_image_is_its_window(windows):
    np.testing.assert_array_equal(windows.cut(image(side=192), windows.whole(image(side=192), 1.0)), image(side=192))


def test_labels_have_the_mesh_s_pose(script, module, head):
    seen = script("meshes").see_faces(PretendMesh(script, head), head, [image(), image()])
    labels = module.label(dict(module.stack(seen)), head)
    yaw = script("mesh_pose").true_yaw(np.array(20.0))
    np.testing.assert_allclose(labels.pose, [[yaw, -10, 0]] * 2, atol=0.1)
    np.testing.assert_allclose(labels.flags, 1)
    assert labels.disagreement.max() < 0.2


def test_a_turned_window_turns_the_pose(script, module, head):
    """Roll is that of the mesh in its window and of the window in the image, clockwise both."""
    seen = script("meshes").see_faces(PretendMesh(script, head, yaw=0), head, [image()])
    tilted = [face._replace(window=face.window._replace(roll=np.radians(35))) for face in seen]
    labels = module.label(dict(module.stack(tilted)), head)
    np.testing.assert_allclose(labels.pose, [[0, -10, 35]], atol=0.1)


def test_unclear_faces_are_tried_in_more_windows(script, head):
    meshes = script("meshes")
    clear, unclear = PretendMesh(script, head), PretendMesh(script, head)
    meshes.see_faces(clear, head, [image()])
    (seen,) = meshes.see_faces(unclear, head, [image(0, 20)])
    assert clear.runs == len(meshes.FIRST) + 2
    assert unclear.runs == len(meshes.FIRST) + len(meshes.MORE) + 2 * meshes.FINALISTS
    assert seen.flags.max() == 0  # and still there is an answer


def test_confidence(module):
    poses = np.array([[0, 0, 0], [0, 0, 0], [0, 0, 0], [60, 0, 0], [-60, 0, 0]], dtype=float)
    labels = module.Labels(poses, np.array([1, 1, 0.1, 0.1, 0.1]), np.array([0, 8, 0, 0, 8.0]))
    np.testing.assert_allclose(module.confidence(labels), [1, 0.5, 0.1, 1, 0.5])


@pytest.fixture
def folder(tmp_path):
    crops = tmp_path / "crops"
    crops.mkdir()
    for i in range(5):
        cv2.imwrite(str(crops / f"{i}.png"), image())
    (crops / "label.csv").write_text("not an image")
    return crops


def run(monkeypatch, module, mesh, *arguments):
    monkeypatch.setattr(module, "FaceMesh", lambda path: mesh)
    monkeypatch.setattr(module, "PART", 2)
    monkeypatch.setattr("sys.argv", ["label_pose.py", "facemesh.json", *map(str, arguments)])
    module.main()


def rows_of(table):
    return list(csv.DictReader(table.read_text().splitlines()))


def test_the_table_and_a_run_that_goes_on(monkeypatch, script, module, head, folder, tmp_path):
    table = tmp_path / "pose.csv"
    first, second, third = (PretendMesh(script, head) for _ in range(3))
    run(monkeypatch, module, first, table, f"train={folder}")
    rows = rows_of(table)
    assert tuple(rows[0]) == module.COLUMNS
    assert [row["name"] for row in rows] == [f"{i}.png" for i in range(5)]
    assert {row["split"] for row in rows} == {"train"}
    assert float(rows[0]["pitch"]) == pytest.approx(-10, abs=0.1)

    (tmp_path / "pose.csv.parts" / "train-000002.npz").unlink()  # as if the run had been stopped there
    run(monkeypatch, module, second, table, f"train={folder}")
    assert rows_of(table) == rows
    assert second.runs == 2 * first.runs // 5

    (folder / "0.png").rename(folder / "00.png")  # other images: their part is made anew
    run(monkeypatch, module, third, table, f"train={folder}")
    assert third.runs == 2 * first.runs // 5
    assert rows_of(table)[0]["name"] == "00.png"


def test_a_folder_without_images(monkeypatch, script, module, head, tmp_path):
    with pytest.raises(SystemExit, match="expected PNG or JPEG face crops, found none"):
        run(monkeypatch, module, PretendMesh(script, head), tmp_path / "pose.csv", f"train={tmp_path}")


def test_a_file_that_is_no_image(monkeypatch, script, module, head, folder, tmp_path):
    (folder / "3.png").write_text("text")
    with pytest.raises(SystemExit, match=r"3\.png: expected an image"):
        run(monkeypatch, module, PretendMesh(script, head), tmp_path / "pose.csv", f"train={folder}")


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def node(name, operation, *inputs, strides=None, padding="SAME", **more):
    attributes = dict(more)
    if strides:
        attributes |= {"strides": {"list": {"i": ["1", strides, strides, "1"]}}, "padding": {"s": encoded(padding)}}
    return {"name": name, "op": operation, "input": list(inputs), "attr": attributes}


def write_graph(path, nodes, weights):
    entries = [{"name": k, "shape": list(v.shape), "dtype": str(v.dtype)} for k, v in weights.items()]
    manifest = [{"paths": ["mesh.bin"], "weights": entries}]
    path.write_text(json.dumps({"modelTopology": {"node": nodes}, "weightsManifest": manifest}))
    (path.parent / "mesh.bin").write_bytes(b"".join(v.tobytes() for v in weights.values()))


def test_the_graph_is_translated(script, tmp_path):
    """Every operation that Face Mesh has, in a small graph, against PyTorch."""
    rng = np.random.default_rng(3)
    shapes = {"k1": (3, 3, 3, 2), "b1": (2,), "s1": (1, 1, 2), "dw": (17, 17, 2, 1), "k2": (1, 1, 2, 4), "b2": (4,)}
    shapes |= {"s2": (1, 1, 4), "k3": (6, 6, 4, 1404), "b3": (1404,), "k4": (6, 6, 4, 1), "b4": (1,)}
    weights = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    weights |= {"pads": np.array([[0, 0], [0, 0], [0, 0], [0, 2]], np.int32), "shape": np.array([-1, 1404], np.int32)}
    bias, prelu = encoded("BiasAdd"), encoded("Prelu")
    nodes = [
        node("input_1", "Placeholder"),
        node("c1", "_FusedConv2D", "input_1", "k1", "b1", "s1", strides="2", fused_ops={"list": {"s": [bias, prelu]}}),
        node("d1", "DepthwiseConv2dNative", "c1", "dw", strides="16"),
        node("c2", "_FusedConv2D", "d1", "k2", "b2", strides="1", fused_ops={"list": {"s": [bias]}}),
        node("m1", "MaxPool", "c1", strides="16", padding="VALID", ksize={"list": {"i": ["1", "16", "16", "1"]}}),
        node("p1", "Pad", "m1", "pads"),
        node("a1", "AddV2", "p1", "c2"),
        node("r1", "Prelu", "a1", "s2"),
        node("c3", "_FusedConv2D", "r1", "k3", "b3", strides="6", padding="VALID", fused_ops={"list": {"s": [bias]}}),
        node("c4", "_FusedConv2D", "r1", "k4", "b4", strides="6", padding="VALID", fused_ops={"list": {"s": [bias]}}),
        node("g1", "Sigmoid", "c4"),
        node("f1", "Reshape", "c3", "shape"),
        node("f2", "Reshape", "g1", "shape"),
        node("Identity_2", "Identity", "f1"),
        node("Identity_1", "Identity", "f2"),
    ]
    write_graph(tmp_path / "mesh.json", nodes, weights)
    images = rng.uniform(0, 1, (2, 192, 192, 3)).astype(np.float32)
    found = script("face_mesh").FaceMesh(tmp_path / "mesh.json")(images)

    w = {name: torch.from_numpy(value) for name, value in weights.items()}
    full = {k: w[k].permute(3, 2, 0, 1) for k in ("k1", "k2", "k3", "k4")}
    x = functional.pad(torch.from_numpy(images).permute(0, 3, 1, 2), (0, 1, 0, 1))  # SAME at stride 2: right and below
    x = functional.prelu(functional.conv2d(x, full["k1"], w["b1"], stride=2), w["s1"].flatten())
    y = functional.conv2d(functional.pad(x, (0, 1, 0, 1)), w["dw"].permute(2, 3, 0, 1), stride=16, groups=2)
    y = functional.conv2d(y, full["k2"], w["b2"]) + functional.pad(functional.max_pool2d(x, 16), (0, 0, 0, 0, 0, 2))
    y = functional.prelu(y, w["s2"].flatten())
    points = functional.conv2d(y, full["k3"], w["b3"]).flatten(1)
    flags = functional.conv2d(y, full["k4"], w["b4"]).sigmoid().flatten()
    np.testing.assert_allclose(found.points.reshape(2, -1), points.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.flags, flags.numpy(), rtol=1e-4)


def test_another_graph_is_refused(script, tmp_path):
    write_graph(tmp_path / "mesh.json", [node("x", "Softmax", "input_1")], {"w": np.zeros(1, np.float32)})
    with pytest.raises(ValueError, match="expected an operation of Face Mesh, found Softmax"):
        script("face_mesh").convert(tmp_path / "mesh.json")
