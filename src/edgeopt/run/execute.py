"""Walk a plan: build what is missing, reuse what is there, never leave anything half-written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeopt.data import TaskData
from edgeopt.export.graph_files import digest_of
from edgeopt.measure.emissions import country_of, figures_of, metering
from edgeopt.models.files import GRAPH
from edgeopt.models.source import WEIGHTS, ModelSource
from edgeopt.plan import Chain, Plan, PlannedStep, full_name, key_parts, load_step, look_up, memory_of, seed_of
from edgeopt.plan.references import standing
from edgeopt.results.figures import told
from edgeopt.run.applied import apply
from edgeopt.run.failures import step_errors, variant_errors
from edgeopt.run.fetch import fetch
from edgeopt.run.observe import observe_facts, observe_told
from edgeopt.run.processes import Group
from edgeopt.step.transform import Reference, StepContext
from edgeopt.store.facts import Fact, Facts
from edgeopt.store.store import State, Store
from edgeopt.support import host
from edgeopt.support.errors import bad_input, step_failed
from edgeopt.support.files import key_of
from edgeopt.support.progress import Progress
from edgeopt.tasks import task_of
from edgeopt.tasks.probe import probe
from edgeopt.training.batches import begin_with
from edgeopt.training.precision import asks, decide, known


@dataclass(frozen=True)
class Done:
    """A step that has its state; cached: it had it before this run."""

    step: PlannedStep
    state: State
    cached: bool


@dataclass(frozen=True)
class Executed:
    """Both chains, done, and the rows they were done with."""

    chains: dict[Chain, list[Done]]
    data: TaskData
    source: ModelSource

    def final(self, chain: Chain) -> State:
        """The last state of a chain, which is exported and measured."""
        return self.chains[chain][-1].state

    def lowered(self, chain: Chain) -> State:
        """The first graph of a chain: in FP32, the state its lowering left; of a model trained in int8 that."""
        return next(d.state for d in self.chains[chain] if Fact.ONNX in d.state.facts)

    def torch_state(self, chain: Chain) -> State:
        """The last state of a chain that torch can load."""
        return next(d.state for d in reversed(self.chains[chain]) if Fact.TORCH in d.state.facts)


def execute(plan: Plan, store: Store, progress: Progress, group: Group) -> Executed:
    """Bring every step of the plan about. Raises StepError (exit 3) naming the step that failed, and the variant."""
    store.prepare()
    plan = _decided(fetch(plan, store), store, progress)
    assert plan.data is not None
    return Execution(plan, store, progress, group, plan.data).run()


@dataclass(frozen=True)
class Execution:
    """A walk through a plan whose model and rows are here.

    done: of each chain the steps that have their states so far.
    """

    plan: Plan
    store: Store
    progress: Progress
    group: Group
    data: TaskData
    done: dict[Chain, list[Done]] = field(default_factory=dict)

    def run(self) -> Executed:
        with variant_errors(self.plan.recipe.variant):
            task = task_of(self.plan.recipe.head.task, self.data.label_names)
            probe(task, task.stack_labels(self.data.report.labels))
            for chain in self.plan.chains:
                self._walk(chain)
        return Executed(self.done, self.data, self.plan.source)

    def _walk(self, chain: Chain) -> None:
        state = _given(self.plan.source)
        self.done[chain] = []
        for step in self.plan.chains[chain]:
            lacking = step.contract.requires - state.facts
            if lacking:
                raise bad_input(
                    "E204",
                    f"step '{step.id}' ({step.use}) needs {', '.join(sorted(lacking))}, and the checkpoint does not "
                    "bring it",
                    place=step.place,
                    help="put a step that trains before it",
                )
            done = self._bring_about(step, chain, state)
            self.done[chain].append(done)
            state = done.state
            shown = "cached" if done.cached else f"{state.seconds:.1f} s"
            self.progress.say(f"{self._shown(step, chain)} {shown}")

    def _bring_about(self, step: PlannedStep, chain: Chain, before: State) -> Done:
        """The step with its state: the store's, or one that is built."""
        others = self._others(step)
        parts = key_parts(
            step, before.digest, self.plan, self.data.key("train"), {n: s.digest for n, s in others.items()}
        )
        if step.transform.trains(step.params) and self.group.size > 1:
            parts["processes"] = self.group.size  # each adds its batch to a step
        found = look_up(step, parts, self.plan.recipe, self.store)
        cached = found.state is not None
        if not cached:
            found = self._build(found, before, others)
        assert found.state is not None and found.key is not None
        self.store.remember(memory_of(self.plan.recipe), chain, step.id, found.key, parts)
        return Done(found, found.state, cached)

    def _others(self, step: PlannedStep) -> dict[str, State]:
        """The states that the step's references name; a checkpoint that was not read yet is.

        Raises InputError E208 for a teacher without a trained head, which a checkpoint of the hub may turn out to be.
        """
        found: dict[str, State] = {}
        for reference in step.transform.references(step.params):
            if reference.role == "auxiliary" and standing(self.plan.chains, reference.name) is None:
                found[reference.key] = _given(self.plan.checkpoints[reference.name])
                continue
            state = self._named(reference)
            if reference.role == "teacher" and Fact.TRAINED_HEAD not in state.facts:
                help = "name a step behind one that trains, or `baseline`"
                raise bad_input(
                    "E208",
                    f"step '{step.id}': the teacher '{reference.name}' has no trained head",
                    place=step.place,
                    help=help,
                )
            found[reference.key] = state
        return found

    def _named(self, reference: Reference) -> State:
        """The state that a step of the plan left, or that of a checkpoint."""
        stands = standing(self.plan.chains, reference.name)
        if stands is None:
            return (self if reference.task is None else self._of_task(reference.task))._read(reference.name)
        return next(d.state for d in self.done[stands.chain] if d.step.id == stands.id)

    def _of_task(self, name: str) -> Execution:
        """The walk as if the recipe had this one of its tasks alone, and its rows."""
        plan = self.plan.of_task(name)
        assert plan.data is not None
        return replace(self, plan=plan, data=plan.data)

    def _read(self, name: str) -> State:
        """The state of a checkpoint that a step names: read, with the task's head."""
        step, given = load_step(name), _given(self.plan.checkpoints[name])
        parts = key_parts(step, given.digest, self.plan, self.data.key("train"))
        key = key_of(parts)
        state = self.store.find(key) or self._build(replace(step, key=key, parts=parts), given, {}).state
        assert state is not None
        return state

    def _build(self, step: PlannedStep, before: State, others: Mapping[str, State]) -> PlannedStep:
        """The step with a state that is built, by who has the lock of its key."""
        key = step.key
        assert key is not None
        with self.store.lock(key):
            state = self.store.find(key)  # another run may have built it while this one waited
            if state is not None:
                return replace(step, state=state, status="cached")
            said = self.progress.during(self._shown(step, step.chain), told=False)
            with said, self.store.building(key) as output, step_errors(step, output):
                facts, figures, seconds = self._apply(step, before, self._context(step, output, others))
                state = self.store.commit(
                    output, key=key, parts=step.parts, use=step.use, facts=facts, figures=figures, seconds=seconds
                )
        return replace(step, state=state)

    def _context(self, step: PlannedStep, output: Path, others: Mapping[str, State]) -> StepContext:
        assert step.key is not None
        work = self.store.work(step.key)
        begin_with(work, self.plan.batches.get(full_name(self.plan.recipe.variant, step.chain, step.id), {}))
        return StepContext(
            self.plan.recipe.head.task,
            replace(self.data, held_out=step.held_out),
            output,
            work,
            seed_of(step, self.plan.recipe),
            self.progress,
            self.group.size,
            shared=self.store.measured,
            answers=self.store.answers,
            states=others,
            corpus=self.plan.corpora.get(step.id) if step.chain == "candidate" else None,
            corpora=self.store.corpora,
        )

    def _apply(self, step: PlannedStep, before: State, context: StepContext) -> tuple[Facts, dict[str, Any], float]:
        """Facts and figures of what the step wrote, looked for in its files, and the seconds that it took."""
        asked = self.plan.recipe.head.emissions
        with metering(country_of(asked) if asked else None) as used:
            started = time.monotonic()
            host.forget_peak_memory()
            self.group.announce(step.use, before, step.params, context)
            apply(step, before, context)
            facts = _facts_after(step, before, context)
            _changed_something(before, context.output, step)
            figures = {**context.figures, **step.transform.observe(before, context.output, step.params)}
            observe_facts(context.output, facts, before, figures)
            observe_told(figures)
            seconds = time.monotonic() - started
        figures |= figures_of(used)
        # a training forgets what was before it, and notes its own
        if step.auto and self.plan.precision is not None:
            told(figures)["precision_chosen"] = self.plan.precision.why
        told(figures)["peak_rss_bytes"] = max(host.peak_memory(), told(figures).get("peak_rss_bytes", 0))
        return facts, figures, seconds

    def _shown(self, step: PlannedStep, chain: Chain) -> str:
        """Name and transform in columns, for what a run says."""
        return f"{full_name(self.plan.recipe.variant, chain, step.id):<{_width(self.plan)}} {step.use:<18}"


