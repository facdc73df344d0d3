import json

import pytest

import regionfer.parts as module
from regionfer.errors import DatasetError, OutputError
from regionfer.parts import Parts, digest

SETTINGS = {"images": "abc", "kinds": ("mask", "blur"), "limit": None}


@pytest.fixture
def parts(tmp_path):
    return Parts(tmp_path / "work")


def test_goes_on_after_the_parts_done(parts):
    assert parts.open(SETTINGS) == 0
    parts.save(0, b"[1]")
    parts.save(1, b"[2]")
    (parts.folder / "part-000002.json.partial").write_bytes(b"[")  # as a killed run leaves it
    again = Parts(parts.folder)
    assert again.open(SETTINGS) == 2
    assert [again.load(number, json.loads) for number in range(2)] == [[1], [2]]
    again.remove()
    assert not parts.folder.exists()


def test_a_gap_is_filled_from_there_on(parts):
    parts.open(SETTINGS)
    parts.save(0, b"1")
    parts.save(2, b"3")
    assert parts.open(SETTINGS) == 1


@pytest.mark.parametrize(("name", "value"), [("images", "abd"), ("kinds", ("mask",)), ("limit", 3), ("seed", 1)])
def test_another_run(parts, name, value):
    parts.open(SETTINGS)
    other = rf"work: a run with other settings was interrupted here \(different: {name}\)"
    with pytest.raises(DatasetError, match=other):
        parts.open(SETTINGS | {name: value})


def test_another_release(parts, monkeypatch):
    parts.open(SETTINGS)
    monkeypatch.setattr(module, "version", lambda name: "0.0.9")
    with pytest.raises(DatasetError, match=r"\(different: release\)"):
        parts.open(SETTINGS)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff"])
def test_damaged_settings(parts, content):
    parts.open(SETTINGS)
    (parts.folder / "settings.json").write_bytes(content)
    with pytest.raises(DatasetError, match=r"settings\.json: damaged: .*; delete the folder .*work$"):
        parts.open(SETTINGS)


def test_damaged_part(parts):
    parts.open(SETTINGS)
    parts.save(0, b'{"rows')
    with pytest.raises(DatasetError, match=r"part-000000\.json: damaged: .*; delete it and call again"):
        parts.load(0, json.loads)


def test_a_folder_that_cannot_be_made(tmp_path):
    with pytest.raises(OutputError, match="work: cannot be written: No such file"):
        Parts(tmp_path / "none" / "work").open(SETTINGS)


def test_a_digest_tells_lines_apart() -> None:
    texts = ([], ["a"], ["a", "b"], ["b", "a"], ["ab"], ["a", "\udcff"])
    assert len({digest(lines) for lines in texts}) == len(texts)
    assert digest(iter(["a", "b"])) == digest(["a", "b"])
