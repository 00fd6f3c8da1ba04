"""What the files of a run are asked, baseline and candidate alike: outputs on its rows, latencies, starts, energy."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from edgeopt.data import Split
from edgeopt.export.exporter import Runnable
from edgeopt.export.graph_files import digest_of
from edgeopt.export.session import Options
from edgeopt.measure.accuracy import answers_of, largest_difference, outputs_of
from edgeopt.measure.emissions import country_of
from edgeopt.measure.energy import measure_energy
from edgeopt.measure.latency import Measured, cold_starts, measure, promise
from edgeopt.measure.queries import same_queries
from edgeopt.models.files import GRAPH
from edgeopt.recipe.load import Recipe
from edgeopt.results.model import Emissions, Starts, SubjectName
from edgeopt.run.execute import Executed
from edgeopt.run.exports import Written
from edgeopt.spec.recipe import Target
from edgeopt.statistics.bounds import Values
from edgeopt.store.facts import Fact
from edgeopt.support import host
from edgeopt.support.progress import Progress
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.answered import checked
from edgeopt.tasks.encode import Features, Ids, length


@dataclass(frozen=True)
class Measuring:
    """The recipe, the built states and the progress that every measurement of a run is made with.

    sources: outputs of the graphs that exports are compared with, which several share.
    """

    recipe: Recipe
    executed: Executed
    progress: Progress
    sources: dict[Path, Values] = field(default_factory=dict)

    @cached_property
    def task(self) -> Task:
        """The task with the classes that the data has."""
        return task_of(self.recipe.head.task, self.executed.data.label_names)

    @property
    def report(self) -> Split:
        """The rows that figures are of."""
        return self.executed.data.report

    @property
    def baseline(self) -> Path:
        """The folder of the FP32 baseline's graph."""
        return self.executed.final("baseline").folder

    @property
    def alike(self) -> bool:
        """Whether the candidate is the baseline: no step has made another model of it."""
        return self.executed.final("candidate").digest == self.executed.final("baseline").digest

    def answers(self, file: Runnable, folder: Path, title: str, rows: Split | None = None) -> tuple[Values, float]:
        """Outputs with the runtime's default options, and the seconds that they took.

        rows: the report split unless others are given.
        """
        started = time.perf_counter()
        options, at_once = file.exporter.for_rows(host.cpus())
        query = checked(file.open(options), file.path, self.task)
        outputs = answers_of(
            query, folder, rows or self.report, self.task, self.progress, f"accuracy of {title}", at_once=at_once
        )
        return outputs, time.perf_counter() - started

    def outputs(self, graph: Path, folder: Path, title: str, options: Options) -> Values:
        """Outputs of a graph in ONNX Runtime with these options, on the report split.

        folder: where tokenizer.json is.
        """
        return outputs_of(graph, folder, self.report, self.task, self.progress, title, options)

    def features(self, rows: Split, exports: Mapping[str, Written]) -> Features:
        """The rows' queries, on which all of these are timed. Raises InputError E208 where one reads other tokens."""
        folders = {name: each.folder for name, each in exports.items()}
        return same_queries(self.task, rows, self.baseline, folders, "give a step's student the same tokenizer")

    def latencies(
        self,
        files: Mapping[SubjectName, Runnable],
        queries: list[Ids],
        targets: Sequence[Target],
        *,
        torch: bool = True,
    ) -> list[Measured]:
        """Every subject on every target, interleaved. torch: also the baseline as torch runs it."""
        executed, timed = self.executed, dict(files)
        if Fact.INT8 in executed.final("candidate").facts and Fact.UNEVEN in executed.lowered("candidate").facts:
            # tells what each of the two brings
            timed["candidate-fp32"] = Runnable(executed.lowered("candidate").folder / GRAPH)
        found: list[Measured] = []
        for target in targets:
            with self.progress.during(*promise(target), most=True):
                found += measure(target, timed, executed.torch_state("baseline").folder if torch else None, queries)
        return found

    def starts(self, files: Mapping[SubjectName, Runnable], queries: list[Ids]) -> dict[str, Starts]:
        """Cold starts of each file, with the longest query."""
        return cold_starts(files, max(queries, key=length))

    def energy(self, files: dict[str, Runnable], queries: list[Ids]) -> Emissions | None:
        """The energy of each file's answers; None where the recipe does not ask for it."""
        asked = self.recipe.head.emissions
        if not asked:
            return None
        with self.progress.during("energy of inferences", 3 * asked.seconds):
            return measure_energy(self.recipe.targets[0], files, queries, country_of(asked), asked.seconds)

    def difference(self, written: Written, outputs: Values) -> float | None:
        """The largest difference of a logit from the graph or model that a file was converted from; None for texts."""
        if outputs.dtype == object:  # texts have no logits
            return None
        if written.path.suffix == ".onnx" and digest_of(written.path) == digest_of(written.source):
            return 0.0
        if written.source not in self.sources:
            self.sources[written.source], _ = self.answers(
                Runnable(written.source), written.source.parent, f"what {written.name} is made of"
            )
        return largest_difference(outputs, self.sources[written.source])
