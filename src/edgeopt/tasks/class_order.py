"""The order of the classes: that of a trained head's outputs, where the head is kept and they have names."""

from __future__ import annotations

from collections.abc import Sequence

from edgeopt.spec.recipe import TaskSpec
from edgeopt.spec.tasks import TASKS
from edgeopt.support.errors import InputError, Issue, Place
from edgeopt.support.words import is_integer


def order_stated(spec: TaskSpec, head: Sequence[str]) -> bool:
    """Whether the recipe says which class is which output of the head.

    task.labels does. Where a row may have several classes, it names those of the rows' columns or lists of 0 and 1, and
    says so only where the outputs have no names.
    """
    if not TASKS[spec.type].several_classes:
        return bool(spec.labels)
    return bool(spec.class_names) and all(map(is_integer, head))


def in_heads_order(
    classes: Sequence[str],
    head: Sequence[str],
    *,
    stated: bool = False,
    whole: bool = True,
    source: str = "the rows",
    place: Place | None = None,
) -> tuple[str, ...]:
    """The classes in the order of the head's outputs, spelled as the rows have them.

    classes: of the rows, or with `stated` those of task.labels, in their order. head: names of the outputs as
    `as_in_rows` gives them, numbers where they have none. whole: whether every class must be among the rows. source:
    whose classes they are, for the message. A number among rows is the number of an output. Raises InputError E318 with
    both lists where nothing says which class is which output.
    """
    if not head or not classes:
        return tuple(classes)
    numbers, unnamed = all(is_integer(c) for c in classes), all(is_integer(n) for n in head)
    if stated:
        if not unnamed and _contradicts(classes, head):
            raise _differ(
                "task.labels and the model's trained head put the classes in different orders",
                classes,
                head,
                "task.labels",
                place,
                "give task.labels in the head's order; or fix id2label in the model's config.json, if it is wrong",
            )
        return tuple(classes)
    if len({name.casefold() for name in head}) < len(head):
        raise _differ(
            "two outputs of the model's trained head have one name",
            classes,
            head,
            source,
            place,
            "fix id2label in the model's config.json, or state task.labels in the order of the head's outputs",
        )
    if numbers:
        known = {*head} if unnamed else {str(i) for i in range(len(head))}
        if {*classes} == known or ({*classes} < known and not whole):
            return tuple(head)
        if unnamed or len(classes) != len(head):
            return tuple(classes)  # numbers in their order; another count is refused as such
    elif unnamed:
        raise _differ(
            "the model's trained head does not name its classes, and those of the rows are words: "
            "nothing says which is which",
            classes,
            head,
            source,
            place,
            "state task.labels in the order of the head's outputs",
        )
    spelled, ours = {name.casefold(): name for name in classes}, [name.casefold() for name in head]
    fits = {*spelled} == {*ours} if whole else {*spelled} <= {*ours}
    if numbers or not fits or len({*ours}) < len(ours) or len(spelled) < len(classes):
        raise _differ(
            f"{source} and the model's trained head have different classes",
            classes,
            head,
            source,
            place,
            "state task.labels in the order of the head's outputs, with the names that the rows have; "
            "or start from the bare encoder",
        )
    return tuple(spelled.get(low, name) for low, name in zip(ours, head, strict=True))


def _contradicts(stated: Sequence[str], head: Sequence[str]) -> bool:
    """Whether a stated name is the head's for another output. Other names than the head's rename its outputs."""
    low = [n.casefold() for n in head]
    return any(s.casefold() in low and (i >= len(low) or low[i] != s.casefold()) for i, s in enumerate(stated))


def _differ(
    what: str, classes: Sequence[str], head: Sequence[str], source: str, place: Place | None, help: str
) -> Exception:
    shown = (f"the head's:  {_listed(head)}", f"{source}: {_listed(classes)}")
    return InputError(Issue("E318", what, place, help, shown))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f", … ({len(names)})" if len(names) > 20 else "")
