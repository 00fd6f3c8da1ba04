"""No verdict on what is no number or has learned nothing, on either side of a gate, for every task.

That is outputs that are not finite, and models no better than an answer that reads no text; every rendering says so
beside the verdict.
"""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers import tiny_task
from lxml import etree
from pydantic import ValidationError
from report_sample import sample_report

from edgeopt.cli.summary import show_summary
from edgeopt.gates.chance import looked_at, standing
from edgeopt.gates.decide import decide
from edgeopt.gates.evidence import Evidence
from edgeopt.gates.notes import warnings
from edgeopt.measure.accuracy import largest_difference
from edgeopt.report.card import render_card
from edgeopt.report.github import commands, summary
from edgeopt.report.html import render_html
from edgeopt.report.junit import junit
from edgeopt.report.markdown import render_markdown
from edgeopt.report.suite import Suite
from edgeopt.spec.recipe import GateSpec, TaskSpec
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.greedy import write


def task(type_: str = "text-classification", names: tuple[str, ...] = ("no", "yes"), **more: Any) -> Task:
    return task_of(TaskSpec.model_validate(tiny_task("x", type=type_, **more)), names)


def evidence(of: Task, labels: Any, baseline: Any, candidate: Any, precision: str = "fp32") -> Evidence:
    sides: list[Any] = [
        SimpleNamespace(metrics=of.metrics(labels, x), precision=precision) for x in (baseline, candidate)
    ]
    return Evidence(of, labels, baseline, candidate, *sides, [])


def right(labels: Any, share: float, seed: int = 0) -> Any:
    """Outputs of which that share is right."""
    wrong = np.random.default_rng(seed).random(len(labels)) >= share
    return np.eye(2)[np.where(wrong, 1 - labels, labels)]


LABELS = (np.arange(1000) % 100 < 53).astype(int)
ALWAYS = np.tile([0.0, 1.0], (1000, 1))


# chance, by hand


def test_chance_of_each_metric_of_classes() -> None:
    of, good = task(), right(LABELS, 0.83)
    assert (standing(of, "accuracy", LABELS, good).level, standing(of, "accuracy", LABELS, good).answer) == (
        0.53,
        "always answering 'yes'",
    )
    assert standing(of, "f1", LABELS, good).level == pytest.approx(2 * 0.53 / 1.53)  # precision .53, recall 1
    for metric in ("precision", "recall", "matthews"):
        found = standing(of, metric, LABELS, good)
        assert (found.metric, found.level, found.no_better, found.untold) == ("matthews", 0.0, False, False)
    assert standing(of, "recall", LABELS, ALWAYS).no_better  # though its recall is 1
    rare = (np.arange(1000) % 100 < 8).astype(int)
    # of the rare class, which F1 is of
    assert standing(of, "f1", rare, np.eye(2)[rare]).answer == "always answering 'yes'"
    three = task(names=("a", "b", "c"))
    assert standing(three, "f1", np.arange(300) % 3, np.eye(3)[np.random.default_rng(1).integers(0, 3, 300)]).untold


def test_chance_of_choices_is_one_place() -> None:
    of = task("multiple-choice", tuple("ABCD"), choices=["a", "b"])
    labels = np.arange(400) % 4
    found = standing(of, "accuracy", labels, np.eye(4)[labels])
    assert (found.level, found.untold) == (0.25, False)
    assert standing(of, "accuracy", labels, np.random.default_rng(0).standard_normal((400, 4))).untold


def test_chance_of_scores_is_no_relation() -> None:
    of = task("text-regression", ())
    labels, noise = np.linspace(0, 5, 200), np.random.default_rng(0).standard_normal((200, 1))
    for metric in ("pearson", "spearman"):
        assert standing(of, metric, labels, labels[:, None] + noise).untold is False
        found = standing(of, metric, labels, noise)
        assert found.untold and abs(found.level) < 1e-6 and found.answer == "no relation at all"


def tagged(tags: Any) -> Any:
    return np.eye(3)[tags]


def test_chance_of_tags_is_the_commonest_tag() -> None:
    of = task("token-classification", ("O", "B-PER", "I-PER"))
    labels = np.tile([0, 0, 0, 1, 2], (60, 1))
    assert standing(of, "accuracy", labels, tagged(labels)).level == pytest.approx(0.6)
    assert standing(of, "f1", labels, tagged(labels)).level < 0.2
    assert standing(of, "f1", labels, tagged(np.zeros_like(labels))).no_better
    assert not standing(of, "f1", labels, tagged(labels)).untold
    mostly = np.tile([1, 1, 1, 0], (60, 1))  # where entities are most words, naming all is the better guess
    assert standing(of, "accuracy", mostly, tagged(mostly)).answer == "always answering 'B-PER'"


