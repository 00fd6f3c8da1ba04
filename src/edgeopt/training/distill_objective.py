"""The objective of a distillation: a weighted sum of what the labels, the teacher's logits and its layers ask."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from edgeopt.data import Split
from edgeopt.models.load import load_model, takes_of
from edgeopt.models.parts import bare
from edgeopt.models.sentence import embedding_width
from edgeopt.models.slicing import structure_of
from edgeopt.models.source import CONFIG, structure_in
from edgeopt.spec.recipe import Distillation, Losses, Training
from edgeopt.step.transform import StepContext
from edgeopt.store.store import State
from edgeopt.support.errors import bad_input
from edgeopt.tasks import Task
from edgeopt.tasks.encode import Encoder, Features, first_other
from edgeopt.tasks.losses import LabelLoss
from edgeopt.training.distill_terms import (
    cosine_loss,
    flat,
    logits_loss,
    mean_logits,
    nearest,
    padded,
    question,
    real_tokens,
    recorded,
    relation,
    relation_loss,
)
from edgeopt.training.matching import Matching
from edgeopt.training.objective import ROW, Objective
from edgeopt.training.rows import TrainRows
from edgeopt.training.teacher import Teacher
from edgeopt.training.teacher_answers import LOGITS, Answers, name_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Distilled(Objective):
    """The weighted sum of the terms that a distillation names.

    spec: the losses and the temperature. answers: those of each teacher. matching: None where no term is of layers.
    scores: the logits are scores, or embeddings of these widths in student and teacher. label_loss: on the labels;
    None: the model's own, of rows that all have one. labeled: the rows of smaller numbers have labels. brought: what
    a teacher's logits are brought to before they are compared.
    """

    numbered = True

    def __init__(
        self,
        spec: Distillation,
        answers: Sequence[Answers],
        matching: Matching | None,
        *,
        scores: bool,
        seed: int,
        label_loss: LabelLoss | None,
        labeled: float = math.inf,
        widths: tuple[int, int] = (1, 1),
        brought: Callable[[torch.Tensor], torch.Tensor] = lambda logits: logits,
    ) -> None:
        self.brought = brought
        losses = self.losses = spec.losses
        self.temperature, self.answers, self.matching = spec.temperature, answers, matching
        self.scores, self.label_loss, self.labeled = scores, label_loss, labeled
        self.transform: nn.Module = nn.Identity()
        self.projection: nn.Module = nn.Identity()
        if matching is not None and (losses.hidden or losses.cosine) and matching.widths[0] != matching.widths[1]:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.transform = self.module = nn.Linear(*matching.widths)
        if losses.logits and widths[0] != widths[1]:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.projection = nn.Linear(*widths)
            self.module = nn.ModuleList([self.projection, *([self.module] if self.module is not None else [])])
        #: What the student's layers wrote in the last pass, by its kind.
        self.written: dict[str, list[torch.Tensor]] = {}

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        with ExitStack() as stack:
            self.written = {kind: stack.enter_context(recorded(model, kind)) for kind in kinds(self.losses)}
            yield

    def weight(self, batches: Sequence[dict[str, Any]]) -> torch.Tensor | None:
        if self.label_loss is None or not self.losses.labels:
            return None
        return self.label_loss.total([{"labels": b["labels"][b[ROW] < self.labeled]} for b in batches])

    def loss(self, model: nn.Module, batch: dict[str, Any], step: int, steps: int) -> torch.Tensor:
        asked, labels = question(batch)
        own = self.losses.labels > 0 and self.label_loss is None
        output = model(**asked, labels=labels) if own else model(**asked)
        terms: list[torch.Tensor] = []
        if self.losses.labels:
            terms.append(
                self.losses.labels
                * (
                    output.loss
                    if self.label_loss is None
                    else self._on_labels(self.label_loss, output.logits, labels, batch[ROW])
                )
            )
        terms += self.taught(output.logits, batch[ROW].tolist(), labels, asked)
        return torch.stack([t.float() for t in terms]).sum()

    def taught(
        self, logits: torch.Tensor, rows: list[int], labels: torch.Tensor, asked: Mapping[str, torch.Tensor]
    ) -> Iterator[torch.Tensor]:
        """Each term that the teachers ask of a pass, with its weight.

        rows: by which their answers are found. asked: what the model was given.
        """
        told = [a.of(rows, labels.device) for a in self.answers]
        if self.losses.logits:
            wanted = mean_logits([self.brought(t[LOGITS]) for t in told], self.temperature, scores=self.scores)
            yield (
                self.losses.logits
                * logits_loss(self.projection(logits), wanted, labels, self.temperature, scores=self.scores)
            )
        if self.matching is not None:
            yield from self._layers(told[0], real_tokens(asked["attention_mask"]), self.matching)

    def _on_labels(
        self, loss: LabelLoss, logits: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor
    ) -> torch.Tensor:
        has = rows < self.labeled
        return loss({"logits": logits[has]}, labels[has], self.mean_weight)

    def _layers(self, told: dict[str, torch.Tensor], real: torch.Tensor, matching: Matching) -> Iterator[torch.Tensor]:
        """Each term of layers, with its weight."""
        losses, pairs = self.losses, matching.pairs
        written: dict[int, torch.Tensor] = {}
        if losses.hidden or losses.cosine:
            layers = sorted({s for s, _ in pairs}) if not matching.dynamic else range(len(self.written["hidden"]))
            written = {i: self.transform(flat(self.written["hidden"][i], real)).float() for i in layers}
        if matching.dynamic:
            teachers = [t for _, t in pairs]
            chosen = nearest(list(written.values()), [told[f"hidden-{t}"] for t in teachers], nn.Identity())
            pairs = list(zip(chosen, teachers, strict=True))
        if losses.hidden:
            yield losses.hidden * _mean([F.mse_loss(written[s], told[f"hidden-{t}"]) for s, t in pairs])
        if losses.cosine:
            yield losses.cosine * _mean([cosine_loss(written[s], told[f"hidden-{t}"]) for s, t in pairs])
        if losses.attention:
            yield losses.attention * _mean(
                [self._relation(("query", "key"), s, t, told, real, matching) for s, t in pairs]
            )
        if losses.values:
            yield losses.values * self._relation(("value", "value"), *matching.last, told, real, matching)

    def _relation(
        self, of: tuple[str, str], s: int, t: int, told: dict[str, torch.Tensor], real: torch.Tensor, matching: Matching
    ) -> torch.Tensor:
        heads = matching.heads(s, t)
        ours, ours_too = (self.written[kind][s][:, -real.shape[1] :] for kind in of)
        theirs, theirs_too = (padded(told[f"{kind}-{t}"], real) for kind in of)
        return relation_loss(relation(ours, ours_too, real, heads), relation(theirs, theirs_too, real, heads), real)

    def figures(self) -> dict[str, Any]:
        """Bytes of the cached answers, and seconds of making or opening the cache.

        0 bytes: they were computed in every epoch.
        """
        return figures_of(self.answers)


def figures_of(answers: Sequence[Answers]) -> dict[str, Any]:
    """Bytes of cached answers, and seconds of making or opening the cache; nothing without a teacher."""
    kept = sum(a.bytes for a in answers if a.folder is not None)
    seconds = round(sum(a.seconds for a in answers), 3)
    return {"teacher": {"cached_bytes": kept, "seconds": seconds}} if answers else {}


def kinds(losses: Losses) -> list[str]:
    """The kinds that are recorded of the student's layers: hidden states, queries, keys, values."""
    given = {
        "hidden": losses.hidden or losses.cosine,
        "query": losses.attention,
        "key": losses.attention,
        "value": losses.values,
    }
    return [kind for kind, weight in given.items() if weight]


