import pytest

from regionfer.datasets.list_survey import survey_lists
from regionfer.errors import DatasetError


def test_trees(trees):
    survey = survey_lists(trees / "lists")
    found = {(found.corpus, found.subset): (found.entries, found.images) for found in survey.lists}
    assert found == {
        ("AffectNet", "occlusion"): (8, 8),
        ("AffectNet", "pose30"): (8, 6),
        ("FERPlus", "occlusion"): (8, 8),
        ("FERPlus", "pose30"): (6, 6),
        ("FERPlus", "pose45"): (4, 4),
        ("FERPlus", "test"): (16, 16),
        ("RAF-DB", "occlusion"): (8, 7),
        ("RAF-DB", "pose30"): (5, 5),
    }
    reasons = {path.name: reason for path, reason in survey.others.items()}
    assert list(reasons) == ["readme.txt", "val_raf_db_label.txt"]
    assert reasons["readme.txt"] == "names no image of FERPlus, RAF-DB or AffectNet"
    assert reasons["val_raf_db_label.txt"] == "numbers without names (a file of labels?)"
    assert set(survey.absent) == {("AffectNet", "pose45"), ("RAF-DB", "pose45")}
    assert not any(found.findings for found in survey.lists)


@pytest.mark.parametrize(("lines", "as_published"), [(3137, True), (3136, False)])
@pytest.mark.parametrize("name", ["mine.txt", "dlib_ferplus_val_center_crop_range_list.txt"])
def test_the_list_of_all_test_images(tmp_path, name, lines, as_published):
    (tmp_path / name).write_text("".join(f"0/fer{k:07d} 6\n" for k in range(lines)))
    (found,) = survey_lists(tmp_path).lists
    assert (found.subset, found.as_published) == ("test", as_published)


def test_codes_that_are_not_known(tmp_path):
    (tmp_path / "occlusion.txt").write_text("".join(f"{k % 9}_fer{k:07d}.png 8 {k % 5}\n" for k in range(90)))
    survey = survey_lists(tmp_path)
    assert [(finding.count, finding.text) for finding in survey.lists[0].findings] == [
        (10, "10 lines have the label 8, which is none of 0 to 7"),
        (18, "18 lines have the type of occlusion 4, which is none of 0 to 3"),
    ]
    assert set(survey.absent) == {("FERPlus", name) for name in ("test", "pose30", "pose45")}
    assert survey_lists(tmp_path / "occlusion.txt").absent == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name,type\nfer0000001.png,hat\n", "found the columns name, type; call the column 'name' so"),
        ("picture\nfer0000001.png\n", "found the columns picture; call the column 'picture' so"),
        (
            "image,label\nme.png,happy\n",
            "AffectNet; a list for another dataset? 'regionfer evaluate --subset' takes it",
        ),
        ("fer0000001.png\na text\nof words\n", "only 1 of 3 lines name an image of FERPlus, RAF-DB or AffectNet"),
        ("Well, this is a text with commas.\nfer\n", "names no image of FERPlus, RAF-DB or AffectNet"),
        ("# nothing yet\n", "an empty file"),
    ],
)
def test_a_table_without_images(tmp_path, text, reason):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    assert reason in survey_lists(path).others[path]


@pytest.mark.parametrize(("lines", "as_published"), [(605, True), (604, False)])
def test_as_published(tmp_path, lines, as_published):
    (tmp_path / "occlusion.txt").write_text("".join(f"1_fer{k:07d}.png 8 2\r\n" for k in range(lines)), newline="")
    (found,) = survey_lists(tmp_path).lists
    assert found.as_published is as_published
    assert found.to_dict()["published_entries"] == 605


def test_a_single_list_with_an_unreadable_line(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("2/test_0001_aligned.jpg\n2/test_0002_aligned.jpg\nwhat is this\n")
    (found,) = survey_lists(path).lists
    assert (found.corpus, found.entries, found.unreadable, found.as_published) == ("RAF-DB", 2, 1, None)


def test_a_text_that_mentions_an_image_is_no_list(tmp_path):
    (tmp_path / "notes.txt").write_text("fer0030001.png\nis the face\nthat I mean\n")
    survey = survey_lists(tmp_path)
    assert survey.lists == ()
    assert [path.name for path in survey.others] == ["notes.txt"]


def test_hidden_files_are_passed_over(tmp_path):
    (tmp_path / ".git").mkdir()
    for name in (".git/index.txt", ".notes.txt", "mine.txt"):
        (tmp_path / name).write_text("fer0000001.png\n")
    survey = survey_lists(tmp_path)
    assert [found.path.name for found in survey.lists] == ["mine.txt"]
    assert survey.others == {}


def test_no_lists(tmp_path):
    (tmp_path / "photo.png").touch()
    with pytest.raises(DatasetError, match=r"files that end in \.txt, .*found: photo\.png"):
        survey_lists(tmp_path)
    with pytest.raises(DatasetError, match="no such folder"):
        survey_lists(tmp_path / "nowhere")