def test_tags_that_read_nothing_are_no_better_than_chance() -> None:
    """Every word B-PER, and tags drawn as often as they occur, were clearly better: always O finds no entity."""
    of, rng = task("token-classification", ("O", "B-PER", "I-PER")), np.random.default_rng(7)
    labels = rng.choice(3, (120, 8), p=[0.5, 0.45, 0.05])
    every = standing(of, "f1", labels, tagged(np.ones_like(labels)))
    assert every.no_better and every.answer == "always answering 'B-PER'"
    for _ in range(10):
        assert standing(of, "f1", labels, tagged(rng.permutation(labels.ravel()).reshape(labels.shape))).untold
    half = np.where(rng.random(labels.shape) < 0.8, labels, 0)
    assert not standing(of, "f1", labels, tagged(half)).untold
    short = of.stack_labels([(0, 1, 0), (1,), (1, 2)])
    for outputs in of.trivial(short, of.stack([np.eye(3)[[0] * n] for n in (3, 1, 2)])).values():
        assert of.sound(short, outputs).all() and of.predict(outputs).shape == short.shape


def test_chance_of_coreference_is_all_or_none() -> None:
    """Documents of four mentions, 0 and 1 of one entity, 2 and 3 of another."""
    of = task("coreference", label=None)
    pairs = [(later, earlier) for later in range(1, 4) for earlier in range(later)]
    labels = np.array([(int(a // 2 == b // 2), d, a, b, a // 2, b // 2) for d in range(30) for a, b in pairs])
    truth = np.eye(2)[labels[:, 0]]
    found = standing(of, "conll_f1", labels, truth)
    assert found.value == pytest.approx(1.0)
    assert 0 < found.level < 1 and found.answer == "taking all mentions for one entity" and not found.untold
    for same in (0, 1):
        assert standing(of, "conll_f1", labels, np.tile(np.eye(2)[same], (len(labels), 1))).no_better
    assert standing(of, "f1", labels, truth).level == pytest.approx(2 * (1 / 3) / (4 / 3))
    assert standing(of, "recall", labels, truth).metric == "f1"


def test_chance_of_summaries_is_one_of_another_document() -> None:
    """A gate on ROUGE passed at 0.0000 → 0.0020."""
    of = task("summarization", (), label="summary", metrics=["rouge1"])
    words = [
        "the",
        "a",
        "of",
        "to",
        "and",
        "city",
        "river",
        "king",
        "war",
        "law",
        "bridge",
        "song",
        "tree",
        "ship",
        "stone",
        "bread",
    ]
    rng = np.random.default_rng(0)
    labels = np.array(
        [" ".join(["the", *rng.choice(words[5:], 4, replace=False), "of"]) for _ in range(40)], dtype=object
    )
    found = standing(of, "rouge1", labels, labels)
    assert found.value == pytest.approx(1.0) and 0.2 < found.level < 0.8 and not found.untold
    nothing, little = np.full(40, "", dtype=object), np.array(["", *["zebra"] * 38, "the"], dtype=object)
    said = evidence(of, labels, nothing, little)
    gate = decide(GateSpec(metric="rouge1", max_drop=0.1), said)
    assert gate.verdict == "inconclusive" and "the baseline's rouge1 of 0.0000 is no better than" in gate.reason
    (warning,) = warnings(said, ["rouge1"])
    assert "baseline's rouge1 of 0.0000" in warning and "the candidate's rouge1 of 0.0" in warning


# what it does to a verdict


def test_a_collapsed_baseline_passes_no_drop() -> None:
    """A baseline of the majority beside a candidate at .83 read `+31 points`, pass."""
    said = evidence(task(), LABELS, ALWAYS, right(LABELS, 0.83))
    gate = decide(GateSpec(metric="accuracy", max_drop=0.01), said)
    assert (gate.verdict, gate.value) == ("inconclusive", pytest.approx(-0.3, abs=0.05))
    assert (
        "the baseline's accuracy of 0.5300 is no better than always answering 'yes' (0.5300): a drop from it says "
        "nothing" in gate.reason
    )
    assert decide(GateSpec(metric="accuracy", max_drop_relative=0.01), said).verdict == "inconclusive"
    assert decide(GateSpec(metric="accuracy", min=0.7), said).verdict == "pass"  # looks at the candidate alone
    (warning,) = warnings(said, ["accuracy"])
    assert warning.endswith(
        "the candidate is compared with a model that has learned nothing measurable on these rows; "
        "train the baseline longer."
    )


def test_a_model_that_reads_rare_classes_is_not_taken_for_chance() -> None:
    """Where classes are rare, a model that reads may be no better by the metric than an answer that does not.

    Of one row in twenty a balanced accuracy of .65 is an accuracy below always no's, and of nine in ten an F1 below
    always yes's.
    """
    rng = np.random.default_rng(0)
    for share, right_of, metric in ((0.05, (0.8, 0.5), "accuracy"), (0.9, (0.5, 0.8), "f1")):
        labels = (rng.random(1000) < share).astype(int)
        reads = np.eye(2)[np.where(rng.random(1000) < np.array(right_of)[labels], labels, 1 - labels)]
        said = evidence(task(), labels, reads, reads)
        assert said.standing("baseline", metric).no_better
        assert decide(GateSpec(metric=metric, max_drop=0.05), said).verdict == "pass"
        assert "is no better than always answering" in warnings(said, [metric])[0]
        blind = np.eye(2)[rng.permutation(reads.argmax(1))]  # as often, and reads nothing
        assert (
            decide(GateSpec(metric=metric, max_drop=0.05), evidence(task(), labels, blind, blind)).verdict
            == "inconclusive"
        )


def test_a_collapsed_candidate_passes_no_drop_and_fails_as_ever() -> None:
    said = evidence(task(), LABELS, right(LABELS, 0.7), ALWAYS)
    assert decide(GateSpec(metric="accuracy", max_drop=0.4), said).verdict == "inconclusive"
    assert decide(GateSpec(metric="accuracy", max_drop=0.4), said).reason.endswith("a drop to it says nothing")
    assert decide(GateSpec(metric="accuracy", max_drop=0.0), said).verdict == "fail"
    (warning,) = warnings(evidence(task(), LABELS, right(LABELS, 0.83), ALWAYS, precision="int8"), ["accuracy"])
    assert (
        "The candidate's accuracy of 0.5300" in warning
        and "the baseline is better" in warning
        and "policy: auto" in warning
    )


def test_rows_that_cannot_tell_are_said() -> None:
    few = LABELS[:100:3], right(LABELS[:100:3], 0.7)
    said = evidence(task(), few[0], few[1], few[1])
    assert decide(GateSpec(metric="accuracy", max_drop=0.3), said).verdict == "pass"
    (warning,) = warnings(said, ["accuracy"])
    assert "not shown by 34 rows to be better than" in warning and "report on more rows" in warning
    six = np.array([0, 1] * 3)
    # right six times is luck once in twenty
    assert warnings(evidence(task(), six, np.eye(2)[six], np.eye(2)[six]), ["matthews"])
    seven = np.array([0, 1] * 5)
    assert not warnings(evidence(task(), seven, np.eye(2)[seven], np.eye(2)[seven]), ["matthews"])
    assert not warnings(
        evidence(task(), LABELS, right(LABELS, 0.83), right(LABELS, 0.83, 1)), ["accuracy", "f1", "recall"]
    )


def test_no_confidence_is_rounded_to_certainty() -> None:
    said = evidence(task(), LABELS, right(LABELS, 0.83), right(LABELS, 0.83))
    for confidence, text in ((0.95, "95%"), (0.975, "97.5%"), (0.999, "99.9%"), (0.9999999, "99.99999%")):
        for more in ({"max_drop": 0.4}, {"min": 0.5}, {"max_drop": 0.4, "slice": "label"}):
            assert (
                f" with {text} confidence"
                in decide(
                    GateSpec.model_validate({"metric": "accuracy", "confidence": confidence, **more}), said
                ).reason
            )


def test_what_is_held_against_chance() -> None:
    gates = [GateSpec(metric="size", max_mb=1), GateSpec(metric="f1", min=0.5)]
    assert looked_at(gates, task().spec) == ["f1", "accuracy"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"metric": "accuracy", "max_drop": 5},
            "cannot fail: accuracy is between 0 and 1, and no drop is larger than 1",
        ),
        ({"metric": "rougeL", "max_drop": 1}, "cannot fail"),
        ({"metric": "matthews", "max_drop": 2}, "between -1 and 1"),
        ({"metric": "f1", "min": 0}, "cannot fail: f1 is between 0 and 1"),
        ({"metric": "pearson", "min": -1}, "cannot fail"),
        ({"metric": "accuracy", "min": 90}, "cannot be reached: accuracy is between 0 and 1"),
        ({"metric": "size", "max_ratio": 1e5}, "cannot fail"),
        ({"metric": "latency.p50", "min_speedup": 1e-5}, "cannot fail"),
    ],
)
def test_a_bound_that_decides_nothing_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        GateSpec.model_validate(given)


def test_bounds_that_can_fail_stay() -> None:
    for given in ({"max_drop": 0.99}, {"min": 0.01}, {"min": 1.0}):
        GateSpec.model_validate({"metric": "accuracy", **given})
    GateSpec.model_validate({"metric": "spearman", "max_drop": 1.5})
    GateSpec.model_validate({"metric": "spearman", "min": 0})


# outputs that are no numbers


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_one_output_that_is_no_number_fails_every_gate_that_looks_at_it(wrong: float) -> None:
    """A graph of NaN answers class 0: `0.9243 → 0.9243`, pass, where that is most rows."""
    good = right(LABELS, 0.9)
    broken = good.copy()
    broken[[3, 7], 1] = wrong
    for base, other, side in ((good, broken, "candidate"), (broken, good, "baseline")):
        said = evidence(task(), LABELS, base, other)
        for bound in ({"max_drop": 0.5}, {"max_drop_relative": 0.5}):
            gate = decide(GateSpec.model_validate({"metric": "accuracy", **bound}), said)
            assert (gate.verdict, gate.value) == ("fail", None)
            assert (
                gate.reason == f"2 of 1000 rows have an output of the {side} that is no finite number (nan or infinite)"
            )
        assert decide(GateSpec(metric="accuracy", min=0.5), said).verdict == ("fail" if side == "candidate" else "pass")
        assert decide(GateSpec(metric="accuracy", max_drop=0.5, slice="worst"), said).verdict == "fail"
        (warning,) = warnings(said, ["accuracy"])  # a gate on size or latency stands beside it
        assert (
            warning.startswith(f"2 of 1000 rows have an output of the {side}") and "every gate on them fails" in warning
        )


def test_labels_and_scores_that_are_no_numbers_or_all_the_same() -> None:
    of, labels = task("text-regression", ()), np.linspace(0, 5, 50)
    good, flat, gate = labels[:, None], np.full((50, 1), 2.0), GateSpec(metric="pearson", max_drop=0.5)
    assert decide(gate, evidence(of, labels, good, good)).verdict == "pass"
    assert decide(gate, evidence(of, np.where(labels > 4.9, math.nan, labels), good, good)).verdict == "fail"
    assert decide(gate, evidence(of, labels, good, flat)).verdict == "fail"
    constant = decide(gate, evidence(of, labels, flat, good))
    assert (constant.verdict, constant.reason) == (
        "inconclusive",
        "the baseline's scores are all the same, and their correlation is not defined",
    )
    assert decide(GateSpec(metric="pearson", min=-0.5), evidence(of, labels, good, flat)).verdict == "fail"
    for rows in (labels[:1], np.full(50, 3.0)):  # the rows' fault, and no model's
        for bound in ({"max_drop": 0.5}, {"min": 0.5}):
            gate = GateSpec.model_validate({"metric": "pearson", **bound})
            found = decide(gate, evidence(of, rows, rows[:, None], rows[:, None]))
            assert (found.verdict, found.reason.partition(" rows are")[0]) == (
                "inconclusive",
                f"the labels of all {len(rows)}",
            )
    assert decide(gate, evidence(of, np.full(50, 1.0), good, good)).verdict == "inconclusive"


def test_scores_that_are_the_same_but_for_rounding_are_constant() -> None:
    of, labels = task("text-regression", ()), np.linspace(0, 5, 50)
    jitter = np.full((50, 1), 2.0) + 2e-7 * labels[:, None] / 5
    assert of.measure("pearson", labels, jitter) == of.measure("spearman", labels, jitter) == 0
    assert (
        decide(GateSpec(metric="spearman", max_drop=0.5), evidence(of, labels, labels[:, None], jitter)).verdict
        == "fail"
    )
    assert of.undefined("pearson", labels, 1e-9 * labels[:, None]) is None  # small, and not the same


@pytest.mark.filterwarnings("error")
def test_huge_labels_do_not_overflow() -> None:
    of, labels = task("text-regression", ()), np.linspace(-1, 1, 50) * 1e300
    found = standing(of, "pearson", labels, labels[:, None])
    assert found.value == pytest.approx(1) and not found.untold


def test_few_scores_tell_nothing() -> None:
    """Two rows passed, and 5 with a Spearman of .77."""
    of, labels = task("text-regression", ()), np.linspace(0, 5, 29)
    said = evidence(of, labels, labels[:, None], labels[:, None])
    for spec in ({"max_drop": 0.5}, {"max_drop_relative": 0.5}, {"min": 0.1}):
        gate = decide(GateSpec(metric="pearson", **spec), said)
        assert (
            (gate.verdict, gate.rows_needed) == ("inconclusive", 30)
            and " on 29 rows; " in gate.reason
            and gate.reason.endswith("nothing is told by fewer than 30 rows")
        )


def test_a_word_that_is_no_number_is_told_from_what_is_filled_up() -> None:
    of = task("token-classification", ("O", "B-PER", "I-PER"))
    labels = of.stack_labels([(0, 1, 0), (0,), (1, 2)])
    outputs = of.stack([np.eye(3)[list(tags)] for tags in ((0, 1, 0), (0,), (1, 2))])
    assert of.sound(labels, outputs).tolist() == [True, True, True]
    for word in (0, 1, 2):  # the last one too, behind which a row ends
        broken = outputs.copy()
        broken[0, word] = math.nan
        assert of.sound(labels, broken).tolist() == [False, True, True]
        again = of.stack(
            [json.loads(json.dumps(of.plain_output(o, label))) for o, label in zip(broken, labels, strict=True)]
        )
        assert of.sound(labels, again).tolist() == [False, True, True]
    assert decide(GateSpec(metric="f1", max_drop=0.5), evidence(of, labels, outputs, broken)).verdict == "fail"


def test_the_largest_difference_of_a_number_and_none_is_infinite() -> None:
    one = np.array([[1.0, math.nan], [2.0, 5.0]])
    assert largest_difference(one, np.array([[1.5, math.nan], [2.0, 4.0]])) == 1.0  # both are filled up there
    assert largest_difference(one, np.array([[1.5, 0.0], [2.0, 4.0]])) == math.inf


def test_a_summary_of_scores_that_are_no_numbers_is_none() -> None:
    with pytest.raises(FloatingPointError):
        write(lambda feed: np.full((1, 1, 5), math.nan), {}, start=0, end=1, max_length=4)
    of = task("summarization", (), label="summary", metrics=["rouge1"])
    labels = np.array(["a b", "c d"], dtype=object)
    broken = of.stack([None, "c d"])
    assert [of.plain_output(o, "") for o in broken] == [None, "c d"]
    gate = decide(GateSpec(metric="rouge1", max_drop=0.5), evidence(of, labels, labels, broken))
    assert gate.verdict == "fail" and "1 of 2 rows have an output of the candidate" in gate.reason


def test_nothing_is_said_of_answers_that_nobody_asked_for() -> None:
    empty: Any = np.empty(0)
    side: Any = SimpleNamespace(metrics={}, precision="fp32")
    assert warnings(Evidence(task(), LABELS, empty, empty, side, side, []), ["accuracy"]) == []
    alone = Evidence(task(), LABELS, ALWAYS, ALWAYS, side, side, [])  # a model without a baseline stands in its place
    (warning,) = warnings(alone, ["accuracy"])
    assert warning.startswith("The candidate's") and "baseline" not in warning


# beside the verdict

WARNING = "The candidate's accuracy of 0.5300 is no better than always answering '<yes>' (0.5300): train longer."


def test_a_warning_stands_beside_the_verdict_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    report = sample_report(warnings=[WARNING])
    page = render_html(report)
    header = page[page.index("<header") : page.index("</header>")]
    assert (
        'class="inconclusive"' in header
        and "pass, with a warning" in header
        and "&#39;&lt;yes&gt;&#39; (0.5300)" in header
    )
    text = render_markdown(report)
    assert text.index("PASS") < text.index("**Warning:** The candidate's") < text.index("gates passed")
    card = render_card(report, pair=True, quantized=True)
    assert "Verdict of its gates: **pass**, with a warning." in card and card.index(
        "**Warning:** The candidate's"
    ) < card.index("## Measured")
    show_summary(report)
    shown = capsys.readouterr().out.rstrip().splitlines()
    assert shown[-1] == "pass" and "warning: The candidate's accuracy of 0.5300" in " ".join(shown[-3:-1])
    suite = Suite("x", report.gates, warnings=report.warnings)
    (cases,) = etree.fromstring(junit([suite]).encode())
    assert all(f"WARNING: {WARNING}" in case[0].text for case in cases if case.tag == "testcase")
    assert cases[-1].tag == "system-out" and WARNING in cases[-1].text
    assert summary([suite]).startswith("## edgeopt: x: pass, with a warning\n\n**Warning:** The candidate's")
    (command,) = commands([suite], None)
    assert command.startswith("::warning title=beside the verdict pass%3A x::The candidate's")


def test_without_a_warning_nothing_changes() -> None:
    report = sample_report()
    assert "with a warning" not in render_html(report) + render_markdown(report) + render_card(
        report, pair=True, quantized=True
    )
