"""What may follow what: typed facts about a model state, and each transform's contract over them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from edgeopt.store.facts import Fact, Facts, facts
from edgeopt.support.errors import Issue, Place


@dataclass(frozen=True)
class Contract:
    """What a transform needs, must not meet, brings and takes away.

    data: which rows it reads: "train" (all of train), "calibration" (some of train) or none.
    needs: distributions whose versions belong to the step's key.
    extra: the extra of edgeopt that installs those of `needs` that do not come with it.
    """

    requires: Facts = frozenset()
    forbids: Facts = frozenset()
    adds: Facts = frozenset()
    removes: Facts = frozenset()
    data: Literal["train", "calibration"] | None = None
    needs: tuple[str, ...] = ()
    extra: str = ""


class Placed(Protocol):
    """What `fold` needs to know of a step."""

    @property
    def id(self) -> str: ...
    @property
    def use(self) -> str: ...
    @property
    def place(self) -> Place | None: ...
    @property
    def contract(self) -> Contract: ...


@dataclass
class Folded:
    """The facts before each step and after the last, and what is wrong with the order."""

    before: list[Facts] = field(default_factory=list)
    after: Facts = frozenset()
    issues: list[Issue] = field(default_factory=list)


#: How to come by a fact that a step requires, when nothing before it brings the fact.
_BRING = {
    Fact.TORCH: "no step can bring a torch module back from an ONNX graph",
    Fact.ONNX: "the lowering to ONNX is added by the planner",
    Fact.TRAINED_HEAD: "put a step that trains, such as finetune or adapter.lora, before it",
    Fact.ADAPTER: "put an adapter step, such as adapter.lora, before it",
    Fact.GRAPH_ADAPTER: "put an adapter step, such as adapter.bottleneck, before it",
    Fact.NF4: "put adapter.qlora before it",
    Fact.SPARSE: "put prune.magnitude before it",
    Fact.UNEVEN: "put prune.fisher before it",
    Fact.INT8: "put quantize.static or quantize.dynamic before it",
}
#: How to be rid of a fact that a step forbids.
_SHED = {
    Fact.ADAPTER: "put a `merge` step between '{earlier}' and '{step}'",
    Fact.GRAPH_ADAPTER: "move '{step}' above '{earlier}', whose adapter cannot be merged and is exported "
    "inside the graph",
    Fact.NF4: "put a `merge` step between '{earlier}' and '{step}': it merges into float weights",
    Fact.SPARSE: "move '{step}' above '{earlier}': what it learns would fill the zeros when it is merged",
    Fact.INT8: "a graph is quantized once: remove '{step}' or '{earlier}'",
    Fact.UNEVEN: "remove '{step}' or '{earlier}': prefix tuning needs the same number of heads in every layer",
    Fact.ONNX: "move '{step}' above '{earlier}'",
}


def fold(start: Facts, steps: Sequence[Placed]) -> Folded:
    """Walk the steps over the facts.

    After a step that may not stand where it does, the walk goes on as if it had been mended, so that one mistake is
    reported once.
    """
    result = Folded()
    current, history = start, []  # type: Facts, list[Placed]
    # what a mended step no longer meets, and the step after it that takes it away need not find
    shed: Facts = frozenset()
    moved: set[str] = set()  # steps that a mend moves up
    for i, step in enumerate(steps):
        result.before.append(current)
        if step.id in moved:  # counted where the mend puts it
            history.append(step)
            continue
        contract, brought = step.contract, frozenset[Fact]()
        unmergeable = Fact.GRAPH_ADAPTER in contract.forbids & current and Fact.ADAPTER in contract.requires
        for fact in sorted(contract.requires - current - shed - (facts(Fact.ADAPTER) if unmergeable else frozenset())):
            bringer = next((s for s in steps[i + 1 :] if fact in s.contract.adds), None)
            if _last(history, fact, "removes") is None and bringer is not None:
                result.issues.append(_too_late(step, fact, bringer, steps[i:]))
                moved.add(bringer.id)
                brought |= bringer.contract.adds
            else:
                result.issues.append(_missing(step, fact, history))
        for adder, in_the_way in _by_adder(contract.forbids & current, history):
            result.issues.append(_in_the_way(step, in_the_way, adder))
        current |= brought
        shed = (shed | (contract.forbids & current)) - contract.requires
        current = ((current | contract.requires) - contract.forbids - contract.removes) | contract.adds
        history.append(step)
    result.after = current
    return result


def _last(history: Iterable[Placed], fact: Fact, kind: Literal["adds", "removes"]) -> Placed | None:
    return next((s for s in reversed(list(history)) if fact in getattr(s.contract, kind)), None)


def _rows(*entries: tuple[Placed, str, Fact]) -> tuple[str, ...]:
    wide_id = max(len(step.id) for step, _, _ in entries)
    wide_use = max(len(step.use) for step, _, _ in entries)
    wide_verb = max(len(verb) for _, verb, _ in entries)
    return tuple(
        f"{(step.place.line if step.place else None) or '':>4}  {step.id:<{wide_id}}  {step.use:<{wide_use}}  "
        f"{verb:<{wide_verb}}  {fact}"
        for step, verb, fact in entries
    )


def _is_implied(step: Placed) -> bool:
    """Whether the planner put the step in: the recipe has no such id."""
    return bool(getattr(step, "implied", False))


def _name(step: Placed) -> str:
    return "the export to ONNX" if _is_implied(step) else f"step '{step.id}'"


def _too_late(step: Placed, fact: Fact, bringer: Placed, rest: Sequence[Placed]) -> Issue:
    before = next(s for s in rest if not _is_implied(s))
    return Issue(
        "E202",
        f"{_name(step)} needs {_a(fact)}, which '{bringer.id}' only provides later",
        step.place,
        f"move '{bringer.id}' above '{before.id}'",
        _rows((step, "requires", fact), (bringer, "adds", fact)),
    )


def _missing(step: Placed, fact: Fact, history: list[Placed]) -> Issue:
    taker = _last(history, fact, "removes")
    if taker is None:
        return Issue(
            "E202",
            f"{_name(step)} needs {_a(fact)}, and no earlier step provides one",
            step.place,
            _BRING[fact],
            _rows((step, "requires", fact)),
        )
    return Issue(
        "E201",
        f"{_name(step)} cannot run after '{taker.id}'",
        step.place,
        f"put a step that trains on the task, such as finetune, behind '{taker.id}'"
        if fact is Fact.TRAINED_HEAD
        else f"move '{step.id}' above '{taker.id}'",
        _rows((taker, "removes", fact), (step, "requires", fact)),
    )


def _by_adder(found: Facts, history: list[Placed]) -> list[tuple[Placed | None, list[Fact]]]:
    """Facts in the way with the step that brought them: two of one step are one mistake."""
    groups: list[tuple[Placed | None, list[Fact]]] = []
    for fact in sorted(found):
        adder = _last(history, fact, "adds")
        known = next((group for other, group in groups if other is adder and adder is not None), None)
        if known is None:
            groups.append((adder, [fact]))
        else:
            known.append(fact)
    return groups


def _in_the_way(step: Placed, found: list[Fact], adder: Placed | None) -> Issue:
    fact = Fact.ADAPTER if Fact.ADAPTER in found else found[0]
    if adder is None:
        return Issue(
            "E203",
            f"{_name(step)} cannot start from a model with {_a(fact)}",
            step.place,
            "start from a model without it",
            _rows((step, "forbids", fact)),
        )
    help = _SHED.get(fact, "remove one of the two steps").format(step=step.id, earlier=adder.id)
    if fact is Fact.ADAPTER and _is_implied(step):
        help = f"put a `merge` step after '{adder.id}'"
    if fact is Fact.GRAPH_ADAPTER and Fact.ADAPTER in step.contract.requires:
        help = f"remove '{step.id}': the adapter of '{adder.id}' cannot be merged, and is exported inside the graph"
    return Issue(
        "E203",
        f"{_name(step)} cannot run after '{adder.id}'",
        step.place,
        help,
        _rows(*((adder, "adds", f) for f in found), *((step, "forbids", f) for f in found)),
    )


def _a(fact: Fact) -> str:
    if fact in (Fact.SPARSE, Fact.INT8, Fact.UNEVEN):
        return str(fact)
    return f"{'an' if fact[0].lower() in 'aeiou' else 'a'} {fact}"
