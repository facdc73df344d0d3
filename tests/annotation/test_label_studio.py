"""Tasks for Label Studio, and what is read of its export. tests/annotation/test_label_studio_server.py asks itself."""

import base64
import json
from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from regionfer.annotation.agreement import verdicts
from regionfer.annotation.inputs import ImageFinder, digest
from regionfer.annotation.label_studio import cut_picture, estimates, export_tasks, labelling_config
from regionfer.annotation.label_studio_export import read_export
from regionfer.annotation.order import put_in_order
from regionfer.annotation.same_faces import of_table
from regionfer.errors import DatasetError
from regionfer.labels import LABELS


def choices(config):
    groups = ElementTree.fromstring(config).iter("Choices")
    return {group.get("name"): [choice.get("value") for choice in group] for group in groups}


def test_configuration():
    config = labelling_config(LABELS)
    assert choices(config) == {
        "expression": list(LABELS),
        "occlusion": ["none", "mask", "glasses", "hand", "hair", "object", "out of frame", "other"],
        "place": ["upper", "lower", "left", "right"],
        "pose_bin": ["0-30", "30-45", ">45"],
        "unusable": ["unusable"],
    }
    several = {g.get("name") for g in ElementTree.fromstring(config).iter("Choices") if g.get("choice") == "multiple"}
    assert several == {"occlusion", "place"}


class TestEstimates:
    def test_unknown(self, make_row):
        assert estimates(make_row()) == {"expression": ["fear"]}

    @pytest.mark.parametrize("probability", [0.1, 0.9])
    def test_covers_are_the_annotators(self, make_row, covered, probability):
        row = make_row(pose_bin=">45", **covered(probability, lower=0.5, left=0.5))
        assert estimates(row) == {"expression": ["fear"], "pose_bin": [">45"]}

    @pytest.mark.parametrize(("reason", "known"), [("covered", False), ("upside down", False), ("improbable", True)])
    def test_no_expression_of_what_cannot_be_judged(self, make_row, reason, known):
        row = make_row(pose_bin=">45", uncertain_reason=reason)
        assert estimates(row) == ({"expression": ["fear"]} if known else {}) | {"pose_bin": [">45"]}


class TestOrder:
    @pytest.fixture
    def rows(self, make_row):
        known = {"a": (0.9, None), "b": (0.3, 0.9), "c": (0.6, 0.55), "d": (0.3, 0.2)}
        return [make_row(name, probability=p, occluded_probability=q) for name, (p, q) in known.items()]

    @pytest.mark.parametrize(("order", "names"), [("unsure", "bdca"), ("occlusion", "cdba"), ("table", "abcd")])
    def test_orders(self, rows, order, names):
        assert "".join(row.image for row in put_in_order(rows, order)) == names

    def test_what_cannot_be_judged_comes_first(self, rows, make_row):
        rows.append(make_row("e", probability=1.0, uncertain_reason="too small"))
        rows.append(make_row("f", probability=0.5, uncertain_reason="improbable"))
        assert "".join(row.image for row in put_in_order(rows, "unsure")) == "ebdfca"

    def test_random_is_that_of_the_seed(self, rows):
        orders = ["".join(row.image for row in put_in_order(rows, "random", seed=seed)) for seed in (1, 1, 2, 3, 4)]
        assert orders[0] == orders[1]
        assert len(set(orders)) > 1
        assert {"".join(sorted(order)) for order in orders} == {"abcd"}

    def test_nothing_known_of_covers(self, make_row):
        with pytest.raises(DatasetError, match="annotate with a model that estimates it, or choose another order"):
            put_in_order([make_row()], "occlusion")


class TestPicture:
    def test_some_of_what_is_around(self, make_row):
        image = np.zeros((200, 300, 3), np.uint8)
        image[80:120, 100:140] = 255
        row = make_row(x1=100.0, y1=80.0, x2=140.0, y2=120.0, face_size=40.0)
        picture = cut_picture(image, row)
        assert picture.shape == (60, 60, 3)
        assert picture[10:50, 10:50].min() == 255
        assert picture[:10].max() == 0

    def test_a_crop_stays_whole(self, make_row):
        image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
        assert (cut_picture(image, make_row()) == image).all()

    def test_large_faces_shrink(self, make_row):
        row = make_row(x2=2000.0, y2=1000.0, face_size=2000.0)
        assert cut_picture(np.zeros((1000, 2000, 3), np.uint8), row).shape == (256, 512, 3)

    def test_another_image(self, make_row):
        with pytest.raises(DatasetError, match=r"face 0 is at 124 124, outside of the image \(20 x 20 pixels\)"):
            cut_picture(np.zeros((20, 20, 3), np.uint8), make_row(x1=100.0, y1=100.0, x2=148.0, y2=148.0))


