"""Agreement against scikit-learn and published figures; what most annotators say."""

from itertools import product

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from regionfer.annotation.agreement import agreements, cohen_kappa, fleiss_kappa, verdicts
from regionfer.annotation.by_hand import hand_label, read_hand_labels, write_disagreements, write_hand_labels
from regionfer.annotation.questions import FIELDS, Judgement, judge
from regionfer.errors import DatasetError


def say(image, annotator, **chosen):
    return Judgement(image, 0, annotator, judge(chosen))


def expression(image, annotator, name):
    return say(image, annotator, expression=(name,))


class TestKappa:
    @pytest.mark.parametrize("seed", range(5))
    def test_cohen_is_that_of_scikit_learn(self, seed):
        rng = np.random.default_rng(seed)
        first = rng.integers(0, 4, 60)
        second = np.where(rng.random(60) < 0.6, first, rng.integers(0, 4, 60))
        pairs = [(str(a), str(b)) for a, b in zip(first, second, strict=True)]
        assert cohen_kappa(pairs) == pytest.approx(cohen_kappa_score(first, second))

    def test_fleiss_published(self):
        """The example of Fleiss (1971) as it is taught: 10 subjects, 14 raters, 5 categories, kappa 0.210."""
        counts = [
            *([0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1]),
            *([7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]),
        ]
        faces = [[str(k) for k, count in enumerate(row) for _ in range(count)] for row in counts]
        assert fleiss_kappa(faces) == pytest.approx(0.210, abs=0.0005)

    def test_fleiss_takes_other_numbers_of_annotators(self):
        even, uneven = [["a", "a", "b"], ["b", "b", "b"]], [["a", "a", "b"], ["b", "b"]]
        assert fleiss_kappa(uneven) != fleiss_kappa(even)
        observed, chance = (1 / 3 + 1) / 2, (2 / 5) ** 2 + (3 / 5) ** 2
        assert fleiss_kappa(uneven) == pytest.approx((observed - chance) / (1 - chance))

    def test_undefined(self):
        assert cohen_kappa([("a", "a"), ("a", "a")]) is None
        assert fleiss_kappa([["a", "a", "a"]]) is None


class TestAgreements:
    def test_two_are_cohen(self):
        said = [("fear", "fear"), ("fear", "anger"), ("anger", "anger"), ("anger", "anger")]
        pairs = [expression(f"{k}.png", who, name) for k, pair in enumerate(said) for who, name in zip("ab", pair)]  # noqa: B905
        found = {each.field: each for each in agreements([*pairs, expression("only.png", "a", "fear")])}
        assert set(found) == {"expression", "unusable"}
        each = found["expression"]
        assert (each.faces, each.annotators, each.share, each.method) == (4, 2, 0.75, "Cohen")
        assert each.kappa == pytest.approx(cohen_kappa_score(*zip(*said, strict=True)))

    def test_three_are_fleiss(self):
        said = [
            expression(f"{k}.png", who, "fear" if (k + 1) % int(who) else "anger")
            for k, who in product(range(4), "123")
        ]
        (each,) = [each for each in agreements(said) if each.field == "expression"]
        assert (each.annotators, each.method) == (3, "Fleiss")
        by_face = [[said[3 * k + j].values["expression"] for j in range(3)] for k in range(4)]
        assert each.kappa == fleiss_kappa(by_face)

    def test_who_is_not_known_is_nobody_in_particular(self):
        names = [("fear", "anger"), ("anger", "fear"), ("fear", "fear")]
        said = [
            expression(f"{k}.png", f"unknown {j + 1}", name)
            for k, pair in enumerate(names)
            for j, name in enumerate(pair)
        ]
        (each,) = [each for each in agreements(said) if each.field == "expression"]
        assert (each.annotators, each.method, each.kappa) == (2, "Fleiss", fleiss_kappa(names))

    def test_where_all_say_the_same(self):
        said = [say("a.png", who, occlusion=("hand",), pose_bin=(">45",)) for who in "ab"]
        found = {each.field: each for each in agreements(said)}
        assert {name: each.only for name, each in found.items() if not each.unnamed} == {
            "pose_bin": ">45",
            "occluded": "yes",
            "occlusion: hand": "yes",
            "unusable": "no",
        }
        assert {each.kappa for each in found.values()} == {None}
        said[1] = say("a.png", "b", pose_bin=("0-30",))
        (other,) = [each for each in agreements(said) if each.only is None]
        assert (other.field, other.share, other.unnamed) == ("pose_bin", 0, False)

    def test_of_one_annotator_there_is_none(self):
        assert agreements([expression("a.png", "a", "fear")]) == []


class TestJudge:
    @pytest.mark.parametrize(
        ("chosen", "expected"),
        [
            ({"occlusion": ("none",)}, {"occluded": "no", "occlusion: mask": "no", "place: upper": "no"}),
            ({"place": ("left",)}, {"occluded": "yes", "place: left": "yes", "place: upper": "no"}),
            ({"occlusion": ("none", "hand")}, {"occluded": "yes", "occlusion: hand": "yes"}),
            ({"expression": ("fear",)}, {"expression": "fear", "unusable": "no"}),
        ],
    )
    def test_fields(self, chosen, expected):
        values = judge(chosen)
        assert expected.items() <= values.items()
        assert set(values) <= set(FIELDS)

    def test_what_was_not_judged_is_not_there(self):
        assert set(judge({"expression": ("fear",)})) == {"expression", "unusable"}
        assert not any(name.startswith("place") for name in judge({"occlusion": ("hand",)}))

    def test_of_an_unusable_face_nothing_else_counts(self):
        assert set(judge({"unusable": ("unusable",), "expression": ("fear",)})) == {"unusable"}


