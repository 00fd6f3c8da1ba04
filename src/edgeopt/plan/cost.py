"""What the trainings of a plan compute and hold, before anything runs: by the formulas of `models/cost.py`.

Each figure is told with what it assumes. A time is told only where something like it was measured: when the step itself
was built, or by the FLOPs a second of a training of the store, on this processor and of a model of about that size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from edgeopt.corpus.rows import CorpusRows, frame_of
from edgeopt.corpus.shards import address, there
from edgeopt.models.begun import Begun
from edgeopt.models.cost import Flops, Memory, Pass, Rows, flops, memory, parameters
from edgeopt.models.source import CONFIG, ModelSource
from edgeopt.models.structure import of_config
from edgeopt.models.tokenizer import read_tokenizer
from edgeopt.plan.lengths import Kind, Lengths, alike, of_task
from edgeopt.plan.measured import SIZE, Case, advice
from edgeopt.plan.references import standing
from edgeopt.plan.steps import Plan, PlannedStep
from edgeopt.results.figures import told
from edgeopt.spec.recipe import NewTokenizer, Training
from edgeopt.store.facts import Fact
from edgeopt.store.store import Store
from edgeopt.support import host
from edgeopt.support.errors import InputError

#: What no figure has.
NOT_COUNTED = (
    "norms, activation functions, dropout, the optimizer, a task's head, an adapter's own products, masks and rounding "
    "that a step learns through, and what Python and the libraries hold"
)


@dataclass(frozen=True)
class PassCost:
    """What goes through one model. step: of an optimizer step. before: of all rows, once before the training.

    held: bytes while the training runs, None where the model is not there then.
    """

    part: str
    step: Flops
    before: float | None
    held: Memory | None


@dataclass(frozen=True)
class TrainingCost:
    """What a training costs. at: the field of the step that holds it, or nothing.

    rows: of a step. sequences: of a row, on average. tokens: of a sequence. longest: whether only the largest length of
    rows is known. most: whether it costs no more than this, as that is so, or the model was cut and it is not known how
    far. steps: None where the number of rows is not known yet. seconds, why: what is known of its time.
    """

    step: PlannedStep
    at: str
    rows: int
    sequences: float
    tokens: float
    longest: bool
    most: bool
    steps: int | None
    passes: list[PassCost]
    seconds: float | None
    why: str

    @property
    def flops(self) -> float:
        """FLOPs of an optimizer step, all models together."""
        return sum(each.step.total for each in self.passes)

    @property
    def held(self) -> float:
        """Bytes of all models together."""
        return sum(each.held.total for each in self.passes if each.held)

    def as_json(self) -> dict[str, object]:
        """As `edgeopt plan --cost --json` prints it."""
        return {
            "step": f"{self.step.chain}.{self.step.id}",
            "training": self.at,
            "rows": self.rows,
            "sequences": round(self.sequences, 2),
            "tokens": round(self.tokens, 1),
            "at_most": self.most,
            "optimizer_steps": self.steps,
            "models": [
                {
                    "part": each.part,
                    "forward_flops": each.step.forward,
                    "backward_flops": each.step.backward,
                    "flops_before": each.before,
                    "bytes": None if each.held is None else each.held._asdict(),
                }
                for each in self.passes
            ],
            "seconds": self.seconds,
            "seconds_from": self.why,
        }


@dataclass(frozen=True)
class Costs:
    """The cost of each training of a plan, in the order of the building, and why some have none."""

    trainings: list[TrainingCost]
    unknown: list[str]

    def as_json(self) -> dict[str, object]:
        """As `edgeopt plan --cost --json` prints it."""
        trainings = [each.as_json() for each in self.trainings]
        return {"cost": trainings, "cost_unknown": self.unknown, "cost_leaves_out": NOT_COUNTED}


class Speed(NamedTuple):
    """FLOPs a second of a training that was measured on this machine, of a model of so many parameters."""

    flops: float
    parameters: float
    step: str


def costs(plan: Plan, store: Store) -> Costs:
    """The costs of a plan's trainings."""
    found, without = [], []
    near = {id(step): each.case for each in advice(plan) for step in each.steps}
    for chain in plan.chains:
        config, cut = _given(plan), False
        for step in plan.chains[chain]:
            for at, training in step.transform.trainings(step.params):
                named = f"{chain}.{step.id}"
                if config is None:
                    without.append(f"{named}: the model is not here yet, so its shape is not known")
                    continue
                try:
                    less = cut or bool(at) or (step.transform.cuts_first and _shortens(step, config))
                    its = _Costing(plan, store, step, at, training, config, less, near.get(id(step)))
                    made = its.cost()
                except (ValueError, KeyError):
                    without.append(f"{named}: there is no formula for this model")
                    continue
                found.append(made)
            config, cut = _after(step, config, cut)
    return Costs(found, without)


