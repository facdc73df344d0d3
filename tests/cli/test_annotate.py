"""``regionfer annotate``, as it is typed."""

import json

import pytest
from click.testing import CliRunner
from PIL import Image

import regionfer.recognizer
from regionfer.annotation import AttributeTable
from regionfer.cli import main
from regionfer.labels import LABELS

RED, GREEN, BLUE = (120, 0, 0), (0, 120, 0), (0, 0, 120)


@pytest.fixture
def run(square_detector, monkeypatch):
    """Run ``regionfer annotate`` with the detector of squares."""
    monkeypatch.setattr(regionfer.recognizer, "MTCNN", lambda **_: square_detector)

    def annotate(*arguments):
        return CliRunner().invoke(main, ["annotate", *map(str, arguments)])

    return annotate


@pytest.fixture
def album(tmp_path, draw_squares):
    folder = tmp_path / "album"
    folder.mkdir()
    for name, colours in {"a.png": (RED, GREEN), "b.png": (BLUE,), "c.png": ()}.items():
        Image.fromarray(draw_squares(*colours)).save(folder / name)
    return folder


@pytest.fixture
def table(run, album, trusted_path, tmp_path, plain_faces):
    path = tmp_path / "manifest.parquet"
    done = run(album, "--out", path, "--model", trusted_path, "--min-confidence", 0.5)
    assert done.exit_code == 0, done.output
    return path


