"""Energy and CO2eq of steps and inferences: the lines of the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from edgeopt.plan import Chain
from edgeopt.report import format as fmt
from edgeopt.report.cost import step_name
from edgeopt.report.table import Column, Table
from edgeopt.results.figures import Emitted
from edgeopt.results.model import Emissions, InferenceEnergy, Report, Step

PER = "1,000 inferences"


def inference(report: Report, subject: Chain) -> InferenceEnergy | None:
    """The energy of a subject's queries; None where it was not measured."""
    found = report.emissions.inference if report.emissions else []
    return next((each for each in found if each.subject == subject), None)


def figures(report: Report) -> Iterator[list[str]]:
    """The rows on energy in the table of figures."""
    before, after = inference(report, "baseline"), inference(report, "candidate")
    if report.emissions is None or before is None or after is None:
        return
    about = ", estimated" if report.emissions.estimated else ""
    change, bounds = _change(report.emissions, before, after)
    yield [f"energy of {PER}{about}", fmt.energy(before.kwh), fmt.energy(after.kwh), change, bounds]
    yield [f"CO2eq of {PER}{about}", fmt.grams(before.co2eq_g), fmt.grams(after.co2eq_g), change, bounds]


def _change(found: Emissions, before: InferenceEnergy, after: InferenceEnergy) -> tuple[str, str]:
    """How much less or more energy, with the bounds of that ratio; or that the measurement does not say.

    Where a model's energy cannot be told from idling's there is no ratio, and where the ratio's bounds hold 1 there is
    no less.
    """
    low, high = found.ratio_low, found.ratio_high
    if not (before.low > 0 and after.low > 0) or low is None or high is None:
        return "too close to idling", fmt.ABSENT
    ends = (low, high) if before.kwh >= after.kwh else (1 / high, 1 / low)  # of the ratio that `change` says
    shown = fmt.interval(*ends, fmt.ratio)
    return (
        "no clear difference" if ends[0] <= 1 <= ends[1] else fmt.shrink(before.kwh, after.kwh, ("less", "more"))
    ), shown


def table(report: Report) -> Table:
    """A line a step that was metered when it was built, and what the steps of each chain come to.

    Steps that both chains share stand there once. No rows where none was metered.
    """
    columns = [
        Column("Step", "code"),
        Column("Metered"),
        Column("Energy", "number"),
        Column("CO2eq", "number"),
        Column("Figure"),
    ]
    unique = list({step.key: (step, found) for step in reversed(report.steps) if (found := used(step))}.values())[::-1]
    rows = [
        [step_name(step, report), fmt.duration(found["seconds"]), *_amounts([found]), _figure([found])]
        for step, found in unique
    ]
    for chain in ("baseline", "candidate"):
        steps = [step for step in report.steps if step.chain == chain]
        known = _used(steps)
        if known:
            least = "≥ " if len(known) < len(steps) else ""
            amounts = [least + amount for amount in _amounts(known)]
            rows.append(
                [f"{chain}, all steps", fmt.duration(sum(each["seconds"] for each in known)), *amounts, _figure(known)]
            )
    return Table(columns, rows)


def used(step: Step) -> Emitted | None:
    """What the step took when it was built; None where it was not metered."""
    return step.told.get("emissions")


def country(report: Report) -> str | None:
    """Whose electricity the report's CO2eq is of; None where it has none."""
    found = [each["country"] for each in _used(report.steps)]
    return report.emissions.country if report.emissions else next(iter(found), None)


def chain_total(report: Report, chain: Chain, what: Literal["kwh", "co2eq_g"]) -> float | None:
    """The kwh or co2eq_g of all steps of a chain; None where one of them was not metered."""
    steps = [step for step in report.steps if step.chain == chain]
    found = _used(steps)
    return sum(each[what] for each in found) if steps and len(found) == len(steps) else None


def _used(steps: Sequence[Step]) -> list[Emitted]:
    return [found for step in steps if (found := used(step))]


def _amounts(found: Sequence[Emitted]) -> list[str]:
    return [fmt.energy(sum(each["kwh"] for each in found)), fmt.grams(sum(each["co2eq_g"] for each in found))]


def _figure(found: Sequence[Emitted]) -> str:
    return "estimated" if any(each["estimated"] for each in found) else "counted"


def note(report: Report) -> str:
    """How the figures came about, and how far to trust them. Empty where there are none."""
    found = _used(report.steps)
    ways = dict.fromkeys([each["how"] for each in found] + ([report.emissions.how] if report.emissions else []))
    if not ways:
        return ""
    parts = [f"Measured by CodeCarbon: {'. Or: '.join(ways)}."]
    if any(each["estimated"] for each in found) or (report.emissions and report.emissions.estimated):
        parts.append(
            "Estimates are only as good as these watts. CODECARBON_FORCE_CPU_POWER sets them. The ratio of two models "
            "does not depend on them."
        )
    if found:
        parts.append("The energy of a step is that of its process and its child processes when it was built.")
    return " ".join([*parts, *([_inferences(report.emissions)] if report.emissions else [])])


def _inferences(found: Emissions) -> str:
    return (
        f"Inferences are on real rows at their own lengths, one at a time, with the threads of {found.target}. Each "
        f"model answered for {found.seconds:g} s in {found.blocks} blocks. The power of idling, "
        f"{fmt.significant(found.idle_watts)} W, is subtracted. The bounds are Student's t over the blocks and cover "
        f"the measurement only. Electricity in {found.country}: {found.g_per_kwh:.0f} g CO2eq per kWh."
    )
