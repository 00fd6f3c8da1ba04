"""README.md of the shipped folder: what the model is, what was measured, how to load it."""

from __future__ import annotations

import json
import re

from edgeopt.export.exporter import EXPORTERS
from edgeopt.export.session import option_lines
from edgeopt.report import energy, headline, row_tables, spread, tables
from edgeopt.report.markdown_text import escape, table
from edgeopt.report.templating import environment
from edgeopt.results.model import Report
from edgeopt.support.telemetry import ORT_LINES
from edgeopt.tasks import task_type

#: Exporters whose folder optimum and transformers.js load.
_LAYOUT = ("onnx", "transformers-js")
#: Slices that a card has room for; more are in the report.
_FEW_SLICES = 12
HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def render_card(report: Report, *, pair: bool, quantized: bool) -> str:
    """`pair`: the task reads two texts. `quantized`: the shipped file is the int8 one."""
    kept = next((each for each in report.exports if each.subject == "candidate"), None)
    made = EXPORTERS.find(kept.format) if kept else None
    task = task_type(report.task.type)
    page = environment(autoescape=False)
    page.filters.update(escape=escape, python=repr, yaml=_yaml)
    return page.get_template("card.md.j2").render(
        report=report,
        pair=pair,
        file=report.candidate.artifact.removeprefix("model/")
        if kept
        else f"onnx/model{'_quantized' if quantized else ''}.onnx",
        loading=made.loading(kept.lengths) if made and kept else "",
        runtime=made.runtime if made else "onnxruntime",
        lengths=kept.lengths if kept else None,
        dtype="q8" if quantized else "fp32",
        reads=task.reads or ("two texts" if pair else "one text"),
        regression=task.scores,
        choices=task.has_choices,
        words=task.reads_words,
        writes=task.writes,
        embeds=task.embeds,
        sentence_transformers=task.embeds and (made is None or made.name in _LAYOUT),
        sequence_classification=task.one_query
        and not report.task.window_stride
        and (made is None or made.name in _LAYOUT),
        sentence=headline.sentence(report),
        session_options=option_lines(),
        no_telemetry=ORT_LINES,
        target=report.latency[0].target if report.latency else "the target",
        made_on=f"{report.environment.get('cpu')}, onnxruntime "
        f"{report.environment.get('packages', {}).get('onnxruntime')}",
        hub=_hub_fields(report, quantized, kept is None or kept.format in _LAYOUT),
        figures=table(tables.figures(report)),
        bounds=tables.BOUNDS,
        gates=table(tables.gates(report)) if report.gates else "",
        slices=table(by_slice) if 0 < len((by_slice := row_tables.slices(report)).rows) <= _FEW_SLICES else "",
        slices_note=row_tables.slices_note(report),
        seeds=report.seeds and table(spread.table(report)),
        spread=spread.NOTE,
        steps=table(tables.steps(report)),
        energy=table(spent) if (spent := energy.table(report)).rows else "",
        energy_note=energy.note(report),
    )


def _hub_fields(report: Report, quantized: bool, laid_out: bool) -> dict[str, str | list[str]]:
    """Front matter the hub reads. Local paths are left out: the hub would look for them.

    laid_out: transformers.js finds its files in the folder.
    """
    tags = ["edgeopt", "onnxruntime", *(["transformers.js"] if laid_out else []), report.task.type]
    fields: dict[str, str | list[str]] = {"library_name": "onnx", "tags": [*tags, "int8"] if quantized else tags}
    if pipeline := task_type(report.task.type).pipeline:
        fields["pipeline_tag"] = pipeline
    if HUB_NAME.fullmatch(report.model):
        fields["base_model"] = report.model
    dataset = report.task.dataset.split()[0] if report.task.dataset.split() else ""
    if HUB_NAME.fullmatch(dataset):
        fields["datasets"] = [dataset]
    if report.candidate.metrics:
        fields["metrics"] = list(report.candidate.metrics)
    return fields


def _yaml(value: str | list[str]) -> str:
    """JSON is YAML: quoted, so that no name can end the front matter."""
    return json.dumps(value, ensure_ascii=False)