@pytest.fixture
def album(colours, make_row, make_table):
    folder = colours(a=(250, 0, 0), b=(0, 250, 0))
    rows = (make_row("a.png", pose_bin="0-30"), make_row("b.png", probability=0.25))
    return make_table(*rows, root=str(folder)), ImageFinder("photos", folder)


class TestTasks:
    def test_embedded(self, album, tmp_path):
        table, images = album
        seen = []
        exported = export_tasks(table, table.rows, images, tmp_path / "out", progress=lambda *done: seen.append(done))
        assert (exported.tasks, exported.failures, seen) == (2, [], [(1, 2), (2, 2)])
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["labelling.xml", "tasks.json"]
        first, second = json.loads((tmp_path / "out" / "tasks.json").read_text())
        assert [first["data"][name] for name in ("name", "face", "box")] == ["a.png", 0, [0, 0, 48, 48]]
        assert first["data"]["digest"] == digest(images.open("a.png", 0)) != second["data"]["digest"]
        assert first["data"]["regionfer"] == {"schema": 1, "table": table.fingerprint, "labels": list(LABELS)}
        kind, _, content = second["data"]["image"].partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(BytesIO(base64.b64decode(content))) as picture:
            assert picture.size == (48, 48)
            assert np.asarray(picture).mean((0, 1)) == pytest.approx([0, 250, 0], abs=4)
        (prediction,) = second["predictions"]
        assert (prediction["model_version"], prediction["score"]) == ("tiny 0.0.1", 0.25)
        known = choices((tmp_path / "out" / "labelling.xml").read_text())
        for result in first["predictions"][0]["result"]:
            assert result["to_name"] == "image"
            assert set(result["value"]["choices"]) <= set(known[result["from_name"]])

    def test_what_cannot_be_judged(self, album, make_row, tmp_path):
        table, images = album
        known = {"probability": 0.9, "uncertain_reason": "covered", "occluded_probability": 0.8}
        rows = [make_row("a.png", pose_bin="0-30", **known), make_row("b.png", **known)]
        export_tasks(table, rows, images, tmp_path)
        first, second = json.loads((tmp_path / "tasks.json").read_text())
        (prediction,) = first["predictions"]
        assert (prediction["score"], [each["from_name"] for each in prediction["result"]]) == (0, ["pose_bin"])
        assert second["predictions"] == []
        assert {name: second["data"][name] for name in known} == known

    def test_files(self, album, make_row, tmp_path):
        table, images = album
        rows = [make_row("a.png"), make_row("a.png", 1)]
        export_tasks(table, rows, images, tmp_path / "my tasks", pictures="files")
        tasks = json.loads((tmp_path / "my tasks" / "tasks.json").read_text())
        places = [task["data"]["image"] for task in tasks]
        assert all(place.startswith("/data/local-files/?d=my%20tasks/pictures/a-") for place in places)
        names = [place.rpartition("/")[2] for place in places]
        assert sorted(path.name for path in (tmp_path / "my tasks" / "pictures").iterdir()) == sorted(names)

    def test_lost_pictures(self, album, make_row, tmp_path):
        table, images = album
        exported = export_tasks(table, [make_row("gone.png"), table.rows[0]], images, tmp_path)
        assert exported.tasks == 1
        assert len(json.loads((tmp_path / "tasks.json").read_text())) == 1
        assert "gone.png: no such file" in exported.failures[0]

    def test_no_picture(self, album, make_row, tmp_path):
        table, images = album
        with pytest.raises(DatasetError, match=r"none of 1 faces could be exported; the first: .*gone.png"):
            export_tasks(table, [make_row("gone.png")], images, tmp_path)
        assert not (tmp_path / "tasks.json").exists()

    def test_images_of_a_dataset(self, trees):
        images = ImageFinder("ferplus", trees / "ferplus-tables")
        assert images.open("fer0000000.png", 0).shape == (48, 48, 3)
        with pytest.raises(DatasetError, match=r"FERPlus has no image fer9.png with a face 0 here"):
            images.open("fer9.png", 0)

    def test_images_that_were_moved(self, tmp_path):
        with pytest.raises(DatasetError, match="say with --images where the images of this table are now"):
            ImageFinder("photos", tmp_path / "gone")