class TestVerdicts:
    def test_majority_and_disputes(self):
        (verdict,) = verdicts([expression("a.png", *pair) for pair in (("1", "fear"), ("2", "anger"), ("3", "fear"))])
        assert (verdict.annotators, verdict.values["expression"]) == (3, "fear")
        assert set(verdict.disputed) == {"expression"}
        assert verdict.disputed["expression"].answers == {"1": "fear", "2": "anger", "3": "fear"}
        assert verdict.disputed["expression"].reason == "majority of 3 annotators: 2 fear, 1 anger"

    def test_one_against_one_is_no_majority(self):
        (verdict,) = verdicts([expression("a.png", "1", "fear"), expression("a.png", "2", "anger")])
        assert "expression" not in verdict.values
        assert hand_label(verdict).expression == ""

    def test_most_call_it_unusable(self):
        said = [say("a.png", "1", unusable=("unusable",)), say("a.png", "2", unusable=("unusable",))]
        (verdict,) = verdicts([*said, expression("a.png", "3", "fear")])
        assert verdict.values == {"unusable": "yes"}
        assert {name: each.reason for name, each in verdict.disputed.items()} == {
            "unusable": "majority of 3 annotators: 2 yes, 1 no"
        }

    def test_one_calls_it_unusable(self):
        """A vote is one of all annotators of the face, not of those who answered."""
        unusable = say("a.png", "2", unusable=("unusable",))
        (verdict,) = verdicts([say("a.png", "1", expression=("fear",), occlusion=("hand",)), unusable])
        assert not verdict.values
        reasons = {name: each.reason for name, each in verdict.disputed.items()}
        assert reasons == {
            "expression": "no majority of 2 annotators: 1 fear, 1 unusable",
            "occluded": "no majority of 2 annotators: 1 yes, 1 unusable",
            "occlusion: hand": "no majority of 2 annotators: 1 yes, 1 unusable",
            "unusable": "no majority of 2 annotators: 1 no, 1 yes",
        }
        row = hand_label(verdict)
        assert (row.expression, row.occlusion, row.unusable, row.agreed) == ("", "", "", "no")

    def test_two_of_three_hold_against_an_unusable(self):
        said = [expression("a.png", "1", "fear"), expression("a.png", "2", "fear")]
        (verdict,) = verdicts([*said, say("a.png", "3", unusable=("unusable",))])
        assert verdict.values == {"expression": "fear", "unusable": "no"}
        assert set(verdict.disputed) == {"unusable"}

    def test_questions_that_were_passed_over(self):
        said = [expression("a.png", "1", "fear"), say("a.png", "2", expression=("fear",), pose_bin=(">45",))]
        (verdict,) = verdicts(said)
        assert "pose_bin" not in verdict.values
        assert verdict.disputed["pose_bin"].answers == {"1": "no answer", "2": ">45"}
        assert verdict.disputed["pose_bin"].reason == "no majority of 2 annotators: 1 no answer, 1 >45"

    def test_kappa_leaves_out_who_called_it_unusable(self):
        said = [expression("a.png", "1", "fear"), expression("a.png", "2", "fear"), expression("b.png", "1", "fear")]
        found = {each.field: each for each in agreements([*said, say("b.png", "2", unusable=("unusable",))])}
        assert (found["expression"].faces, found["unusable"].faces) == (1, 2)

    def test_tables(self, tmp_path):
        said = [
            say("a.png", "1", expression=("fear",), occlusion=("mask", "out of frame"), place=("lower", "left")),
            say("a.png", "2", expression=("fear",), occlusion=("mask", "out of frame"), place=("lower",)),
            say("ä, b.png", "1", occlusion=("none",), pose_bin=(">45",)),
        ]
        held = verdicts(said)
        write_hand_labels(tmp_path / "made" / "labels.csv", held)
        assert write_disagreements(tmp_path / "d.csv", held) == 1
        assert (tmp_path / "d.csv").read_text().splitlines()[1] == (
            'a.png,0,place: left,,1: yes; 2: no,"no majority of 2 annotators: 1 yes, 1 no"'
        )
        back = read_hand_labels(tmp_path / "made" / "labels.csv")
        assert list(back.values()) == [hand_label(verdict) for verdict in held]
        first, second = back.values()
        assert (first.occlusion, first.place, first.agreed, first.annotators) == ("mask+out of frame", "lower", "no", 2)
        assert (second.occluded, second.pose_bin, second.agreed) == ("no", ">45", "yes")

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("a.png,0,", "a.png,one,", "line 2: column face: expected a number, found 'one'"),
            ("no,fear", "perhaps,fear", "line 2: column unusable: expected yes or no, found 'perhaps'"),
            ("annotators", "people", "missing: annotators"),
        ],
    )
    def test_bad_tables(self, tmp_path, old, new, message):
        path = tmp_path / "labels.csv"
        write_hand_labels(path, verdicts([expression("a.png", "1", "fear")]))
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(DatasetError, match=message):
            read_hand_labels(path)
