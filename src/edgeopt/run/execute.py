"""Walk a plan: build what is missing, reuse what is there, never leave anything half-written."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edgeopt.data import TaskData
from edgeopt.export.graph_files import digest_of
from edgeopt.measure.emissions import country_of, figures_of, metering
from edgeopt.models.files import GRAPH
from edgeopt.models.source import WEIGHTS, ModelSource, download
from edgeopt.plan import Chain, Plan, PlannedStep, check_order, full_name, hub_data_name, in_order, key_parts, load_rows, load_step, look_up, memory_of, seed_of
from edgeopt.plan.fit import fit_issues
from edgeopt.plan.references import all_references, misfits, standing
from edgeopt.run.observe import observe_facts
from edgeopt.run.processes import Group
from edgeopt.step.transform import StepContext
from edgeopt.store.facts import Fact, Facts
from edgeopt.store.store import State, Store
from edgeopt.support import host
from edgeopt.support.errors import EdgeoptError, InputError, StepError, bad_input, step_failed
from edgeopt.support.files import key_of
from edgeopt.support.progress import Progress
from edgeopt.support.publishing import is_disk_full
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
    with _variant_errors(plan.recipe.variant):
        chains: dict[Chain, list[Done]] = {}
        for name in plan.chains:
            chains[name] = _chain(plan, name, store, progress, group, plan.data, chains)
    return Executed(chains, plan.data, plan.source)


def _decided(plan: Plan, store: Store, progress: Progress) -> Plan:
    """The plan with what `precision: auto` means here, which is measured where no step before could know."""
    if not any(asks(step.params) for step in plan.steps):
        return plan
    if (found := known(plan.source.config, store.measured)) is None:
        with progress.during("precision: auto is measured, a layer's step in fp32 and in bf16", 3):
            found = decide(plan.source.config, store.measured)
    progress.say(f"{'precision: auto':<{_width(plan)}} {found.precision}: {found.why}")
    return plan.decided(found)


def fetch(plan: Plan, store: Store) -> Plan:
    """The plan with model and rows here, downloaded where they were not. Raises InputError where they cannot be had or do not fit."""
    source, data = plan.source, plan.data
    if source.folder is None:
        source = download(source)
        check_order(plan.recipe, source)  # only now is it known whether the checkpoint has a trained head, and what else it has
    if data is None:
        data = in_order(plan.recipe, source, load_rows(plan.recipe))
        store.remember_source(hub_data_name(plan.recipe), data.key("train"))
    elif source is not plan.source:
        data = in_order(plan.recipe, source, data)  # only now is it known in which order the head has them
    if source is not plan.source or data is not plan.data:
        issues = fit_issues(plan.recipe, source, data)
        if issues:
            raise InputError(issues)
    return replace(plan, source=source, data=data, checkpoints=_downloaded(plan, source, data))


def _downloaded(plan: Plan, model: ModelSource, data: TaskData) -> dict[str, ModelSource]:
    """The checkpoints that steps name, all of them here. Raises InputError E208 where one turns out not to fit."""
    found = {name: download(source) if source.folder is None else source for name, source in plan.checkpoints.items()}
    named = [n for n in all_references(plan.recipe) if n.reference.name in found]
    issues = [i for n in named for i in misfits(n, found[n.reference.name], plan.recipe, model, data.label_names)]
    if issues:
        raise InputError(issues)
    return found


def _chain(plan: Plan, name: Chain, store: Store, progress: Progress, group: Group, data: TaskData, earlier: Mapping[Chain, list[Done]]) -> list[Done]:
    fingerprint = plan.source.fingerprint()
    assert plan.source.folder is not None and fingerprint is not None
    state = State(plan.source.folder, {"digest": fingerprint, "facts": [], "figures": {}, "files": {}})
    done: list[Done] = []
    for step in plan.chains[name]:
        lacking = step.contract.requires - state.facts
        if lacking:
            raise bad_input(
                "E204",
                f"step '{step.id}' ({step.use}) needs {', '.join(sorted(lacking))}, and the checkpoint does not bring it",
                place=step.place,
                help="put a step that trains before it",
            )
        others = _others(step, {**earlier, name: done}, plan, store, progress, group, data)
        parts = key_parts(step, state.digest, plan, data.key("train"), {n: s.digest for n, s in others.items()})
        if step.transform.trains(step.params) and group.size > 1:
            parts["processes"] = group.size  # each adds its batch to a step
        found = look_up(step, parts, plan.recipe, store)
        cached = found.state is not None
        if found.state is None:
            found = _build(found, state, plan, store, progress, group, data, others)
        assert found.state is not None and found.key is not None
        store.remember(memory_of(plan.recipe), name, step.id, found.key, parts)
        state = found.state
        done.append(Done(found, state, cached))
        shown = "cached" if cached else f"{state.seconds:.1f} s"
        progress.say(f"{full_name(plan.recipe.variant, name, step.id):<{_width(plan)}} {step.use:<18} {shown}")
    return done


def _others(
    step: PlannedStep, done: Mapping[Chain, list[Done]], plan: Plan, store: Store, progress: Progress, group: Group, data: TaskData
) -> dict[str, State]:  # fmt: skip
    """The states that the step's references name; a checkpoint that was not read yet is. Raises InputError E208 for a teacher
    without a trained head, which a checkpoint of the hub may turn out to be."""
    found: dict[str, State] = {}
    for reference in step.transform.references(step.params):
        stands = standing(plan.chains, reference.name)
        if stands is not None:
            state = next(d.state for d in done[stands.chain] if d.step.id == stands.id)
        else:
            state = _read(reference.name, plan, store, progress, group, data)
        if reference.role == "teacher" and Fact.TRAINED_HEAD not in state.facts:
            help = "name a step behind one that trains, or `baseline`"
            raise bad_input("E208", f"step '{step.id}': the teacher '{reference.name}' has no trained head", place=step.place, help=help)
        found[reference.name] = state
    return found


def _read(name: str, plan: Plan, store: Store, progress: Progress, group: Group, data: TaskData) -> State:
    """The state of a checkpoint that a step names: read, with the task's head."""
    source, step = plan.checkpoints[name], load_step(name)
    digest = source.fingerprint()
    assert source.folder is not None and digest is not None
    parts = key_parts(step, digest, plan, data.key("train"))
    key = key_of(parts)
    state = store.find(key)
    if state is None:
        given = State(source.folder, {"digest": digest, "facts": [], "figures": {}, "files": {}})
        state = _build(replace(step, key=key, parts=parts), given, plan, store, progress, group, data, {}).state
    assert state is not None
    return state