def result(name, *answers):
    return {"from_name": name, "to_name": "image", "type": "choices", "value": {"choices": list(answers)}}


def annotation(who, *results, **more):
    return {"id": 1, "completed_by": who, "result": list(results), "was_cancelled": False} | more


def task(*annotations, name="a.png", **more):
    mark = {"schema": 1, "table": "0123456789ab", "labels": list(LABELS)}
    data = {"image": "data:", "name": name, "face": 0, "regionfer": mark}
    return {"id": 7, "data": data, "annotations": list(annotations)} | more


FEAR = annotation(1, result("expression", "fear"))


@pytest.fixture
def save(tmp_path):
    def write(value):
        path = tmp_path / "export.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    return write


class TestExport:
    def test_judgements(self, save):
        second = annotation({"id": 2, "email": "b@example.org"}, result("occlusion", "hand", "other"))
        export = read_export(save([task(FEAR, second), task(name="b.png")]))
        assert (export.tasks, export.table, export.labels) == (2, "0123456789ab", LABELS)
        one, two = export.judgements
        assert (one.key, one.annotator, one.values["expression"]) == (("a.png", 0), "1", "fear")
        assert (two.annotator, two.values["occlusion: other"], two.values["occluded"]) == (
            "b@example.org",
            "yes",
            "yes",
        )

    def test_the_last_of_one_annotator(self, save):
        later = annotation(1, result("expression", "anger"), updated_at="2024-02-01T00:00:00Z")
        earlier = annotation(1, result("expression", "fear"), updated_at="2024-01-01T00:00:00Z")
        export = read_export(save([task(later, earlier)]))
        assert [each.values["expression"] for each in export.judgements] == ["anger"]
        assert [each.text for each in export.findings] == ["a.png, face 0: annotated by 1 again; the last is taken"]

    @pytest.mark.parametrize("nobody", [None, {"id": None, "email": ""}], ids=["null", "empty"])
    def test_annotations_of_nobody_are_of_different_people(self, save, nobody):
        given = [annotation(nobody, result("expression", name)) for name in ("fear", "anger", "fear")]
        export = read_export(
            save([task(FEAR, *given), task(annotation(nobody, was_cancelled=True), given[0], name="b.png")])
        )
        assert [(each.image, each.annotator) for each in export.judgements] == [
            ("a.png", "1"),
            *(("a.png", f"unknown {k}") for k in (1, 2, 3)),
            ("b.png", "unknown 1"),
        ]
        assert [each.text for each in export.findings] == [
            "4 annotations name no annotator (completed_by is null); each counts as another annotator of its face",
            "b.png, face 0: skipped by annotator unknown",
        ]
        held = verdicts(export.judgements)[0]
        assert (held.annotators, held.values["expression"]) == (4, "fear")

    def test_annotations_without_a_number(self, save):
        export = read_export(save([task(annotation(1, result("expression", "fear"), id="6f1c"))]))
        assert len(export.judgements) == 1

    def test_skipped_and_empty(self, save):
        export = read_export(save([task(FEAR, annotation(2, was_cancelled=True), annotation(3))]))
        assert len(export.judgements) == 1
        assert [each.kind for each in export.findings] == ["skipped", "empty"]

    def test_of_another_table(self, save, make_table, make_row):
        table = make_table(make_row())
        export = read_export(save([task(FEAR)]))
        with pytest.raises(
            DatasetError, match="the export of another project: its tasks were made from table 0123456789ab"
        ):
            of_table(export, table, "export.json")
        other = make_table(make_row(), labels=("calm", "tense"))
        told = "the expressions to choose from were neutral, .*, contempt, its model knows calm, tense; give the table"
        with pytest.raises(DatasetError, match=told):
            of_table(export, other, "export.json")

    def test_faces_that_are_not_those_of_the_table(self, save, make_table, make_row):
        table = make_table(*(make_row(name) for name in ("a.png", "b.png", "c.png")))
        box = [0.4, 0.0, 48.0, 48.0]

        def of(name, face=0, box=box):
            made = task(FEAR, name=name)
            made["data"] |= {"face": face, "regionfer": made["data"]["regionfer"] | {"table": table.fingerprint}}
            return made | {"data": made["data"] | ({} if box is None else {"box": box})}

        moved = of("b.png", box=[30.0, 0.0, 78.0, 48.0])
        export = read_export(save([of("a.png"), moved, of("c.png", box=None), of("a.png", 1), of("new.png")]))
        kept = of_table(export, table, "export.json")
        assert [each.image for each in kept.judgements] == ["a.png", "c.png"]
        assert [(each.kind, each.severity) for each in kept.findings] == [
            *(("image", "error"), ("face", "error"), ("box", "error"), ("no box", "note"), ("no digest", "note")),
        ]
        assert [each.text for each in kept.findings] == [
            "1 of 5 faces of an image that is not in the table of album: left out, such as new.png, face 0",
            "1 of 5 faces whose number that image does not have in the table of album: left out, such as a.png, face 1",
            "1 of 5 faces with another box in the table of album, so another face: left out, such as b.png, face 0",
            "1 of 5 faces in tasks without a box, so not compared with the table of album, such as c.png, face 0",
            "1 of 5 faces in tasks that do not say which pixels they show, so pictures were not compared, "
            "such as a.png, face 0",
        ]
        with pytest.raises(DatasetError, match=r"none of its 1 faces is left: 1 of 1 faces with another box"):
            of_table(read_export(save([moved])), table, "export.json")