def distilled(
    model: PreTrainedModel,
    params: Training,
    context: StepContext,
    task: Task,
    pool: TrainRows,
    asked: Sequence[dict[str, Any]],
    label_loss: LabelLoss | None,
) -> Distilled:
    """The objective of the training's distillation, the teachers' answers ready.

    pool: the rows trained on. asked: their inputs, as the student gets them. Raises InputError E208 where a teacher and
    the student do not go together.
    """
    spec = params.distillation
    assert spec is not None
    states = [context.states[name] for name in spec.teachers]
    matching = (
        Matching(spec, structure_of(bare(model)), structure_in(states[0].folder)) if spec.losses.layered else None
    )
    answers = [answers_of(spec, state, matching, params, context, task, pool.rows, asked) for state in states]
    scores = not task.softmax
    if pool.unlabelled and label_loss is None:  # the model's own is a mean over all rows of a batch
        label_loss = task.label_loss()
    made = Distilled(
        spec,
        answers,
        matching,
        scores=scores,
        seed=context.seed,
        label_loss=label_loss,
        labeled=pool.labeled,
        widths=_widths(model, states, task, spec),
    )
    if task.embeds:
        made.on_selection = label_loss
    return made


def _widths(model: PreTrainedModel, states: Sequence[State], task: Task, spec: Distillation) -> tuple[int, int]:
    """Numbers of an embedding of the student and of its teachers; 1 and 1 for another task.

    Raises InputError E208 where teachers differ.
    """
    if not task.embeds or not spec.losses.logits:
        return 1, 1
    theirs = {embedding_width(json.loads((state.folder / CONFIG).read_text(encoding="utf-8"))) for state in states}
    if len(theirs) > 1:
        what = f"the teachers' embeddings have {' and '.join(map(str, sorted(theirs)))} numbers, and have no mean"
        raise bad_input("E208", what, help="give one teacher")
    return embedding_width(bare(model).config.to_dict()), theirs.pop()