def _decided(plan: Plan, store: Store, progress: Progress) -> Plan:
    """The plan with what `precision: auto` means here, which is measured where no step before could know."""
    if not any(asks(step.params) for step in plan.steps):
        return plan
    if (found := known(plan.source.config, store.measured)) is None:
        with progress.during("precision: auto is measured, a layer's step in fp32 and in bf16", 3):
            found = decide(plan.source.config, store.measured)
    progress.say(f"{'precision: auto':<{_width(plan)}} {found.precision}: {found.why}")
    return plan.decided(found)


def _given(source: ModelSource) -> State:
    """A checkpoint as the input of the step that reads it."""
    digest = source.fingerprint()
    assert source.folder is not None and digest is not None
    return State(source.folder, {"digest": digest, "facts": [Fact.TORCH], "figures": {}, "files": {}})


def _width(plan: Plan) -> int:
    """How wide the column of names is in what a run says."""
    return 22 + len(plan.recipe.variant)


def _facts_after(step: PlannedStep, before: State, context: StepContext) -> Facts:
    contract = step.contract
    facts = (before.facts - contract.removes) | contract.adds
    if context.told.get("head_trained"):
        facts |= {Fact.TRAINED_HEAD}
    return facts


def _changed_something(before: State, output: Path, step: PlannedStep) -> None:
    """The no-op guard: a step whose weights are those it was given did nothing."""
    for name in (WEIGHTS, GRAPH):
        old, new = before.files.get(name), output / name
        adapter = "adapter/adapter_model.safetensors"
        if (
            old
            and new.is_file()
            and digest_of(new) == digest_of(before.folder / name)
            and not (output / adapter).exists()
        ):
            raise step_failed(
                "E402",
                f"step '{step.id}' ({step.use}) changed nothing",
                help="remove the step, or give it parameters that do something",
            )
