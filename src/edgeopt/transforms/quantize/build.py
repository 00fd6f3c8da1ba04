"""int8 graphs of one float graph, each with its remedies; what is seen on the calibration rows is seen once.

Each remedy is a change of the float graph before it is quantized. Bias correction needs the rounded weights, so it
quantizes twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeopt.export.graph_files import save_graph, structure_of
from edgeopt.export.tied import untie
from edgeopt.models.anatomy import Anatomy
from edgeopt.support.errors import step_failed
from edgeopt.support.progress import Progress
from edgeopt.transforms.quantize import bias, qdq, smooth
from edgeopt.transforms.quantize.calibrate import Feeds, Method, activations, observe, observer, range_of
from edgeopt.transforms.quantize.observers import Array, Channels, Range, Ranging
from edgeopt.transforms.quantize.scope import Scope, Weights, WordTable, excluded, matching, weighted
from edgeopt.transforms.quantize.tables import word_tables

#: Largest difference of a logit that smoothing may make in float32, for logits of about one.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Remedies:
    """How a graph is made int8.

    method: of calibration. alpha: SmoothQuant's; None: nothing is smoothed. bias: whether biases are corrected. kept:
    the nodes that stay in float.
    """

    method: Method = "minmax"
    alpha: float | None = None
    bias: bool = False
    kept: tuple[str, ...] = ()

    def words(self) -> str:
        """The remedies as the report names them."""
        more = [f"SmoothQuant α = {self.alpha:g}"] if self.alpha is not None else []
        more += ["bias correction"] if self.bias else []
        more += [f"{len(self.kept)} node{'s' * (len(self.kept) > 1)} in FP32"] if self.kept else []
        return ", ".join([self.method, *more])


@dataclass(frozen=True)
class _Seen:
    """The file of a float graph and what its activations were on the calibration rows."""

    graph: Path
    observers: dict[str, dict[type[Ranging], Ranging]]
    channels: dict[str, Channels]


class Builder:
    """Makes int8 graphs of one float graph, and runs it on the calibration rows once for all of them.

    graph: the float one. family: of its model. rows: the calibration rows, count of them. methods: those that a remedy
    may ask for. channels: whether one may need each channel's mean. wide: patterns of activations in 16 bits. scratch:
    a folder. names: nodes that may become int8. counts: what smoothing and bias correction found to do. Raises
    InputError E106 for a pattern that matches nothing.
    """

    def __init__(
        self,
        graph: Path,
        scope: Scope,
        family: Anatomy,
        *,
        rows: Feeds,
        count: int,
        methods: Sequence[Method],
        percentile: float | None,
        channels: bool,
        symmetric: bool,
        reduce_range: bool,
        wide: Sequence[str],
        word_table: WordTable,
        weights: Weights,
        scratch: Path,
        progress: Progress,
    ) -> None:
        self.graph, self.rows, self.count, self.methods, self.percentile = graph, rows, count, methods, percentile
        self.channels, self.scratch, self.progress = channels, scratch, progress
        structure = untie(
            structure_of(graph)
        ).graph  # the weights may be gigabytes, which are in memory only while a graph is written
        self.excluded = excluded(structure, scope, family)
        self.names = [n.name for n in weighted(structure) if n.name not in self.excluded]
        self.tensors = activations(structure, self.excluded)
        int4 = word_tables(structure, self.excluded) if word_table == "int4" else []
        four = [name for name in self.names if weights == "int4" and family.block_of(name) is not None]
        wider = sorted(matching(wide, self.tensors, "activations_16bit"))
        self.form = qdq.Format(symmetric, reduce_range, wider, int4, four)
        self.seen: dict[float | None, _Seen] = {}
        self.ranges: dict[tuple[float | None, Method], dict[str, Range]] = {}
        self.counts: dict[str, int] = {}

    def build(self, remedies: Remedies, path: Path, only: Sequence[str] | None = None) -> None:
        """Write the int8 graph to path. only: the nodes that become int8, instead of all but those kept."""
        seen = self._see(remedies.alpha)
        ranges = self._ranges(remedies.alpha, remedies.method)
        quantized = self.names if only is None else only
        left_out = [*self.excluded, *(name for name in self.names if name not in quantized or name in remedies.kept)]
        qdq.quantize(qdq.load(seen.graph), ranges, left_out, self.form, path)
        if remedies.bias:
            means, model = {name: found.mean for name, found in seen.channels.items()}, qdq.load(seen.graph)
            self.counts["corrected_biases"] = bias.correct(model, qdq.dequantized(path), means)
            qdq.quantize(model, ranges, left_out, self.form, path)

    def _ranges(self, alpha: float | None, method: Method) -> dict[str, Range]:
        if (alpha, method) not in self.ranges:
            kind, seen = type(observer(method)), self._see(alpha).observers
            self.ranges[alpha, method] = {
                t: range_of(found[kind], method, self.percentile, symmetric=self.form.symmetric)
                for t, found in seen.items()
            }
        return self.ranges[alpha, method]

    def _see(self, alpha: float | None) -> _Seen:
        if alpha not in self.seen:
            if alpha is None:
                self.seen[alpha] = self._pass(self.graph, "calibrate", ranges=True, channels=self.channels)
            else:
                self.seen[alpha] = self._pass(
                    self._smooth(alpha), "calibrate, smoothed", ranges=True, channels=self.channels
                )
        return self.seen[alpha]

    def _smooth(self, alpha: float) -> Path:
        seen = self.seen.get(None) or self._pass(self.graph, "largest values", ranges=False, channels=True)
        largest: dict[str, Array] = {name: found.largest for name, found in seen.channels.items()}
        model, path = qdq.load(self.graph), self.scratch / f"smoothed-{alpha:g}.onnx"
        self.counts["smoothed_norms"] = smooth.smooth(model, largest, self.excluded, alpha)
        save_graph(model, path)
        self._same(path)
        return path

    def _pass(self, graph: Path, title: str, *, ranges: bool, channels: bool) -> _Seen:
        kinds = {type(observer(method)) for method in self.methods} if ranges else set()
        seen = _Seen(
            graph,
            {t: {kind: kind() for kind in kinds} for t in self.tensors},
            {t: Channels() for t in self.tensors} if channels else {},
        )
        watching = {t: [*seen.observers[t].values(), *([seen.channels[t]] if channels else [])] for t in self.tensors}
        with self.progress.bar(title, self.count) as bar:
            observe(qdq.load(graph), watching, self.rows, self.scratch, bar)
        return seen

    def _same(self, path: Path) -> None:
        """Raise StepError E404 where the smoothed graph computes something else in float."""
        from edgeopt.export.session import input_names, open_session, output_names

        before, after = open_session(self.graph), open_session(path)
        names, wanted = input_names(before), output_names(before)[:1]
        for _, feed in zip(range(16), self.rows(), strict=False):
            given = {k: v for k, v in feed.items() if k in names}
            base, other = (session.run(wanted, given)[0] for session in (before, after))
            if not abs(base - other).max() <= TOLERANCE * max(1.0, float(abs(base).max())):
                raise step_failed(
                    "E404",
                    f"smoothing changed a logit by {abs(base - other).max():.2g} in float32",
                    help="this is a defect: report it",
                )

    def alone(self, remedies: Remedies, nodes: Sequence[str]) -> Path:
        """The file of a graph with these nodes in int8 and no others; the next call overwrites it."""
        path = self.scratch / "alone.onnx"
        self.build(replace(remedies, kept=()), path, only=nodes)
        return path
