"""The further seeds of a recipe: both chains built with each, and their metrics on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

from edgeopt.gates.evidence import Evidence, write_predictions
from edgeopt.measure.accuracy import outputs_of
from edgeopt.models.files import GRAPH
from edgeopt.plan import Chain, Plan, plans_by_seed
from edgeopt.results.model import SeedResult, Seeds, Spread
from edgeopt.run.execute import Executed, execute
from edgeopt.run.processes import Group
from edgeopt.statistics.bounds import Values
from edgeopt.store.store import Store
from edgeopt.support.progress import Progress
from edgeopt.tasks import Task


@dataclass(frozen=True)
class SeedLogits:
    """Logits (rows, outputs) of both models trained with one seed."""

    seed: int
    baseline: Values
    candidate: Values


def execute_seeds(plan: Plan, store: Store, progress: Progress, group: Group) -> dict[str, Executed]:
    """Build both chains for every seed, by the name of the variant, the first seed first. Raises as `execute` does."""
    done: dict[str, Executed] = {}
    for each in plans_by_seed(plan):
        first = next(iter(done.values()), None)  # model and rows are fetched once
        done[each.recipe.variant] = execute(
            replace(each, source=first.source, data=first.data) if first else each, store, progress, group
        )
    return done


def measure_seeds(plan: Plan, executed: Sequence[Executed], evidence: Evidence, progress: Progress) -> list[SeedLogits]:
    """Logits for every seed; the first's are those of the evidence. A graph that several seeds share runs once."""
    task, seeds = evidence.task, plan.recipe.head.seeds
    if seeds is None:
        return []
    done = [SeedLogits(seeds[0], evidence.baseline_logits, evidence.candidate_logits)]
    finals: dict[Chain, Values] = {"baseline": evidence.baseline_logits, "candidate": evidence.candidate_logits}
    if task.embeds:  # the evidence has what is made of the outputs
        finals = {}
    seen = {executed[0].final(chain).digest: logits for chain, logits in finals.items()}

    def run(seed: int, each: Executed, chain: Chain) -> Values:
        state = each.final(chain)
        if state.digest not in seen:
            seen[state.digest] = outputs_of(
                state.folder / GRAPH,
                state.folder,
                each.data.report,
                task,
                progress,
                f"accuracy of {chain}, seed {seed}",
            )
        return seen[state.digest]

    for seed, each in zip(seeds[1:], executed[1:], strict=True):
        base, candidate = run(seed, each, "baseline"), run(seed, each, "candidate")
        both = (task.compared(outputs, base, each.data.report.labels) for outputs in (base, candidate))
        done.append(SeedLogits(seed, *both))
        progress.say(f"{f'seed-{seed}':<22} metrics measured")
    return done


def write_seeds(folder: Path, task: Task, labels: Values, seeds: Sequence[SeedLogits]) -> None:
    """predictions-seed-N.jsonl for every seed but the first, whose are in predictions.jsonl."""
    for each in seeds[1:]:
        write_predictions(folder / f"predictions-seed-{each.seed}.jsonl", task, labels, each.baseline, each.candidate)


def summarize(task: Task, labels: Values, seeds: Sequence[SeedLogits]) -> Seeds | None:
    """Metrics of every seed and how they spread; None where the recipe has one seed."""
    if not seeds:
        return None

    def metrics(logits: Values) -> dict[str, float]:
        return {**task.metrics(labels, logits), **task.extra_metrics(labels, logits)}

    results = [SeedResult(seed=s.seed, baseline=metrics(s.baseline), candidate=metrics(s.candidate)) for s in seeds]
    return Seeds(results=results, spreads=[_spread(name, results) for name in results[0].baseline])


def _spread(metric: str, results: Sequence[SeedResult]) -> Spread:
    baseline, candidate = [r.baseline[metric] for r in results], [r.candidate[metric] for r in results]
    difference = [c - b for b, c in zip(baseline, candidate, strict=True)]
    columns = {"baseline": baseline, "candidate": candidate, "difference": difference}
    values = {
        f"{name}_{what}": of(column)
        for name, column in columns.items()
        for what, of in (("mean", fmean), ("std", stdev))
    }
    return Spread(metric=metric, **values)