class TestRun:
    def test_as_in_the_manual(self, run, album, trusted_path, tmp_path):
        done = run(album, "--out", tmp_path / "m.parquet", "--model", trusted_path)
        assert (done.exit_code, done.stdout) == (0, "")
        told = done.stderr.splitlines()
        assert told[0] == "c.png: no face found"
        assert told[1] == f"{tmp_path / 'm.misses.csv'} lists the images without a row"
        assert told[2].startswith(f"{tmp_path / 'm.parquet'}: 3 images, 2 faces, 0 failed, 1 without a face, ")

    @pytest.mark.parametrize("order", ["options first", "named"])
    def test_other_ways_to_type_it(self, run, album, tiny_path, tmp_path, order):
        out = ("--out", tmp_path / "m.csv", "--model", tiny_path)
        done = run(*out, album) if order == "options first" else run("run", album, *out)
        assert done.exit_code == 0, done.output
        assert len(AttributeTable.read(tmp_path / "m.csv")) == 2

    def test_a_table_that_is_there_is_replaced(self, run, album, tiny_path, tmp_path):
        told = [run(album, "--out", tmp_path / "m.csv", "--model", tiny_path).stderr for _ in range(2)]
        assert ["is there already, and is replaced" in each for each in told] == [False, True]

    def test_fused_models(self, run, album, tiny_path, trusted_path, tmp_path):
        run(album, "--out", tmp_path / "m.csv", "--model", f"{tiny_path},{trusted_path}")
        assert AttributeTable.read(tmp_path / "m.csv").card.model_sha256.count("0.5 x ") == 2

    def test_no_detect(self, run, album, trusted_path, tmp_path):
        done = run(album, "--out", tmp_path / "m.csv", "--no-detect", "--model", trusted_path)
        assert "3 images, 3 faces, 0 failed" in done.stderr

    def test_max_risk(self, run, album, trusted_path, tmp_path):
        run(album, "--out", tmp_path / "m.csv", "--model", trusted_path, "--max-risk", 0.06)
        assert AttributeTable.read(tmp_path / "m.csv").card.threshold == 0.7

    def test_failures(self, run, album, tiny_path, tmp_path):
        (album / "text.jpg").write_text("no image")
        done = run(album, "--out", tmp_path / "m.csv", "--model", tiny_path)
        assert done.exit_code == 1
        assert f"{album / 'text.jpg'}: is not an image" in done.stderr
        assert "1 failed" in done.stderr

    def test_interrupted_and_taken_up(self, run, album, tiny_path, tmp_path, monkeypatch):
        stream = regionfer.recognizer.Recognizer.stream

        def interrupted(self, *arguments, **options):
            yield next(stream(self, *arguments, **options))
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(regionfer.recognizer.Recognizer, "stream", interrupted)
            done = run(album, "--out", tmp_path / "m.csv", "--model", tiny_path)
        assert done.exit_code == 130
        assert done.stderr == f"{tmp_path / 'm.csv'}: interrupted; call again to go on\n"
        assert run(album, "--out", tmp_path / "m.csv", "--model", tiny_path).exit_code == 0

    def test_what_was_done_before_is_told_at_the_start(self, run, album, tiny_path, tmp_path, monkeypatch):
        arguments = (album, "--out", tmp_path / "m.csv", "--model", tiny_path)
        with monkeypatch.context() as patch:
            patch.setattr(AttributeTable, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            assert "goes on" not in run(*arguments).stderr
        lines = run(*arguments).stderr.splitlines()
        assert lines[0] == f"{tmp_path / 'm.csv'}: goes on; done before: 3 of 3 images"

    def test_replaced_images_are_told_of(self, run, album, tiny_path, draw_squares, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(AttributeTable, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            assert run(album, "--out", tmp_path / "m.csv", "--model", tiny_path).exit_code == 130
        Image.fromarray(draw_squares(GREEN, BLUE)).save(album / "b.png")
        done = run(album, "--out", tmp_path / "m.csv", "--model", tiny_path)
        assert "3 images done before the interruption were done again, for some of them changed since" in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("nowhere", "--out", "m.csv"), "nowhere: no such file or folder"),
            ((".", "--out", "m.xlsx"), "expected a name that ends in .parquet or .csv"),
            (("--out", "m.csv"), "Missing argument 'DIR|TABLE'"),
            ((".",), "Missing option '--out'"),
            ((".", "--out", "m.csv", "--dataset", "fer"), "unknown dataset 'fer'"),
        ],
    )
    def test_wrong_lines(self, run, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        done = run(*arguments)
        assert done.exit_code == 2
        assert message in done.stderr


def test_an_error_speaks_of_what_was_typed(run):
    told = run("photos").stderr
    assert "annotate --help'" in told
    assert "annotate run" not in told


def test_what_is_passed_over_is_told(run, album, tiny_path, tmp_path):
    (album / "x.HEIC").write_bytes(b"")
    (album / "below").mkdir()
    lines = run(album, "--out", tmp_path / "t.csv", "--model", tiny_path).stderr.splitlines()
    assert "passed over, for regionfer does not read them: 1 .heic; convert them to JPEG or PNG" in lines
    assert "not looked into: 1 folder below; --recursive does" in lines


def test_help_has_both(run):
    told = run("--help").stdout
    for word in ("--out FILE", "--no-detect", "export", "import", "lists", "DIR|TABLE", "COMMAND"):
        assert word in told
    for name in ("run", "export", "import", "lists"):
        assert run(name, "--help").exit_code == 0


def answer(task, who, **chosen):
    result = [
        {"from_name": name, "to_name": "image", "type": "choices", "value": {"choices": [value]}}
        for name, value in chosen.items()
    ]
    return {"id": who, "completed_by": who, "was_cancelled": False, "result": result}


@pytest.fixture
def exported(run, table, tmp_path):
    """An export in which two annotators judged three faces and disagree on one."""
    assert run("export", table, "--to", "label-studio", "--out", tmp_path / "tasks").exit_code == 0
    tasks = json.loads((tmp_path / "tasks" / "tasks.json").read_text())
    for number, task in enumerate(tasks):
        second = "anger" if number == 0 else "fear"
        task["annotations"] = [
            answer(task, 1, expression="fear", occlusion="mask" if number else "none", pose_bin=">45"),
            answer(task, 2, expression=second, occlusion="mask" if number else "none", pose_bin=">45"),
        ]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    return path


class TestExport:
    def test_least_sure_first(self, run, table, tmp_path):
        done = run("export", table, "--to", "label-studio", "--out", tmp_path / "tasks", "--sample", 2)
        assert done.exit_code == 0, done.output
        kib = round((tmp_path / "tasks" / "tasks.json").stat().st_size / 1024)
        assert kib > 0
        assert done.stdout.startswith(f"{tmp_path / 'tasks' / 'tasks.json'}: 2 tasks, {kib} KiB; ")
        scores = [t["predictions"][0]["score"] for t in json.loads((tmp_path / "tasks" / "tasks.json").read_text())]
        assert scores == sorted(row.probability for row in AttributeTable.read(table).rows)[:2]

    def test_what_cannot_be_judged(self, run, album, trusted_path, tmp_path):
        for name in ("a.png", "b.png", "c.png"):
            picture = Image.new("RGB", (48, 48), (90, 90, 90))
            if name != "b.png":
                picture.paste((240, 240, 240), (12, 12, 24, 40))
            picture.save(album / name)
        run(album, "--out", tmp_path / "m.csv", "--model", trusted_path, "--no-detect")
        usual = ("export", tmp_path / "m.csv", "--to", "label-studio", "--out", tmp_path / "tasks")
        done = run(*usual)
        assert (done.exit_code, "is replaced" in done.stderr) == (0, False)
        first, *_ = json.loads((tmp_path / "tasks" / "tasks.json").read_text())
        assert (first["data"]["name"], first["data"]["uncertain_reason"]) == ("b.png", "no contrast")
        assert first["predictions"] == []
        assert "tasks.json: is there already, and is replaced" in run(*usual).stderr

    def test_images_were_moved(self, run, table, album, tmp_path):
        album.rename(tmp_path / "moved")
        done = run("export", table, "--to", "label-studio", "--out", tmp_path / "tasks")
        assert (done.exit_code, "say with --images where" in done.stderr) == (2, True)
        assert (
            run("export", table, "--to", "label-studio", "-o", tmp_path / "t", "--images", tmp_path / "moved").exit_code
            == 0
        )

    def test_some_pictures_are_gone(self, run, table, album, tmp_path):
        (album / "b.png").unlink()
        done = run("export", table, "--to", "label-studio", "--out", tmp_path / "tasks")
        assert (done.exit_code, "2 tasks" in done.stdout, "b.png: no such file" in done.stderr) == (1, True, True)

    def test_a_tool_must_be_named(self, run, table, tmp_path):
        assert "Missing option '--to'" in run("export", table, "--out", tmp_path / "tasks").stderr


class TestImport:
    def test_labels_and_disagreements(self, run, table, exported, tmp_path):
        done = run("import", exported, "--table", table, "--out", tmp_path / "labels.csv")
        assert done.exit_code == 0, done.output
        (line,) = [line.split() for line in done.stdout.splitlines() if line.split()[:1] == ["expression"]]
        assert line == ["expression", "3", "2", "66.7%", "0.00", "Cohen"]
        asked = [line.strip().split("  ")[0] for line in done.stdout.splitlines() if "%" in line]
        assert asked == ["expression", "pose_bin", "occluded", "occlusion: mask", "unusable"]
        (alike,) = [line.split() for line in done.stdout.splitlines() if line.split()[:1] == ["pose_bin"]]
        assert alike == ["pose_bin", "3", "2", "100.0%", "-", "all", "say", ">45"]
        others = "occlusion: glasses, hand, hair, object, out of frame, other (3 faces)"
        places = "place: upper, lower, left, right (1 face)"
        assert f"nobody named: {others}; {places}\n" in done.stdout
        assert f"{tmp_path / 'labels.csv'}: 3 faces of 3 tasks, by 2 annotators" in done.stdout
        (dispute,) = (tmp_path / "labels.disagreements.csv").read_text().splitlines()[1:]
        assert dispute.endswith('expression,,1: fear; 2: anger,"no majority of 2 annotators: 1 fear, 1 anger"')

    @pytest.mark.parametrize(
        ("out", "disagreements", "message"),
        [
            ("l.csv", "l.csv", "l.csv: labels and disagreements need a file each"),
            ("l.csv", "TABLE", "is read from; give the disagreements another name"),
            ("TABLE", "d.csv", "is read from; give the labels another name"),
            ("l.csv", "EXPORT", "is read from; give the disagreements another name"),
        ],
    )
    def test_nothing_is_written_over_what_is_read(self, run, table, exported, tmp_path, out, disagreements, message):
        named = {"TABLE": table, "EXPORT": exported}
        files = {each: each.read_bytes() for each in named.values()}
        out, disagreements = (named.get(name, tmp_path / name) for name in (out, disagreements))
        done = run("import", exported, "--table", table, "--out", out, "--disagreements", disagreements)
        assert (done.exit_code, message in done.stderr) == (2, True), done.output
        assert files == {each: each.read_bytes() for each in files}
        assert not (tmp_path / "l.csv").exists()

    def test_of_another_table(self, run, exported, album, tiny_path, tmp_path):
        run(album, "--out", tmp_path / "other.csv", "--model", tiny_path)
        done = run("import", exported, "--table", tmp_path / "other.csv", "--out", tmp_path / "labels.csv")
        assert (done.exit_code, "the export of another project" in done.stderr) == (2, True)
        assert not (tmp_path / "labels.csv").exists()

    def test_other_faces_are_left_out_and_counted(self, run, table, exported, tmp_path):
        tasks = json.loads(exported.read_text())
        tasks[0]["data"]["box"] = [500, 500, 600, 600]
        tasks[1]["data"]["name"] = "new.png"
        exported.write_text(json.dumps(tasks))
        done = run("import", exported, "--table", table, "--out", tmp_path / "labels.csv")
        assert done.exit_code == 1, done.output
        assert "1 of 3 faces of an image that is not in the table of album: left out, such as new.png" in done.stderr
        assert "1 of 3 faces with another box in the table of album, so another face: left out" in done.stderr
        assert len((tmp_path / "labels.csv").read_text().splitlines()) == 2

    def test_other_pictures_are_left_out_and_counted(self, run, table, exported, album, draw_squares, tmp_path):
        Image.fromarray(draw_squares(RED)).save(album / "b.png")
        usual = ("import", exported, "--table", table, "--out", tmp_path / "labels.csv")
        done = run(*usual)
        assert done.exit_code == 1, done.output
        assert "1 of 3 faces whose image has other pixels now than when the tasks were made: left out" in done.stderr
        assert "b.png" not in (tmp_path / "labels.csv").read_text()
        album.rename(tmp_path / "moved")
        done = run(*usual)
        assert (done.exit_code, "pictures were not compared: " in done.stderr) == (0, True)
        assert run(*usual, "--images", tmp_path / "moved").exit_code == 1

    def test_images_of_no_table(self, run, exported, tmp_path):
        done = run("import", exported, "--out", tmp_path / "labels.csv", "--images", tmp_path)
        assert (done.exit_code, "--images are those of a table" in done.stderr) == (2, True)

    def test_labels_are_csv(self, run, exported, tmp_path):
        done = run("import", exported, "--out", tmp_path / "labels.txt")
        assert (done.exit_code, "labels.txt: expected a name that ends in .csv" in done.stderr) == (2, True)

    def test_one_annotator(self, run, exported, tmp_path):
        tasks = json.loads(exported.read_text())
        for task in tasks:
            del task["annotations"][1]
        exported.write_text(json.dumps(tasks))
        done = run("import", exported, "--out", tmp_path / "labels.csv", "--disagreements", tmp_path / "d.csv")
        assert "no face has two annotators: there is no agreement to measure" in done.stdout
        assert (tmp_path / "d.csv").read_text().splitlines() == ["image,face,field,majority,answers,reason"]


class TestLists:
    def test_estimates(self, run, table, tmp_path):
        done = run("lists", table, "--out", tmp_path / "lists")
        assert done.exit_code == 0, done.output
        assert done.stdout.splitlines()[1] == "pose30: no list; none of 3 faces belongs on it"

    def test_labels_by_hand(self, run, table, exported, tmp_path):
        run("import", exported, "--out", tmp_path / "labels.csv")
        done = run("lists", table, "--out", tmp_path / "lists", "--labels", tmp_path / "labels.csv")
        assert done.exit_code == 0, done.output
        text = (tmp_path / "lists" / "occlusion_album.csv").read_text()
        assert text.count("by hand: mask (2 annotators)") == 2
        assert len((tmp_path / "lists" / "pose_45_album.csv").read_text().splitlines()) == 4

    def test_a_model_that_says_nothing(self, run, album, tiny_path, tmp_path, plain_faces):
        run(album, "--out", tmp_path / "m.csv", "--model", tiny_path)
        done = run("lists", tmp_path / "m.csv", "--out", tmp_path / "lists")
        assert "occlusion: no list; tiny 0.0.1 does not say how these faces are covered" in done.stdout


def test_a_dataset_that_is_not_named(run, trees, tmp_path):
    done = run(trees / "ferplus", "--out", tmp_path / "m.csv")
    assert done.exit_code == 2
    assert "the folder of a dataset is named with --dataset (" in done.stderr


def test_classes_of_a_dataset(run, trees, tiny_path, tmp_path):
    done = run(
        trees / "ferplus", "--dataset", "ferplus", "--split", "test", "--out", tmp_path / "m.csv", "--model", tiny_path
    )
    assert done.exit_code == 0, done.output
    assert AttributeTable.read(tmp_path / "m.csv").card.classes == LABELS
    told = "16 images; 4 more are listed and left out (no majority: 2, unknown: 1, not a face: 1)"
    assert f"FERPlus, majority: {told}" in done.stderr


class TestOptionsThatWouldDoNothing:
    @pytest.mark.parametrize("more", [["--no-detect"], ["--dataset", "folder"]], ids=["asked for", "face crops"])
    def test_min_confidence_where_no_face_is_looked_for(self, run, album, tiny_path, tmp_path, more):
        (album / "calm").mkdir()
        (album / "a.png").rename(album / "calm" / "a.png")
        done = run(album, "--out", tmp_path / "m.csv", "--model", tiny_path, "--min-confidence", 0.9, *more)
        assert done.exit_code == 2
        assert "--min-confidence is about faces that are looked for" in done.stderr
        assert not (tmp_path / "m.csv").exists()

    @pytest.mark.parametrize("command", ["predict", "stress"])
    def test_the_same_elsewhere(self, album, command):
        done = CliRunner().invoke(main, [command, str(album), "--no-detect", "--min-confidence", "0.9"])
        assert done.exit_code == 2
        assert "--min-confidence is about faces that are looked for" in done.stderr

    def test_a_seed_without_a_random_order(self, run, table, tmp_path):
        usual = ("export", table, "--to", "label-studio", "--out", tmp_path / "tasks", "--seed", 0)
        done = run(*usual)
        assert done.exit_code == 2
        assert "--seed is of the random order; give --order random, or leave it out" in done.stderr
        assert run(*usual, "--order", "random").exit_code == 0