def _given(plan: Plan) -> dict[str, Any] | None:
    """The config of the recipe's model; of one that is begun and not made yet, with its words, or the most of them."""
    config, asked, source = plan.source.config, plan.recipe.head.model.tokenizer, plan.source
    if config is None or "vocab_size" in config:
        return config
    if isinstance(asked, NewTokenizer):
        return {**config, "vocab_size": asked.train.vocab}
    if isinstance(source, Begun) and source.kept is not None:
        known = read_tokenizer(source.kept, str(config.get("model_type"))).tokenizer.get_vocab_size()
        return {**config, "vocab_size": known}
    return config


def _after(step: PlannedStep, config: dict[str, Any] | None, cut: bool) -> tuple[dict[str, Any] | None, bool]:
    """(the config of the model behind a step, whether it was cut since)."""
    if step.state is not None and Fact.TORCH in step.state.facts:
        made: dict[str, Any] = json.loads((step.state.folder / CONFIG).read_text(encoding="utf-8"))
        return made, False
    return config, cut or Fact.UNEVEN in step.contract.adds or _shortens(step, config)


def _shortens(step: PlannedStep, config: dict[str, Any] | None) -> bool:
    return config is not None and (step.transform.leaves(step.params, of_config(config)) or 1.0) < 1.0


