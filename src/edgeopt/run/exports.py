"""The exports of a run: every format of the recipe written, and where `auto` is asked for the one that is kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeopt.export.exporter import EXPORTERS, Exported, Exporter, ExportInput, Runnable, absent, exporter, unfit
from edgeopt.models.files import GRAPH
from edgeopt.recipe.load import Recipe
from edgeopt.results.folder import MODEL
from edgeopt.run.execute import Executed
from edgeopt.spec.recipe import AUTO, ExportSpec
from edgeopt.store.facts import Fact
from edgeopt.support.errors import EdgeoptError, step_failed
from edgeopt.support.progress import Progress
from edgeopt.tasks import task_type


@dataclass(frozen=True)
class Written:
    """One export in the run's folder, and what it was made from."""

    name: str
    format: str
    folder: Path
    place: str | None
    exported: Exported
    source: Path

    @property
    def path(self) -> Path:
        """The file that is opened."""
        return self.folder / self.exported.artifact

    @property
    def exporter(self) -> Exporter:
        """The exporter that wrote it."""
        return exporter(self.format)

    def opened_with(self, options: Mapping[str, Any]) -> Runnable:
        """The file for opening with these options on top of its own settings."""
        return Runnable(self.path, self.format, {**self.exported.settings, **options})


def write_exports(
    recipe: Recipe, executed: Executed, folder: Path, progress: Progress
) -> tuple[list[Written], list[str]]:
    """Every export below the run's folder; the first is the candidate.

    With `auto` those that it chooses from come first, and none of them has its place yet; what a library cannot convert
    is left out, and a note says so. Raises StepError E410 where that is a format that the recipe names, or all are.
    """
    lowered, final = executed.lowered("candidate"), executed.final("candidate")
    trained_in_int8 = Fact.INT8 in lowered.facts
    torch = None if trained_in_int8 else executed.torch_state("candidate")
    given = ExportInput(final, None if trained_in_int8 else lowered, torch, longest(recipe))
    out: list[Written] = []
    notes: list[str] = []
    for i, spec in enumerate(recipe.head.export):
        for name, format, options in _ways(recipe, spec, executed):
            made = exporter(format)
            place = None if spec.format == AUTO else MODEL if i == 0 else f"{MODEL}-{format}"
            target = folder / (place or f"exports/{len(out) + len(notes)}")
            target.mkdir(parents=True)
            try:
                exported = made.write(given, target, {**made.known_options, **options})
            except (EdgeoptError, OSError, KeyboardInterrupt):
                raise
            except BaseException as error:
                text = (
                    f"exporter '{format}' cannot convert the model: "
                    f"{' '.join(str(error).split())[:300] or type(error).__name__}"
                )
                if spec.format != AUTO:
                    raise step_failed("E410", text, help="leave the format out of `export`") from error
                notes.append(f"`export: auto` left {name} out: {text}.")
                shutil.rmtree(target)
                progress.say(f"{'export.' + name:<22} left out: {text}")
                continue
            source = final if made.source == "graph" else lowered
            out.append(Written(name, format, target, place, exported, source.folder / GRAPH))
            progress.say(f"{'export.' + name:<22} {made.summary}")
        if not out:
            raise step_failed(
                "E410", "no exporter of `export: auto` can convert the model", help="name a format in `export`"
            )
    return out, notes


def _ways(recipe: Recipe, spec: ExportSpec, executed: Executed) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(name, format, options) of what one entry stands for."""
    if spec.format != AUTO:
        yield spec.format, spec.format, spec.options
        return
    facts = executed.final("candidate").facts
    float_graph = Fact.INT8 not in executed.lowered("candidate").facts
    for format in spec.formats or automatic(recipe):
        made = exporter(format)
        for variant, options in made.variants().items():
            if (
                unfit(
                    made,
                    options,
                    facts,
                    recipe.head.task.type,
                    flat=task_type(recipe.head.task.type).flat,
                    float_graph=float_graph,
                )
                is None
            ):
                yield f"{format} {variant}".strip(), format, options


def automatic(recipe: Recipe) -> list[str]:
    """The formats that `auto` measures where the recipe names none; onnx is the first.

    They are those whose packages are here, that are measured in the runtime they are for, and that every target has the
    runtime for.
    """
    found = sorted(EXPORTERS.usable().items(), key=lambda item: (item[0] != "onnx", item[0]))
    runtimes = [t.runtime for t in recipe.targets if t.runtime is not None]
    return [
        name for name, made in found if made.native and not absent(made) and all(r == made.runtime for r in runtimes)
    ]


def longest(recipe: Recipe) -> int:
    """The most tokens that a file of fixed shapes has to take: the task's, and what a target measures."""
    return max([recipe.head.task.max_length, *(n for t in recipe.targets for n in t.sequence if n != "task")])


def keep(kept: Written, written: list[Written], folder: Path) -> None:
    """Put what `auto` kept to its place in the run's folder, and remove what it did not keep."""
    if kept.place is None:
        kept.folder.rename(folder / MODEL)
        shutil.rmtree(folder / "exports")