class TestPictures:
    """Of the same name, and of other content."""

    @pytest.fixture
    def exported(self, colours, make_row, make_table, save, tmp_path):
        """A table of three faces, their tasks as annotated, and a function that reads these back."""
        folder = colours(a=(250, 0, 0), b=(0, 250, 0), c=(0, 0, 250))
        table = make_table(*(make_row(name) for name in ("a.png", "b.png", "c.png")), root=str(folder))
        export_tasks(table, table.rows, ImageFinder("photos", folder), tmp_path / "out")
        tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
        for number, each in enumerate(tasks):
            each |= {"id": number, "annotations": [FEAR]}

        def read(**options):
            kept = of_table(read_export(save(tasks)), table, "export.json", **options)
            return [each.image for each in kept.judgements], [(each.kind, each.severity) for each in kept.findings]

        return folder, tasks, read

    def test_the_same(self, exported):
        seen = []
        read = exported[2]
        assert read(progress=lambda *done: seen.append(done)) == (["a.png", "b.png", "c.png"], [])
        assert seen == [(1, 3), (2, 3), (3, 3)]

    def test_another_one(self, exported, colours):
        folder, _, read = exported
        colours(b=(0, 249, 0))
        assert read() == (["a.png", "c.png"], [("picture", "error")])
        (folder / "a.png").unlink()
        assert read() == (["a.png", "c.png"], [("picture", "error"), ("unread", "note")])

    def test_of_another_size(self, exported, colours):
        colours(24, b=(0, 250, 0))
        assert exported[2]()[0] == ["a.png", "c.png"]

    def test_tasks_of_earlier_releases(self, exported, colours):
        _, tasks, read = exported
        colours(b=(0, 0, 0), c=(0, 0, 0))
        del tasks[1]["data"]["digest"], tasks[2]["data"]["digest"], tasks[2]["data"]["box"]
        assert read() == (["a.png", "b.png", "c.png"], [("no box", "note"), ("no digest", "note")])

    def test_images_that_were_moved(self, exported, colours):
        folder, tasks, read = exported
        colours(b=(0, 0, 0))
        moved = folder.rename(folder.with_name("moved"))
        assert read() == (["a.png", "b.png", "c.png"], [("no images", "note")])
        assert read(images=moved) == (["a.png", "c.png"], [("picture", "error")])
        with pytest.raises(DatasetError, match="faces: no such folder; say with --images where"):
            read(images=folder)
        for each in tasks:
            del each["data"]["digest"]
        assert read()[1] == [("no digest", "note")]

    def test_a_photo_of_several_faces_is_opened_once(self, colours, monkeypatch):
        finder = ImageFinder("photos", colours(a=(250, 0, 0)))
        first = finder.digest("a.png", 0)
        monkeypatch.setattr(ImageFinder, "open", None)
        assert finder.digest("a.png", 1) == first


