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
        ("FERPlus", "dlib_ferplus_val_center_crop_range_list"): (16, 16),
        ("RAF-DB", "occlusion"): (8, 7),
        ("RAF-DB", "pose30"): (5, 5),
    }
    assert [path.name for path in survey.others] == ["readme.txt", "val_raf_db_label.txt"]


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


def test_no_lists(tmp_path):
    with pytest.raises(DatasetError, match="an empty folder, or one without tables"):
        survey_lists(tmp_path)
    with pytest.raises(DatasetError, match="no such folder"):
        survey_lists(tmp_path / "nowhere")
