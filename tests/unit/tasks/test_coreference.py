"""Coreference: what CoNLL-2012 files say, which pairs are made of it, and the score, against other ways to reach it."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import coref_reference as reference
import numpy as np
import pytest

from edgeopt.data import Split, TaskData, load_data
from edgeopt.data.files import read_rows
from edgeopt.spec.recipe import PairsSpec, TaskSpec
from edgeopt.support.errors import InputError, Place
from edgeopt.tasks import clusters, task_of
from edgeopt.tasks.mentions import Mention, marked, pairs, read_document

#: As in CoNLL-2012: more columns than are read, spaces of several widths, mentions in mentions, two parts.
CONLL = """\
#begin document (bn/abc/00/abc_0001); part 000
bn/abc/00/abc_0001   0   0     Ann     NNP  (TOP(S(NP*      -   -   -   ann   *   (7)
bn/abc/00/abc_0001   0   1     sees    VBZ   (VP*          see  01  1   ann   *     -
bn/abc/00/abc_0001   0   2     the      DT   (NP*           -   -   -   ann   *  (12
bn/abc/00/abc_0001   0   3     dog      NN    *             -   -   -   ann   *     -
bn/abc/00/abc_0001   0   4     of       IN   (PP*           -   -   -   ann   *     -
bn/abc/00/abc_0001   0   5     her     PRP$  (NP*           -   -   -   ann   *   (7|(3
bn/abc/00/abc_0001   0   6   sister     NN    *             -   -   -   ann   *   3)|7)|12)
bn/abc/00/abc_0001   0   7   -LRB-    -LRB-   *             -   -   -   ann   *     -

bn/abc/00/abc_0001   0   0     It      PRP   (TOP*          -   -   -   ann   *   (12)
bn/abc/00/abc_0001   0   1     barks   VBZ    *))          bark 01  1   ann   *     -

#end document
#begin document (bn/abc/00/abc_0001); part 001
bn/abc/00/abc_0001   1   0     Bob     NNP   *   -   -   -   bob   *   (7)

bn/abc/00/abc_0001   1   0     He      PRP   *   -   -   -   bob   *   (7)
#end document
"""
FIRST = [
    {
        "words": ["Ann", "sees", "the", "dog", "of", "her", "sister", "-LRB-"],
        "coref_spans": [[7, 0, 0], [3, 5, 6], [7, 5, 6], [12, 2, 6]],
    },
    {"words": ["It", "barks"], "coref_spans": [[12, 0, 0]]},
]
SECOND = [{"words": ["Bob"], "coref_spans": [[7, 0, 0]]}, {"words": ["He"], "coref_spans": [[7, 0, 0]]}]
HERE = Place("rows.jsonl", 3)


def spec(**keys: Any) -> TaskSpec:
    return TaskSpec.model_validate({"type": "coreference", "dataset": {"path": "x"}, "text": "sentences", **keys})


@pytest.mark.parametrize("name", ["a.conll", "train.english.v4_gold_conll", "a.b_CONLL"])
def test_documents_of_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(CONLL)
    assert list(read_rows(tmp_path / name)) == [(1, {"sentences": FIRST}), (15, {"sentences": SECOND})]


def _word(last: str) -> str:
    return f"d 0 0 word {last}\n"


_BEGIN, _END = "#begin document (d); part 000\n", "#end document\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (_BEGIN + _word("(3") + "\n" + _word("3)") + _END, 2, "entity 3 begins that does not end in its sentence"),
        (_BEGIN + _word("(3|(3") + _word("3)") + _END, 2, "entity 3 begins"),
        (_BEGIN + _word("-") + _word("3)") + _END, 3, "entity 3 ends that has not begun"),
        (_BEGIN + _word("(3)|4)") + _END, 2, "entity 4 ends"),
        (_BEGIN + _word("3") + _END, 2, "'3' in the last column is no mention"),
        (_BEGIN + _word("(3)|") + _END, 2, "no mention"),
        (_BEGIN + _word("((3)") + _END, 2, "no mention"),
        (_BEGIN + _word("_") + _END, 2, "no mention"),
        (_BEGIN + "d 0 0 word\n" + _END, 2, "4 columns, but needs at least 5"),
        (_word("-"), 1, "is outside a document"),
        ("\n" + _END, 2, "a document ends here that has not begun"),
        (_BEGIN + _word("-") + _BEGIN + _END, 3, "begins in line 1 has not ended"),
        ("\n" + _BEGIN + _word("-"), 2, "does not end"),
    ],
)
def test_the_line_of_what_is_malformed(tmp_path: Path, text: str, line: int, message: str) -> None:
    (tmp_path / "a.conll").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        list(read_rows(tmp_path / "a.conll"))
    (issue,) = error.value.issues
    assert (issue.code, issue.place and issue.place.line) == ("E302", line)


def test_the_same_rows_from_a_file_and_from_the_form_of_the_hub(tmp_path: Path) -> None:
    """On the hub a row is a document with all its parts, whose entities are numbered anew."""
    (tmp_path / "a.conll").write_text(CONLL)
    parts = [[{**s, "part_id": i, "pos_tags": []} for s in part] for i, part in enumerate((FIRST, SECOND))]
    (tmp_path / "hub.jsonl").write_text(
        json.dumps({"document_id": "bn/abc/00/abc_0001", "sentences": [*parts[0], *parts[1]]})
    )
    train, report = (
        load_data(
            spec(dataset={"data_files": {"train": str(tmp_path / name), "validation": str(tmp_path / name)}}), tmp_path
        )
        for name in ("a.conll", "hub.jsonl")
    )
    assert train.report.fingerprint == report.report.fingerprint
    assert train.label_names == ("no", "yes")
    assert train.report.documents == (0,) * 10 + (1,)


def test_a_mention_is_marked_and_brackets_of_the_text_are_round() -> None:
    ((sentences, mentions),) = read_document(FIRST, "sentences", HERE)
    assert mentions == [(0, 0, 0, 7), (0, 2, 6, 12), (0, 5, 6, 3), (0, 5, 6, 7), (1, 0, 0, 12)]
    assert marked(sentences[0], mentions[1], 25) == "Ann sees [ the dog of her sister ] ("
    assert marked(sentences[0], mentions[2], 1) == "of [ her sister ] ("
    assert marked(sentences[0], mentions[0], 0) == "[ Ann ]"
    assert marked(("x", "["), mentions[0], 25) != marked(sentences[0], mentions[0], 25)


def test_pairs_are_those_with_the_nearest_mentions_of_the_window() -> None:
    mentions = [Mention(sentence, word, word, 0) for sentence, word in ((0, 0), (0, 1), (1, 0), (2, 0), (9, 0))]
    found = list(pairs(mentions, PairsSpec(max_antecedents=2, window=1)))
    assert found == [(1, 0), (2, 1), (2, 0), (3, 2), (4, 3)]  # the last has none in the window
    assert list(pairs(mentions, PairsSpec(max_antecedents=9, window=9))) == [
        (a, b) for a in range(5) for b in reversed(range(a))
    ]
    assert list(pairs(mentions[:1], PairsSpec())) == []


def test_a_row_is_two_marked_sentences_and_knows_its_clusters(tmp_path: Path) -> None:
    task = task_of(spec(pairs={"max_antecedents": 1}), ("no", "yes"))
    rows = task.read_all({"sentences": FIRST}, HERE)
    rows = [*rows, *task.read_all({"sentences": SECOND}, Place("rows.jsonl", 4))]
    assert rows[-2][0] == ("Ann sees the dog of [ her sister ] (", "[ It ] barks")
    assert task.labels(rows) == (
        (0, 0, 1, 0, 12, 7),
        (0, 0, 2, 1, 3, 12),
        (0, 0, 3, 2, 7, 3),
        (0, 0, 4, 3, 12, 7),
        (1, 1, 1, 0, 7, 7),
    )
    assert task.classes(rows, None) == ["no", "yes"]
    with pytest.raises(InputError, match="no two mentions"):
        task.classes(rows[:4], None)
    with pytest.raises(InputError, match="every pair"):
        task.classes(rows[4:], None)


def test_documents_of_one_line_are_documents(tmp_path: Path) -> None:
    """A JSON list may stand on one line, where every row has the same place."""
    for name, end in (("a.json", ", "), ("b.json", ",\n")):
        (tmp_path / name).write_text("[" + end.join(json.dumps({"sentences": d}) for d in (FIRST, SECOND, FIRST)) + "]")
    splits = [
        load_data(
            spec(dataset={"data_files": {"train": name, "validation": name}}, pairs={"max_antecedents": 1}), tmp_path
        ).report
        for name in ("a.json", "b.json")
    ]
    assert splits[0] == splits[1] and set(splits[0].documents) == {0, 1, 2}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("Ann slept .", "no list of sentences"),
        ([["Ann"]], "lacks words or coref_spans"),
        ([{"words": ["Ann"]}], "lacks words or coref_spans"),
        ([{"words": "Ann", "coref_spans": []}], "not a list"),
        ([{"words": ["Ann", ""], "coref_spans": []}], "empty"),
        ([{"words": ["Ann"], "coref_spans": None}], "coref_spans is no list"),
        ([{"words": ["Ann"], "coref_spans": [[1, 0, 1]]}], "no mention in a sentence of 1 words"),
        ([{"words": ["Ann", "B"], "coref_spans": [[1, 1, 0]]}], "no mention"),
        ([{"words": ["Ann"], "coref_spans": [[True, 0, 0]]}], "no mention"),
        ([{"words": ["Ann"], "coref_spans": [[1, 0]]}], "no mention"),
    ],
)
def test_a_document_that_is_none_is_refused_at_its_place(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        task_of(spec()).read_all({"sentences": value}, HERE)
    assert error.value.issues[0].place == HERE


def sets(text: str) -> list[frozenset[int]]:
    return [frozenset(map(ord, cluster)) for cluster in text.split()]


@pytest.mark.parametrize(
    ("key", "response", "metric", "recall", "precision"),
    [
        # the example of Pradhan et al. 2014, by hand
        ("abc defg", "ab cd fghi", clusters.muc, 2 / 5, 2 / 5),
        ("abc defg", "ab cd fghi", clusters.b_cubed, 35 / 84, 4 / 8),
        ("abc defg", "ab cd fghi", clusters.ceaf_e, 1.3 / 2, 1.3 / 3),
        # cases 2 to 4 of the reference scorer's own tests
        ("a bc def", "a de", clusters.ceaf_e, 0.6, 0.9),
        ("a bc def", "a bcx defy z", clusters.ceaf_e, 0.88571, 0.66429),
        ("a bc def", "a bcx dy z", clusters.ceaf_e, 0.73333, 0.55),
        ("abcd", "ab cd", clusters.muc, 2 / 3, 1),  # Vilain et al. 1995
    ],
)
def test_known_scores(key: str, response: str, metric: Any, recall: float, precision: float) -> None:
    a, b, c, d = metric(sets(key), sets(response))
    assert (a / b, c / d) == pytest.approx((recall, precision), abs=1e-5)


def partition(rng: np.random.Generator, mentions: int) -> list[frozenset[int]]:
    return list(clusters.clusters(dict(enumerate(rng.integers(0, 4, mentions).tolist()))))


def random_documents(count: int) -> list[tuple[Collection[frozenset[int]], Collection[frozenset[int]]]]:
    rng = np.random.default_rng(0)
    return [(partition(rng, n), partition(rng, n)) for n in rng.integers(2, 12, count)]


def test_scores_are_those_of_other_ways_to_compute_them() -> None:
    documents = random_documents(60)
    for key, response in documents:
        for name in ("muc", "b_cubed", "ceaf_e"):
            assert getattr(clusters, name)(key, response) == pytest.approx(getattr(reference, name)(key, response)), (
                name
            )
    total = sum(clusters.sums(*d) for d in documents)
    assert clusters.conll_f1(total[None])[0] == pytest.approx(reference.conll_f1(documents))


def test_scores_are_those_of_scorch() -> None:
    scores = pytest.importorskip("scorch.scores")
    for key, response in random_documents(60):
        if key and response:
            for mine, theirs in (
                (clusters.muc, scores.muc),
                (clusters.b_cubed, scores.b_cubed),
                (clusters.ceaf_e, scores.ceaf_e),
            ):
                a, b, c, d = mine(key, response)
                assert (a / b, c / d) == pytest.approx(theirs(key, response)[:2])


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ([(1, 0, 2.0), (2, 1, 1.0), (2, 0, 3.0)], {0: 0, 1: 0, 2: 0}),
        ([(1, 0, -2.0), (2, 1, 1.0), (2, 0, 3.0)], {0: 0, 1: 1, 2: 0}),  # the surest
        ([(1, 0, -2.0), (2, 1, 1.0), (2, 0, 1.0)], {0: 0, 1: 1, 2: 1}),  # the nearest of two
        ([(1, 0, 0.0), (2, 1, -1.0), (2, 0, 0.0)], {0: 0, 1: 1, 2: 2}),  # p = .5 is not above .5
        ([(1, 0, 0.0), (5, 1, 1.0), (7, 5, 1.0)], {0: 0, 1: 1, 5: 1, 7: 1}),
    ],
)
def test_a_mention_joins_the_antecedent_it_is_surest_of(
    links: list[tuple[int, int, float]], expected: dict[int, int]
) -> None:
    assert clusters.best_first(links) == expected


def scored(rng: np.random.Generator, documents: int, noise: float) -> tuple[Any, Any, Any]:
    """The task, labels and outputs of documents of ten mentions and all their pairs."""
    task = task_of(spec(metrics=["conll_f1", "f1", "precision", "recall", "accuracy"]), ("no", "yes"))
    labels = []
    for document in range(documents):
        entity = rng.integers(0, 4, 10).tolist()
        labels += [
            (int(entity[a] == entity[b]), document, a, b, entity[a], entity[b])
            for a in range(10)
            for b in reversed(range(a))
        ]
    array = task.stack_labels(labels)
    return task, array, np.eye(2)[array[:, 0]] + rng.normal(0, noise, (len(array), 2))


def test_metrics_of_a_split() -> None:
    import sklearn.metrics as sk

    task, labels, outputs = scored(np.random.default_rng(1), 30, 0.6)
    found = task.metrics(labels, outputs)
    truth, predicted = labels[:, 0], outputs.argmax(1)
    documents = []
    for d in range(30):
        rows = labels[:, 1] == d
        gold = {
            **{int(m): int(e) for m, e in labels[rows][:, [2, 4]]},
            **{int(m): int(e) for m, e in labels[rows][:, [3, 5]]},
        }
        links = {
            a: max((x[1] - x[0], b) for (_, _, c, b, *_), x in zip(labels[rows], outputs[rows], strict=True) if c == a)
            for a in range(1, 10)
        }
        heads = list(range(10))
        for a in range(1, 10):
            heads[a] = heads[links[a][1]] if links[a][0] > 0 else a
        documents.append((clusters.clusters(gold), clusters.clusters(dict(enumerate(heads)))))
    assert found == pytest.approx(
        {
            "conll_f1": reference.conll_f1(documents),
            "f1": sk.f1_score(truth, predicted),
            "precision": sk.precision_score(truth, predicted),
            "recall": sk.recall_score(truth, predicted),
            "accuracy": sk.accuracy_score(truth, predicted),
        }
    )
    assert 0.2 < found["conll_f1"] < 0.95
    assert task.measure("conll_f1", labels, np.eye(2)[truth]) == 1.0
    assert task.measure("conll_f1", labels, np.eye(2)[np.zeros_like(truth)]) == 0.0
    assert (
        "300 in 1350 pairs" in task.notes(labels, labels)[0]
        and "30 here. With every pair right conll_f1 would be 1.0000." in task.notes(labels, labels)[0]
    )


@pytest.mark.parametrize("metric", ["f1", "accuracy", "conll_f1"])
def test_bounds_come_from_documents(metric: str) -> None:
    """Pairs that stand there twice are no more evidence, documents that do are."""
    # so that errors which they may hide are less than the bootstrap
    task, labels, base = scored(np.random.default_rng(2), 400, 0.7)
    candidate = base + np.random.default_rng(3).normal(0, 2.0, base.shape)
    once = task.difference(metric, labels, base, candidate, 0.95)
    twice = [np.concatenate([x, x]) for x in (labels, base, candidate)]
    assert task.difference(metric, *twice, 0.95) == pytest.approx(once)
    again = labels + np.array([0, 400, 0, 0, 0, 0])
    more = task.difference(metric, np.concatenate([labels, again]), *twice[1:], 0.95)
    assert more.value == pytest.approx(once.value)
    assert (more.high - more.low) / (once.high - once.low) == pytest.approx(0.5**0.5, abs=0.08)


def test_one_document_rules_nothing_out() -> None:
    task, labels, outputs = scored(np.random.default_rng(4), 1, 0.5)
    assert task.difference("f1", labels, outputs, -outputs, 0.95)[1:] == (-1, 1)
    assert task.bounds("f1", labels, outputs, 0.95)[1:] == (0, 1)
    assert "1 here, so few" in task.notes(labels, labels)[0]
    near = labels[labels[:, 2] - labels[:, 3] == 1]
    assert "some antecedents are in no pair" in task.notes(near, near)[0]


def test_labels_and_outputs_come_back_from_plain_data() -> None:
    task, labels, outputs = scored(np.random.default_rng(5), 3, 0.5)
    back = json.loads(
        json.dumps([[task.plain_label(x), task.plain_output(o, x)] for x, o in zip(labels, outputs, strict=True)])
    )
    np.testing.assert_array_equal(task.stack_labels([x for x, _ in back]), labels)
    np.testing.assert_array_equal(task.stack([o for _, o in back]), outputs)


def split(sizes: list[int]) -> Split:
    documents = tuple(d for d, size in enumerate(sizes) for _ in range(size))
    return Split(
        "train",
        tuple((str(i), "x") for i in range(len(documents))),
        tuple((i % 2, d, i) for i, d in enumerate(documents)),
        documents,
    )


def test_whole_documents_are_taken_from_a_split() -> None:
    sizes = [5, 9, 1, 7, 3, 8, 2, 6, 4, 5]
    train = split(sizes)
    few = train.first(20)
    assert 0 < len(few) <= 20 and len(few) == sum(sizes[d] for d in set(few.documents))
    assert len(train.first(1)) in sizes  # one document at least
    rest, chosen = TaskData(train, few, ("no", "yes"), "x").carve(0.2)
    assert len(set(chosen.documents)) == 2 and not set(chosen.documents) & set(rest.documents)
    assert sorted(rest.texts + chosen.texts) == sorted(train.texts)
    rest, chosen = TaskData(split([40]), few, ("no", "yes"), "x").carve(0.25)
    assert (len(rest), len(chosen)) == (30, 10)