def without(value, key):
    return {name: each for name, each in value.items() if name != key}


def marked(**changes):
    data = task()["data"]
    return task(FEAR, data=data | {"regionfer": data["regionfer"] | changes})


def data_without(*names, **changes):
    return task(FEAR, data={name: each for name, each in task()["data"].items() if name not in names} | changes)


MOOD = task(annotation(1, result("mood", "good")), data={"text": "Hello"})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no json", r"export.json: expected Label Studio's JSON export, found no JSON: .*choose Export, then JSON"),
        ({"tasks": []}, "expected a list of tasks, found one dict"),
        ([], "expected a list of tasks, found an empty list"),
        ([3], "task 1: expected an object, found int"),
        ([{"id": 5, "image": "x", "mood": "good"}], r"task 5: lacks data, annotations; found: id, image, mood"),
        ([without(task(FEAR), "annotations")], r"task 7: lacks annotations; .*not JSON-MIN"),
        (
            [MOOD, task(data={"text": "Bye", "image": "x"})],
            r"export.json: the export of another project: its tasks hold text, image and answer mood; expected those "
            "that 'regionfer annotate export' writes, which hold name, face, regionfer and ask expression, occlusion, ",
        ),
        ([task(data={})], "another project: its tasks hold nothing and answer nothing"),
        (
            [task(FEAR), MOOD],
            r"export.json, task 7, data: lacks name, face, regionfer; found: text; 'regionfer annotate",
        ),
        *(
            (
                [data_without(name)],
                rf"export.json, task 7, data: lacks {name}; found: .*; 'regionfer annotate export' w",
            )
            for name in ("name", "face", "regionfer")
        ),
        ([data_without(regionfer={"schema": 1})], "export.json, task 7, data, regionfer: lacks table, labels"),
        ([marked(schema=9)], "schema 9, this"),
        ([marked(labels="fear")], "task 7, data, regionfer, labels: expected a list of expressions, found 'fear'"),
        ([marked(labels=[1])], r"data, regionfer, labels: expected a list of expressions, found \[1\]"),
        ([marked(table=3)], "data, regionfer, table: expected text, found 3"),
        ([data_without(name=None)], "task 7, data, name: expected text, found None"),
        ([data_without(face="0")], "task 7, data, face: expected a whole number, found '0'"),
        ([data_without(digest=5)], "task 7, data, digest: expected text, found 5"),
        ([data_without(box=[1, 2, 3])], r"task 7, data, box: expected four numbers, found \[1, 2, 3\]"),
        ([task(FEAR), marked(table="f")], "has tasks of 2 tables"),
        ([task(without(FEAR, "completed_by"))], "export.json, task 7, annotation 1: lacks completed_by; found: id, "),
        ([task(without(FEAR, "result"))], "task 7, annotation 1: lacks result"),
        ([task(annotations={"a": 1})], "expected a list of annotations, found dict"),
        ([task(annotation(1, {"from_name": "expression", "to_name": "image"}))], "annotation of 1: lacks value"),
        ([task(annotation(1, result(["mood"], "fear")))], "answers a question .*mood.*, which is not asked here"),
        ([task(annotation(1, result("mood", "fear")))], "answers a question 'mood', which is not asked here"),
        ([task(annotation(1, {"value": {"choices": ["fear"]}}))], "task 7, annotation of 1: lacks from_name"),
        (
            [task(annotation(1, result("expression", "joyous")))],
            r"expression: expected one of neutral.*; found joyous; use the labelling configuration that was exported",
        ),
        ([task(annotation(1, result("expression", "fear", "anger")))], "expected one answer, found fear, anger"),
        ([task(annotation(1, result("expression") | {"value": {"rating": 3}}))], "expression: lacks choices"),
        ([task(annotation(1, result("expression") | {"value": {"choices": "fear"}}))], "expected a list of answers"),
        ([task()], "none of its 1 tasks has an annotation yet"),
    ],
)
def test_bad_exports(save, value, message):
    with pytest.raises(DatasetError, match=message):
        read_export(save(value))


def test_no_file(tmp_path):
    with pytest.raises(DatasetError, match=r"none.json: cannot be read: No such file"):
        read_export(tmp_path / "none.json")
