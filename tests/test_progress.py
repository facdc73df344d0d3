"""Lines about long work, for logs."""

import pytest

import regionfer.progress as module
from regionfer.progress import ProgressLines, progress_text


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_line_every_half_minute_at_most(clock):
    told = []
    lines = ProgressLines("images", told.append)
    for done in range(101):
        lines.update(done, 100)
        clock[0] += 1
    assert [line.partition(",")[0] for line in told] == [f"{n} of 100 images ({n} %)" for n in (30, 60, 90)]
    assert told[0] == "30 of 100 images (30 %), 1 images/s, about 70 s left"


def test_work_that_is_done_soon_says_nothing(clock):
    told = []
    lines = ProgressLines("images", told.append)
    for done in (0, 50, 100):
        lines.update(done, 100)
        clock[0] += 14
    assert told == []


def test_what_was_done_before_does_not_make_it_faster(clock):
    told = []
    lines = ProgressLines("images", told.append, "again: ")
    lines.update(900, 1000)
    clock[0] += 30
    lines.update(915, 1000)
    assert told == ["again: 915 of 1,000 images (92 %), 0.5 images/s, about 3 min left"]


@pytest.mark.parametrize(
    ("done", "pace", "expected"),
    [
        (0, 0, "0 of 100 faces (0 %)"),
        (1, 0.01, "1 of 100 faces (1 %), 0.01 faces/s, about 2.8 h left"),
        (50, 1, "50 of 100 faces (50 %), 1 faces/s, about 50 s left"),
    ],
)
def test_text(done, pace, expected):
    assert progress_text("faces", done, 100, pace) == expected
