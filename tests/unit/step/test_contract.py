"""The order of steps: every pair of transforms against a table, and that one mistake is reported once."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest

from edgeopt.plan import PlannedStep
from edgeopt.step import registry
from edgeopt.step.contract import Contract, fold
from edgeopt.store.facts import Fact, Facts, facts
from edgeopt.support.errors import Place
from edgeopt.transforms.lower import LowerToOnnx


@dataclass(frozen=True)
class Step:
    """A step by the name of its transform."""

    use: str
    id: str
    line: int

    @property
    def place(self) -> Place:
        return Place("r.yaml", self.line)

    @property
    def contract(self) -> Contract:
        return LowerToOnnx.contract if self.use == "lower.onnx" else registry.get(self.use).contract


def codes(uses: list[str], start: Facts) -> list[str]:
    return [issue.code for issue in fold(start, [Step(use, f"{use}-{i}", i) for i, use in enumerate(uses)]).issues]


FINE_TUNED = facts(Fact.TORCH, Fact.TRAINED_HEAD)
BARE = facts(Fact.TORCH)
F, L, M, P, D, S, Q = (
    "finetune",
    "adapter.lora",
    "merge",
    "prune.magnitude",
    "quantize.dynamic",
    "quantize.static",
    "quantize.qat",
)

V, G, T = "adapter.ia3", "adapter.bottleneck", "pretrain.mlm"

#: What is wrong with the second step right after the first; the first is made legal by what PREPARE puts before it.
#: rows: first; columns: F, L, V, G, M, P, D, S, Q, T; "": nothing
TABLE = {
    F: ["", "", "", "", "E202", "", "", "", "", ""],
    L: ["E203", "E203", "E203", "E203", "", "E203", "E203", "E203", "E203", "E203"],
    V: ["E203", "E203", "E203", "E203", "", "E203", "E203", "E203", "E203", "E203"],
    G: ["E203", "E203", "E203", "E203", "E203", "E203", "", "", "E203", "E203"],
    M: ["", "", "", "", "E201", "", "", "", "", ""],
    P: ["", "E203", "", "", "E202", "", "", "", "", ""],
    D: ["E201", "E201", "E201", "E201", "E201", "E201", "E203", "E203", "E201", "E201"],
    S: ["E201", "E201", "E201", "E201", "E201", "E201", "E203", "E203", "E201", "E201"],
    T: ["", "", "", "", "E202", "E201", "E201", "E201", "E201", ""],
    Q: ["E201", "E201", "E201", "E201", "E201", "E201", "E203", "E203", "E201", "E201"],
}
#: Transforms that may stand where another of the table may.
LIKE = {
    "distill": F,
    "adapter.adalora": L,
    "adapter.qlora": L,
    "adapter.bitfit": F,
    "prune.layers": F,
    "pretrain.rtd": T,
    "prune.fisher": F,
    "prune.cofi": F,
    "adapter.prompt": G,
    "adapter.prefix": G,
}
PREPARE = {M: [L], D: ["lower.onnx"], S: ["lower.onnx"]}
ORDER = [F, L, V, G, M, P, D, S, Q, T]
ALL = [*ORDER, *LIKE]


def lowered(uses: list[str]) -> list[str]:
    """Steps with one lowering before the first that needs a graph, as the planner puts it."""
    first = next((i for i, use in enumerate(uses) if use in (D, S)), None)
    return (
        uses if first is None or {"lower.onnx", Q} & {*uses[:first]} else [*uses[:first], "lower.onnx", *uses[first:]]
    )


@pytest.mark.parametrize(("first", "second"), list(itertools.product(ALL, ALL)))
def test_pairs(first: str, second: str) -> None:
    uses = lowered([*PREPARE.get(first, []), first, second])
    expected = TABLE[LIKE.get(first, first)][ORDER.index(LIKE.get(second, second))]
    if (first in (D, S, Q)) and second == M:
        expected = "E201+E202"  # neither a torch module nor an adapter is left
    if first in ("prune.fisher", "prune.cofi") and second == "adapter.prefix":
        expected = "E203"  # the same number of heads in every layer
    if LIKE.get(first, first) == T and second in ("prune.fisher", "prune.cofi"):
        expected = "E201"  # they look at the loss on the labels
    assert "+".join(sorted(codes(uses, FINE_TUNED))) == expected


def test_the_table_has_every_built_in_transform() -> None:
    ours = {name for name in registry.names() if type(registry.get(name)).__module__.startswith("edgeopt.transforms.")}
    assert ours == set(ALL), "a new transform: add its row and column to TABLE"


@pytest.mark.parametrize("use", [P, "lower.onnx"])
def test_what_needs_a_trained_head(use: str) -> None:
    assert codes([use], FINE_TUNED) == []
    assert codes([use], BARE) == ["E202"]
    assert codes([F, use], BARE) == []
    assert codes([L, M, use], BARE) == []


@pytest.mark.parametrize(
    "uses",
    [
        [],
        [F],
        [F, F],
        [L, M],
        [L, M, L, M],
        [L, M, F, P, P, F],
        [F, P, "lower.onnx", S],
        [F, "lower.onnx", D],
        [G, "lower.onnx", S],
        [L, M, G, "lower.onnx"],
        [F, P, G, "lower.onnx"],
        [F, P, V, M, "lower.onnx"],
        ["adapter.qlora", M, P],
    ],
)
def test_legal_chains(uses: list[str]) -> None:
    assert codes(uses, BARE) == []


@pytest.mark.parametrize(
    ("uses", "expected"),
    [
        ([L, P, M], ["E203"]),  # the mend is to move the merge that is there
        ([L, F, P, M], ["E203"]),
        ([L, L, M], ["E203"]),
        ([P, L, M], ["E202"]),
        ([M, L], ["E202"]),
        (["lower.onnx", D, F], ["E202"]),
        (["lower.onnx", D, F, P], ["E202", "E201"]),
        ([F, P, L, M, F], ["E203"]),
        ([F, "lower.onnx", D, F, F], ["E201"]),
        ([G, M], ["E203"]),
        ([G, M, L, M], ["E203"]),
        (["adapter.qlora", "lower.onnx", D], ["E203"]),  # adapter and NF4 base are one thing in the way
        (["adapter.qlora", "adapter.qlora", M], ["E203"]),
        ([F, "lower.onnx", D, S, S], ["E203", "E203"]),  # two steps too many are two mistakes
    ],
)
def test_one_mistake_is_reported_once(uses: list[str], expected: list[str]) -> None:
    assert codes(uses, BARE) == expected


def test_facts_before_and_after() -> None:
    folded = fold(
        BARE, [Step(L, "a", 1), Step(M, "m", 2), Step(P, "p", 3), Step("lower.onnx", "o", 4), Step(S, "q", 5)]
    )
    assert folded.before == [
        BARE,
        facts(Fact.TORCH, Fact.ADAPTER, Fact.TRAINED_HEAD),
        FINE_TUNED,
        FINE_TUNED | {Fact.SPARSE},
        facts(Fact.ONNX, Fact.TRAINED_HEAD, Fact.SPARSE),
    ]
    assert folded.after == facts(Fact.ONNX, Fact.TRAINED_HEAD, Fact.SPARSE, Fact.INT8)


def test_messages_name_both_steps_their_lines_and_the_mend() -> None:
    (issue,) = fold(FINE_TUNED, [Step("lower.onnx", "onnx", 13), Step(D, "int8", 13), Step(F, "heal", 14)]).issues
    assert issue.render() == (
        "error[E201]: step 'heal' cannot run after 'int8'\n  --> r.yaml:14\n"
        "   |   13  int8  quantize.dynamic  removes   torch module\n"
        "   |   14  heal  finetune          requires  torch module\n"
        "  help: move 'heal' above 'int8'"
    )


def test_what_the_planner_puts_in_is_not_called_a_step_of_the_recipe() -> None:
    adapter = PlannedStep("adapt", L, "candidate", registry.get(L), registry.get(L).Params(), Place("r.yaml", 3))
    export = PlannedStep(
        "onnx", "lower.onnx", "candidate", LowerToOnnx(), LowerToOnnx.Params(), Place("r.yaml", 3), implied=True
    )
    (issue,) = fold(BARE, [adapter, export]).issues
    assert (issue.message, issue.help) == (
        "the export to ONNX cannot run after 'adapt'",
        "put a `merge` step after 'adapt'",
    )


def test_an_adapter_that_cannot_be_merged_says_so() -> None:
    (issue,) = fold(BARE, [Step(G, "adapt", 3), Step(M, "merge", 4)]).issues
    assert (issue.message, issue.help) == (
        "step 'merge' cannot run after 'adapt'",
        "remove 'merge': the adapter of 'adapt' cannot be merged, and is exported inside the graph",
    )
    (issue,) = fold(BARE, [Step(G, "adapt", 3), Step(P, "prune", 4)]).issues
    assert issue.help == "move 'prune' above 'adapt', whose adapter cannot be merged and is exported inside the graph"


def test_an_nf4_base_and_its_adapter_are_one_issue() -> None:
    (issue,) = fold(BARE, [Step("adapter.qlora", "adapt", 3), Step("lower.onnx", "onnx", 4)]).issues
    assert "NF4 base" in "".join(issue.context)
    assert issue.help == "put a `merge` step between 'adapt' and 'onnx'"


def test_the_graph_no_longer_has_an_adapter_apart() -> None:
    folded = fold(BARE, [Step(G, "adapt", 3), Step("lower.onnx", "onnx", 4)])
    assert folded.after == facts(Fact.ONNX, Fact.TRAINED_HEAD)