@dataclass(frozen=True)
class _Costing:
    plan: Plan
    store: Store
    step: PlannedStep
    at: str
    training: Training
    config: dict[str, Any]
    cut: bool
    near: Case | None

    def cost(self) -> TrainingCost:
        training, lengths = self.training, self._lengths()
        steps = training.max_steps
        if steps is None and lengths.rows is not None:
            steps = math.ceil(training.epochs * math.ceil(lengths.rows / training.batch / training.accumulation))
        models = [self._pass(each, lengths) for each in self._passes()]
        each, most = training.batch * training.accumulation, self.cut or lengths.most
        made = TrainingCost(
            self.step, self.at, each, lengths.sequences, lengths.tokens, lengths.most, most, steps, models, None, ""
        )
        seconds, why = self._time(made)
        return replace(made, seconds=seconds, why=why)

    def _passes(self) -> list[Pass]:
        models = {"": self.config}
        for reference in self.step.transform.references(self.step.params):
            config = self._config_of(reference.name)
            if config is not None:
                models[reference.name] = config
        return self.step.transform.passes(self.step.params, self.training, models)

    def _config_of(self, name: str) -> dict[str, Any] | None:
        """The config of a model that a step names; of a step that is not built yet, that of the recipe's model."""
        stands = standing(self.plan.chains, name)
        if stands is None:
            source: ModelSource | None = self.plan.checkpoints.get(name)
            return None if source is None else source.config
        return _after(stands, _given(self.plan), False)[0]

    def _pass(self, model: Pass, lengths: Lengths) -> PassCost:
        rows = self._rows(lengths.sequences, lengths.tokens)
        if not model.once:
            kinds = [memory(model, self._rows(kind.sequences, kind.tokens)) for kind in lengths.kinds]
            held = max(kinds, key=lambda each: each.total)
            return PassCost(model.part, flops(model, rows).times(self.training.accumulation), None, held)
        times = self.training.epochs if model.part == "auxiliary" else 1.0
        read = [kind for kind in lengths.kinds if model.task in (None, kind.name)]
        before = times * sum(kind.whole * self._forward(model, kind) for kind in read) if lengths.known else None
        if self.training.max_steps is not None and model.part == "auxiliary":
            seen = self.training.max_steps * self.training.batch * self.training.accumulation
            before = seen * self._forward(model, *lengths.kinds)
        return PassCost(model.part, Flops(0.0, 0.0), before, None)

    def _forward(self, model: Pass, kind: Kind) -> float:
        """FLOPs of a row through a model."""
        return flops(model, self._rows(kind.sequences, kind.tokens)).forward / self.training.batch

    def _rows(self, sequences: float, tokens: float) -> Rows:
        """What a batch of rows puts into the model."""
        share = getattr(self.step.params, "mask", 0.0)
        guessed = share * max(0.0, tokens - 2) if isinstance(share, float) else 0.0
        return Rows(self.training.batch * sequences, tokens, guessed)

    def _lengths(self) -> Lengths:
        if (spec := self.step.transform.corpus(self.step.params)) is not None:
            return self._corpus_lengths(bool(spec.pack), int(getattr(self.step.params, "max_length", 128)))
        return of_task(self.plan, self.step, self.training)

    def _corpus_lengths(self, pack: bool, max_length: int) -> Lengths:
        """Lengths of text that is in the store in tokens; for other text the length that is asked for."""
        corpus, folder = self.plan.corpora.get(self.step.id), self.plan.source.folder
        unknown = alike(None, max_length, most=not pack)
        if corpus is None or folder is None or corpus.key() is None:
            return unknown
        try:
            tokenizer = read_tokenizer(folder, str(self.plan.source.model_type))
        except InputError:
            return unknown
        frame = frame_of(tokenizer.tokenizer)
        made = there(self.store.corpora / address(corpus, tokenizer.text, frame.behind))
        if made is None:
            return unknown
        lengths = CorpusRows(made.stream("train"), frame, max_length, pack=pack).lengths
        return alike(len(lengths), float(lengths.mean()), most=False) if len(lengths) else unknown

    def _time(self, made: TrainingCost) -> tuple[float | None, str]:
        if self.step.state is not None:
            known = told(self.step.state.figures)
            if "train_seconds" in known and not self.at:
                return known["train_seconds"], "when it was built"
            return self.step.state.seconds, "the whole step, when it was built"
        size = parameters(self._passes()[0])
        near = [s for s in speeds(self.store) if 1 / SIZE <= s.parameters / size <= SIZE]
        before = sum(each.before or 0.0 for each in made.passes)
        if made.steps is None:
            return None, "the number of rows is not known yet"
        if not near:
            case, told_of = self.near, "not measured here"
            return None, told_of if case is None else f"{told_of}; {case.seconds:,.0f} s in the near case above"
        best = min(near, key=lambda speed: abs(math.log(speed.parameters / size)))
        seconds = (made.flops * made.steps + before) / best.flops
        return seconds, f"at the {best.flops / 1e9:.3g} GFLOPs a second of {best.step}, measured here"


def speeds(store: Store) -> Iterator[Speed]:
    """What trainings of the store reached on this processor with this number of threads."""
    for state in store.states():
        known = told(state.figures)
        cost, seconds, steps = known.get("step_cost"), known.get("computing_seconds"), known.get("computed_steps")
        if not cost or not seconds or not steps:
            continue
        if (cost["processor"], cost["threads"]) == (None if host.has_cuda() else host.cpu_name(), host.cpus()):
            done = (cost["main_flops"] + cost["auxiliary_flops"]) * steps
            size = cost["main_bytes"]["parameters"] / 4
            yield Speed(done / seconds, size, f"{state.manifest['use']} {state.key[:8]}")