def _build(
    step: PlannedStep, before: State, plan: Plan, store: Store, progress: Progress, group: Group, data: TaskData, others: Mapping[str, State]
) -> PlannedStep:  # fmt: skip
    key = step.key
    assert key is not None
    with store.lock(key):
        state = store.find(key)  # another run may have built it while this one waited
        if state is not None:
            return replace(step, state=state, status="cached")
        said = progress.during(f"{full_name(plan.recipe.variant, step.chain, step.id):<{_width(plan)}} {step.use:<18}", told=False)
        with said, store.building(key) as output, _step_errors(step, output):
            context = StepContext(
                plan.recipe.head.task, replace(data, held_out=step.held_out), output, store.work(key), seed_of(step, plan.recipe), progress, group.size,
                shared=store.measured, answers=store.answers, states=others,
            )  # fmt: skip
            asked = plan.recipe.head.emissions
            with metering(country_of(asked) if asked else None) as used:
                started = time.monotonic()
                host.forget_peak_memory()
                group.announce(step.use, before, step.params, context)
                step.transform.apply(before, step.params, context)
                facts = _facts_after(step, before, context)
                _changed_something(before, output, step)
                figures = {**context.figures, **step.transform.observe(before, output, step.params)}
                observe_facts(output, facts, before, figures)
                seconds = time.monotonic() - started
            figures |= figures_of(used)
            # a training forgets what was before it, and notes its own
            if step.auto and plan.precision is not None:
                figures["precision_chosen"] = plan.precision.why
            figures["peak_rss_bytes"] = max(host.peak_memory(), figures.get("peak_rss_bytes", 0))
            state = store.commit(output, key=key, parts=step.parts, use=step.use, facts=facts, figures=figures, seconds=seconds)
    return replace(step, state=state)


def _width(plan: Plan) -> int:
    """Of the column of names in what a run says."""
    return 22 + len(plan.recipe.variant)


def _facts_after(step: PlannedStep, before: State, context: StepContext) -> Facts:
    contract = step.contract
    facts = (before.facts - contract.removes) | contract.adds
    if context.figures.get("head_trained"):
        facts |= {Fact.TRAINED_HEAD}
    return facts


def _changed_something(before: State, output: Path, step: PlannedStep) -> None:
    """The no-op guard: a step whose weights are those it was given did nothing."""
    for name in (WEIGHTS, GRAPH):
        old, new = before.files.get(name), output / name
        adapter = "adapter/adapter_model.safetensors"
        if old and new.is_file() and digest_of(new) == digest_of(before.folder / name) and not (output / adapter).exists():
            raise step_failed("E402", f"step '{step.id}' ({step.use}) changed nothing", help="remove the step, or give it parameters that do something")


@contextmanager
def _step_errors(step: PlannedStep, output: Path) -> Iterator[None]:
    """Whatever a library raises inside a step becomes one StepError that names the step."""
    try:
        yield
    except StepError as error:
        issue = replace(error.issues[0], message=_named(step, error.issues[0].message), place=error.issues[0].place or step.place)
        raise StepError(issue) from error
    except EdgeoptError as error:
        raise type(error)(tuple(replace(i, place=i.place or step.place) for i in error.issues)) from error
    except MemoryError as error:
        raise step_failed("E406", f"step '{step.id}' ({step.use}) ran out of memory", help="lower batch_size or max_length") from error
    except Exception as error:
        if is_disk_full(error, output):
            raise step_failed(
                "E405",
                f"the disk is full: step '{step.id}' ({step.use}) could not be written",
                help="free space (`edgeopt cache gc`) and type the same command again",
            ) from error
        text = " ".join(str(error).split())[:300] or type(error).__name__
        issue = step_failed(
            "E401", f"step '{step.id}' ({step.use}) failed: {type(error).__name__}: {text}", help="if the recipe is right, report it with the log"
        ).issues[0]
        raise StepError(replace(issue, place=step.place)) from error


@contextmanager
def _variant_errors(variant: str) -> Iterator[None]:
    """A failed step of one of several seeds says which."""
    try:
        yield
    except StepError as error:
        if not variant:
            raise
        raise StepError([replace(i, message=f"{variant}: {i.message}") for i in error.issues]) from error


def _named(step: PlannedStep, message: str) -> str:
    return message if f"'{step.id}'" in message else f"step '{step.id}' ({step.use}): {message}"
