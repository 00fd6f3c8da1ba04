"""Which tasks there are, and what a recipe must know of each.

The task's class says it, which is imported when it is asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, ClassVar, Protocol, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema

from edgeopt.support.registry import Registry

#: Queries that are answered a second, in batches.
THROUGHPUT = "throughput.qps"
#: What is timed on a target, at one of its lengths.
TIMED = ("latency.p50", "latency.p90", "latency.p99", THROUGHPUT)
#: What every task can be gated on besides its own metrics.
MEASURED = ("size", *TIMED, "memory.peak", "start.cold")


class TaskKind(Protocol):
    """The class of a task, as far as it decides what a recipe may say; see `edgeopt.tasks.base.Task`."""

    known_metrics: ClassVar[tuple[str, ...]]
    default_metrics: ClassVar[tuple[str, ...]]
    ranges: ClassVar[Mapping[str, tuple[float, float]]]
    has_classes: ClassVar[bool]
    sliced: ClassVar[bool]
    windowed: ClassVar[bool]
    embeds: ClassVar[bool]
    unlabelled_metrics: ClassVar[tuple[str, ...]]
    searched_metrics: ClassVar[tuple[str, ...]]
    grouped: ClassVar[bool]
    several_classes: ClassVar[bool]


_OURS = {
    "text-classification": "edgeopt.tasks.classification:Classification",
    "text-regression": "edgeopt.tasks.regression:Regression",
    "multi-label-classification": "edgeopt.tasks.multi_label:MultiLabel",
    "multiple-choice": "edgeopt.tasks.multiple_choice:MultipleChoice",
    "token-classification": "edgeopt.tasks.token_classification:TokenClassification",
    "coreference": "edgeopt.tasks.coreference:Coreference",
    "summarization": "edgeopt.tasks.summarization:Summarization",
    "embedding": "edgeopt.tasks.embedding:Embedding",
    "reranking": "edgeopt.tasks.reranking:Reranking",
}


def _made(given: object, name: str) -> TaskKind:
    known, default = (getattr(given, attribute, None) for attribute in ("known_metrics", "default_metrics"))
    if not isinstance(given, type) or not (isinstance(known, tuple) and isinstance(default, tuple)):
        raise TypeError(f"{given!r} is no class of a Task with known_metrics and default_metrics")
    if not default or not set(default) <= set(known):
        raise TypeError(f"default_metrics of {given.__name__} must be some of its known_metrics")
    if wide := [metric for metric, (low, high) in getattr(given, "ranges", {}).items() if low < -1 or high > 1]:
        raise TypeError(
            f"{given.__name__} has a metric '{wide[0]}' beyond -1 and 1: "
            "scale it to a fraction of the most that it can be"
        )
    if taken := sorted(set(known) & set(MEASURED)):
        raise TypeError(f"{given.__name__} has a metric '{taken[0]}', which is a word of edgeopt's own")
    return cast(TaskKind, given)


TASKS: Registry[TaskKind] = Registry("edgeopt.tasks", "task", _OURS, _made)


def heads_of(name: str) -> tuple[str, ...]:
    """The heads that a type's tasks may have beside others on a shared encoder; empty: they cannot share one.

    Its own class says it, and none that it is derived from: what reads or measures rows in another way has to know.
    """
    return tuple(vars(TASKS[name]).get("heads", ()))


def _kinds() -> Iterator[TaskKind]:
    """Every task that can be used, edgeopt's own first, and a plugin only if none before it is what is looked for."""
    return (kind for name in TASKS if (kind := TASKS.find(name)) is not None)


def _metrics(*more: str) -> Iterator[str]:
    """What edgeopt's own tasks can be measured by, then the `more` given, then what plugins' can."""
    for name in TASKS:
        if name not in _OURS:
            yield from more
            more = ()
        kind = TASKS.find(name)
        yield from kind.known_metrics if kind else ()
    yield from more


def range_of(metric: str) -> tuple[float, float]:
    """The least and the most that a metric can be."""
    if metric in MEASURED:
        return 0.0, math.inf
    kind = next((kind for kind in _kinds() if metric in kind.known_metrics), None)
    return kind.ranges.get(metric, (0.0, 1.0)) if kind else (0.0, 1.0)


class OneOf:
    """A word out of a list that plugins make longer. check: raises what pydantic reports for a word of the list."""

    def __init__(self, choices: Callable[[], Iterable[str]], check: Callable[[str], None] = lambda word: None) -> None:
        self.choices, self.check = choices, check

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"enum": list(dict.fromkeys(self.choices())), "type": "string"}

    def _checked(self, value: object) -> str:
        if not isinstance(value, str) or not any(value == choice for choice in self.choices()):
            *first, last = (f"'{choice}'" for choice in dict.fromkeys(self.choices()))
            raise PydanticKnownError("literal_error", {"expected": f"{', '.join(first)} or {last}"})
        self.check(value)
        return value


def _loads(task: str) -> None:
    if (fault := TASKS.fault(task)) is not None:
        raise PydanticCustomError("unusable_plugin", "{message}", {"message": fault.message, "help": fault.help})


TaskType = Annotated[str, OneOf(lambda: TASKS, _loads)]
TaskMetric = Annotated[str, OneOf(_metrics)]
GateMetric = Annotated[str, OneOf(lambda: _metrics(*MEASURED))]
