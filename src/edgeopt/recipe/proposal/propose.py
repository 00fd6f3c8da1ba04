"""From the files that somebody has to a first recipe for them, and what was guessed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgeopt.data import TaskData, load_data
from edgeopt.models.source import ModelSource, module_files
from edgeopt.recipe.library import target_files
from edgeopt.recipe.problems import as_name
from edgeopt.recipe.proposal import columns, sizes, vectors
from edgeopt.recipe.proposal.draft import Draft
from edgeopt.recipe.proposal.files import Table, look
from edgeopt.recipe.proposal.margins import Margins, margins
from edgeopt.recipe.proposal.vectors import Found
from edgeopt.spec.recipe import TaskSpec
from edgeopt.statistics.power import rounded
from edgeopt.support.errors import InputError, bad_input
from edgeopt.support.words import meant
from edgeopt.tasks import Task, task_of, task_type

#: Asks for a value: (what is asked, guess).
Ask = Callable[[str, str], str]
#: Says what was found or guessed: (of what, what).
Tell = Callable[[str, str], object]
#: Shares of one file that may be drawn to report on; the drop that a gate should decide where nobody says.
_SHARES, _DROP = (0.1, 0.2), 0.01
_FILE_SIZE, _SPEEDUP, _ALIKE = 0.35, 1.2, 0.98
#: A share of the reported rows of one class from which on that is said.
_UNEVEN = 0.8
#: Keys of a recipe that a message speaks of, and the options that say the same here.
_OPTIONS = {"label": "--label", "text": "--text", "type": "--task", "labels": "--labels"}
_KEY = re.compile(rf"\btask\.({'|'.join(_OPTIONS)})\b")


@dataclass(frozen=True)
class Asked:
    """What somebody says of the recipe; the rest is guessed. out: where it is to stand."""

    data: tuple[Path, ...]
    out: Path
    text: tuple[str, ...] = ()
    label: str | None = None
    labels: tuple[str, ...] = ()
    task: str | None = None
    model: str | None = None
    target: str | None = None
    max_drop: float | None = None


def propose(asked: Asked, ask: Ask | None, tell: Tell) -> str:
    """The file of a recipe for the data. ask: None where nobody is there to answer, and guesses are taken.

    Raises InputError where the data or the model are not such as a recipe takes.
    """
    if len(asked.data) == 1 and asked.model is None and module_files(asked.data[0]):
        asked = replace(asked, data=(), model=str(asked.data[0]))
    with _in_options():
        return _Maker(asked, ask, tell).draft().text()


@contextmanager
def _in_options() -> Iterator[None]:
    """An error speaks of the options of `edgeopt init` in the place of keys of a recipe that is not there yet."""
    try:
        yield
    except InputError as error:
        raise InputError([replace(i, help=i.help and _KEY.sub(_option, i.help)) for i in error.issues]) from None


def _option(found: re.Match[str]) -> str:
    return _OPTIONS[found[1]]


class _Maker:
    """Makes the draft, a question after the other. comments: what is to be said of keys in the file."""

    def __init__(self, asked: Asked, ask: Ask | None, tell: Tell) -> None:
        self.asked, self._ask, self.say, self.folder = asked, ask, tell, asked.out.parent
        self.comments: dict[str, str] = {}
        self.table: Table = look(asked.data, self.folder) if asked.data else vectors.usual_pairs()
        if self.table.rows:
            self.say("columns", ", ".join(self.table.columns))
        self.early = self._early()
        self.found = self._found(self.early)
        self.text, self.label = self.found.text, self.found.label
        pair = len(self.text) > 1
        self.choices = () if pair or not self.label else columns.guess_choices(self.table, self.text, self.label)
        self.type, self.source = self._task_and_model()

    def ask(self, what: str, guess: str) -> str:
        """The answer, or the guess where nobody is asked."""
        return self._ask(what, guess) if self._ask else guess

    def _of(self, value: str, *, given: bool) -> str:
        """A value, and whether it is a guess that nobody has looked at."""
        return value if given or self._ask else f"{value}, guessed"

    def _early(self) -> str | None:
        """The task that is asked for, or that rows and model tell before a label is looked for."""
        asked, table = self.asked, self.table
        if table.rows:
            columns.check(table, (*asked.text, *filter(None, [asked.label])))
        if asked.task:
            return _known(asked.task)
        if vectors.is_ordered(table, asked.text, asked.label):
            return columns.task_for("relevance")
        if self._embeds and vectors.is_embedded(table, asked.text, asked.label):
            return columns.task_for("vectors")
        if not table.rows:
            raise bad_input(
                "E303",
                "without rows there is a recipe for embedding models alone, and the model does not say that it is one",
                help=f"give a file of rows; or, if the model embeds texts, add --task {columns.task_for('vectors')}",
            )
        return None

    @property
    def _embeds(self) -> bool:
        """Whether something says that texts are to be embedded: a model of sentence-transformers, or passages."""
        named = self.asked.model and sizes.source_of(self.asked.model, self.folder).folder
        return bool(self.table.passages or (named and module_files(named)))

    def _found(self, kind: str | None) -> Found:
        """The columns, for a task that is known already; otherwise, with None, for one that the label tells."""
        asked, table = self.asked, self.table
        found = None
        if kind and task_type(kind).embeds:
            found = vectors.embedded(table, asked.text, asked.label, self.folder)
        elif kind and task_type(kind).grouped:
            found = vectors.ordered(table, asked.text, asked.label)
        if found is None:
            return self._labeled()
        if table.rows:
            self.say("text", self._of(" and ".join(found.text), given=bool(asked.text)))
        if table.rows and found.label:
            self.say("label", self._of(found.label, given=asked.label is not None))
        return found

    def _labeled(self) -> Found:
        """The columns of texts and of a label."""
        asked, table = self.asked, self.table
        guess = asked.text or columns.guess_text(table, asked.label)
        text = asked.text or self._names("Column of the texts (or two)", guess)
        if not text:
            raise self._unknown("texts", "--text")
        label = asked.label or self.ask(
            "Column of the label", columns.guess_label(table, text, columns.guess_choices(table, text, None)) or ""
        )
        if not label:
            raise self._unknown("labels", "--label")
        columns.check(table, (*text, label))
        self.say("text", self._of(" and ".join(text), given=bool(asked.text)))
        self.say("label", self._of(label, given=asked.label is not None))
        return Found(text, label)

    def _names(self, what: str, guess: tuple[str, ...]) -> tuple[str, ...]:
        told = self.ask(what, ", ".join(guess))
        return (told,) if told in self.table.columns else tuple(filter(None, map(str.strip, told.split(","))))

    def _unknown(self, what: str, option: str) -> InputError:
        shown = ", ".join(self.table.columns[:40])
        return bad_input(
            "E303",
            f"no column looks like {what}",
            place=self.table.place,
            help=f"name it: {option} COLUMN; columns: {shown}",
        )

    def _task_and_model(self) -> tuple[str, ModelSource]:
        asked = self.asked
        kind, why = self.early or "", self.found.why
        if not why:
            kind, why = columns.task_by_label(self.table, self.text, self.label or "", self.choices)
        kind = _known(asked.task or kind)
        words = [tuple(map(str, (row.get(c) for c in self.text))) for row in self.table.rows[:200]]
        name = asked.model or self.ask("Model: a folder, or an id of the hub", sizes.model_for(kind, words))
        source = sizes.source_of(name, self.folder)
        if self.early is None:
            kind, why = self._by_head(source, kind, why)
        told = kind if self.early else _known(self.ask("Task", kind))
        if asked.task or kind != told:
            self.say("task", told)
        else:
            self.say("task", f"{self._of(told, given=False)}: {why}")
            self.comments["type"] = f"guessed: {why}"
        if why == self.found.why and why:
            self.comments.setdefault("type", why)
        where = "" if source.folder else "; not looked at, as it is not here"
        self.say("model", f"{self._of(source.id, given=asked.model is not None)}{where}")
        return told, sizes.source_of(name, self.folder, told)

    def _by_head(self, source: ModelSource, kind: str, why: str) -> tuple[str, str]:
        """The task, and what told it, where the model has a trained head, which is for such labels."""
        by_head = sizes.task_by_head(source)
        numbers = columns.kind_of(columns.values(self.table, self.label or "")) == "number"
        one = {by_head, kind} <= {columns.task_for("classes"), columns.task_for("scores")}
        if by_head and one and (numbers or not task_type(by_head).scores):
            return by_head, "the model's trained head is for it"
        return kind, why

    @cached_property
    def _missing(self) -> int | str | None:
        """What stands in the place of a label that is not there; -1 is a score like any other."""
        if not self.label:
            return None
        found = columns.empty_label(self.table, self.label)
        return found if found == "" or (task_type(self.type).has_classes and not self.asked.labels) else None

    def _spec(self, split: float | None = None, **more: object) -> dict[str, Any]:
        """The keys of `task`."""
        drawn = {"split": {"validation": split, "seed": 0}} if split else {}
        missing, labels = self._missing, list(self.asked.labels)
        if task_type(self.type).one_class and not labels:
            labels = columns.stated_classes(self.table, self.label or "") or []
        choices = {"choices": self.choices[0] if len(self.choices) == 1 else list(self.choices)} if self.choices else {}
        return {
            "type": self.type,
            "dataset": {**self.table.dataset, **drawn},
            "text": self.text[0] if len(self.text) == 1 else list(self.text),
            **(choices if task_type(self.type).has_choices else {}),
            **{key: given for key in ("label", "corpus", "group") if (given := getattr(self.found, key))},
            **self._pooled(),
            **({"labels": labels} if labels else {}),
            **({} if missing is None else {"missing_label": missing}),
            **more,
        }

    def _pooled(self) -> dict[str, Any]:
        """How embeddings are made, where the folder of the model does not say it."""
        folder = self.source.folder
        if not task_type(self.type).embeds or folder is None or module_files(folder):
            return {}
        self.comments["pooling"] = "guessed, as the model's folder has no modules.json; some models also want `prompts`"
        return {"pooling": "mean", "normalize": True}

    def _load(self, split: float | None) -> TaskData:
        try:
            spec = TaskSpec.model_validate(self._spec(split))
        except ValidationError as error:
            found = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise bad_input("E106", found, help="name another --task, or other columns") from None
        return load_data(spec, self.folder)

    def draft(self) -> Draft:
        """Everything that is proposed."""
        if not self.table.rows:
            return self._usual()
        wanted, drawn = self.asked.max_drop, self.table.drawn
        share = _SHARES[-1] if drawn else None
        data = self._load(share)
        certain = self._margins(data)
        if drawn and (better := _share(len(data.train) + len(data.report), certain, wanted or _DROP)) != share:
            data, share = self._load(better), better
            certain = self._margins(data)
        self._say_rows(data)
        found = sizes.lengths(self.source, self._task(data), data.train)
        self._say_lengths(found)
        as_it_is = self.source.has_trained_head or task_type(self.type).embeds
        trained = None if as_it_is else sizes.training(self.source, len(data.train))
        self._say_steps(trained)
        target = self._target()
        return self._draft(share, found.max_length, trained, target, self._gates(data, certain))

    def _usual(self) -> Draft:
        """What is proposed for an embedding model without rows of somebody's own."""
        rows = self.table.dataset
        self.say("rows", f"{rows['name']} of {rows['path']} on the hub: pairs with a similarity from 0 to 5")
        length = sizes.stated_length(self.source) or 128
        self.comments["max_length"] = "as the model's folder says" if sizes.stated_length(self.source) else "tokens"
        self._say_steps(None)
        drop = _DROP if self.asked.max_drop is None else self.asked.max_drop
        gates = [{"metric": task_type(self.type).default_metrics[0], "max_drop": drop}]
        return self._draft(None, length, None, self._target(), self._with_usual(gates))

    def _draft(
        self, share: float | None, length: int, trained: sizes.Training | None, target: str, gates: list[dict[str, Any]]
    ) -> Draft:
        metrics = list(TaskSpec.model_validate(self._spec()).metric_names)
        given = self.asked.data[0] if self.asked.data else Path(self.asked.model or self.source.id)
        return Draft(
            self.asked.out,
            as_name(given.resolve().name.partition(".")[0]) or "recipe",
            self.source.id,
            self._spec(share, metrics=metrics, max_length=length),
            trained,
            target,
            gates,
            self.comments,
        )

    def _task(self, data: TaskData) -> Task:
        return task_of(TaskSpec.model_validate(self._spec()), data.label_names)

    def _margins(self, data: TaskData) -> Margins:
        return margins(self._task(data), data.train, len(data.report), self.asked.max_drop or _DROP)

    def _say_rows(self, data: TaskData) -> None:
        self.say("rows", f"{len(data.train):,} to train on, {len(data.report):,} of {data.report.name} to report on")
        if self.table.drawn:
            count = len(data.train) + len(data.report)
            self.comments["split"] = f"{len(data.report):,} of {count:,} rows are drawn to report on, always the same"
        for remark in data.remarks():
            self.say("", remark)
        if data.label_names and not task_type(self.type).has_choices:
            names = data.label_names
            shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
            self.say("classes", f"{len(names):,}: {shown}")
            self.comments["label"] = f"{len(names):,} classes: {shown}"
            self._say_uneven(data)
        if (missing := self._missing) is not None:
            self.comments["missing_label"] = "rows with this label have none, and are left out"
            self.say("", f"guessed: a row whose label is {'empty' if missing == '' else missing} has none")

    def _say_uneven(self, data: TaskData) -> None:
        """Says it where one answer is right for most of the reported rows: a model is held against that answer."""
        if not task_type(self.type).one_class:
            return
        (often, count), *_ = Counter(data.report.labels).most_common(1)
        if (share := count / len(data.report)) > _UNEVEN:
            told = f"{share:.0%} of the {data.report.name} rows are '{data.label_names[often]}'"
            self.say("", f"{told}: a gate on a drop passes only if the models do better than always answering that")
            self.comments["label"] += f"; {told}"

    def _say_lengths(self, found: sizes.Lengths) -> None:
        told = f"99 of 100 texts have at most {found.usual:,} tokens, the longest {found.longest:,}"
        if not found.counted:
            told = f"guessed by the words, as the model is not here: {told}"
        if found.cut:
            told += f"; {found.cut:.1%} are cut"
        if found.cut > 0.05 and task_type(self.type).windowed:
            told += ", `long_text: window` reads them whole"
        if sizes.stated_length(self.source):
            told = f"as the model's folder says; {told}"
        self.comments["max_length"] = told
        self.say("length", f"{found.max_length} tokens: {told}")

    def _say_steps(self, trained: sizes.Training | None) -> None:
        if trained is None:
            why = "is quantized as it is" if task_type(self.type).embeds else "has a trained head"
            self.say("steps", f"int8 alone, as the model {why}")
            return
        plural = "s" * (trained.epochs > 1)
        self.say(
            "steps", f"a training of {trained.epochs} epoch{plural} at {trained.learning_rate:g}, then static int8"
        )

    def _target(self) -> str:
        known = target_files()
        target = self.asked.target or self.ask(f"Target: {', '.join(known)}", "cpu-1-thread")
        if target not in known:
            raise bad_input("E111", f"there is no target '{target}'", help=meant(target, known, "targets"))
        self.say("target", self._of(target, given=self.asked.target is not None))
        return target

    def _gates(self, data: TaskData, certain: Margins) -> list[dict[str, Any]]:
        gates: list[dict[str, Any]] = []
        if certain.metric not in self._task(data).beside_baseline:
            gates += self._of_metric(len(data.report), certain, certain.assumed(self._task(data)))
        return self._with_usual(gates)

    def _of_metric(self, rows: int, certain: Margins, assumed: str) -> list[dict[str, Any]]:
        """A gate on a drop of the first metric that so many rows can decide."""
        metric = certain.metric
        margin = certain.certified(rows)
        can = f"{rows:,} rows can certify a drop of {margin:g}" if margin else f"{rows:,} rows can certify no drop"
        said = f"{can} of {metric} (95 %, 8 times in 10, {assumed})"
        drop = self._drop(margin, metric)
        if drop is not None and (margin is None or drop < margin):
            needed = certain.needed.get(drop)
            said += (
                f"; {drop:g} takes about {rounded(needed):,} rows"
                if needed
                else f"; no number of rows can certify {drop:g}"
            )
        self.say("gates", said)
        if drop is None:
            self.comments["gates"] = f"none on {metric}: {said}"
            return []
        self.comments[f"gates.{metric}"] = said
        return [{"metric": metric, "max_drop": drop}]

    def _with_usual(self, gates: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The gates, and those on what a model is beside another, on its size and on its speed."""
        for metric in task_type(self.type).beside_baseline:
            gates.append({"metric": metric, "min": _ALIKE})
            self.comments[f"gates.{metric}"] = "how well its embeddings stand in for the FP32 model's: mean cosine"
            self.say("", f"{metric} with the FP32 model at least {_ALIKE:g}")
        if sizes.is_tiny(self.source):
            self.say("", "none on size and speed: the model is so small that its weights decide neither")
            return gates
        self.say("", f"size at most {_FILE_SIZE:g} of FP32's, median latency at least {_SPEEDUP:g} times as quick")
        return [
            *gates,
            {"metric": "size", "max_ratio": _FILE_SIZE},
            {"metric": "latency.p50", "min_speedup": _SPEEDUP},
        ]

    def _drop(self, margin: float | None, metric: str) -> float | None:
        """The largest drop that the gate allows: the one that is given, else the least that the rows can certify."""
        if self.asked.max_drop is not None:
            return self.asked.max_drop
        if margin is None:
            return None
        told = self.ask(f"Largest drop of {metric}", f"{max(margin, _DROP):g}")
        try:
            return float(told)
        except ValueError:
            raise bad_input("E106", f"'{told}' is no number", help="0.01 is one point of a hundred") from None


def _known(task: str) -> str:
    """The task, where recipes for it are proposed. Raises InputError E100."""
    tasks = columns.proposed_tasks()
    if task in tasks:
        return task
    raise bad_input("E100", f"init proposes no recipe for the task '{task}'", help=meant(task, tasks, "tasks"))


def _share(rows: int, certain: Margins, wanted: float) -> float:
    """The least share of one file that can certify the drop; where none can, the largest."""
    can = (share for share in _SHARES if (certain.certified(round(share * rows)) or 1.0) <= wanted)
    return next(can, _SHARES[-1])