def answers_of(
    spec: Distillation,
    state: State,
    matching: Matching | None,
    params: Training,
    context: StepContext,
    task: Task,
    rows: Split,
    asked: Sequence[dict[str, Any]],
) -> Answers:
    """What a teacher answers to the rows, ready. asked: their inputs, as the student gets them.

    Raises InputError E208 where a teacher and the student do not go together.
    """
    precision = "bf16" if params.precision == "bf16" else "fp32"
    load = partial(_teacher, state, scores=not task.softmax, bf16=precision == "bf16")
    writes = task.writes
    encoder = Encoder(state.folder, task.spec.max_length)
    inputs, features = task.training_rows(encoder, rows, takes_of(state.folder))
    a_token = features.words is not None
    if len(inputs) != len(asked):
        raise bad_input(
            "E208",
            f"the teacher reads the rows in {len(inputs)} windows, and the student in {len(asked)}",
            help="give a teacher with the same tokenizer",
        )
    if (spec.losses.layered or a_token or writes) and first_other(
        features, Features(list(asked), features.rows)
    ) is not None:
        raise bad_input(
            "E208",
            "the teacher's tokenizer makes other tokens than the student's",
            help="give another teacher, or keep labels and logits of texts",
        )
    items = {
        **({LOGITS: task.answer_numbers(state.folder)} if spec.losses.logits else {}),
        **(matching.items() if matching else {}),
    }
    folder = (context.answers or context.work / "answers") / name_of(state.digest, inputs, precision)
    found = Answers(
        load, inputs, task.collator(encoder), items, a_token=a_token, folder=folder, progress=context.progress
    )
    if writes or found.bytes > spec.cache_gb * 1e9:
        found.folder = None
        context.progress.say(
            "the teacher answers anew in every epoch: "
            + ("texts are not kept" if writes else f"{found.bytes / 1e9:.1f} GB are more than cache_gb")
        )
    found.prepare()
    return found


def _teacher(state: State, *, scores: bool, bf16: bool) -> Teacher:
    return Teacher(load_model(state.folder), scores=scores, bf16=bf16)


def _mean(terms: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(terms)).mean()
