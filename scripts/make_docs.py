"""Write the generated documents, or look whether they are as they would be written.

docs/reference/recipe.md and schema/recipe-v1.json come from the code that checks recipes, commands.md and errors.md
beside it from the code of the commands and the errors, docs/benchmarks/ and the cases that `edgeopt plan` tells from
the results of the benchmarks, and requirements-gate.txt from pyproject.toml. With --check nothing is written, and the
exit code is 1 where a file is not what would be written.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from pages.benchmarks import benchmarks
from pages.measured import measured
from pages.reference import commands, errors
from pydantic import BaseModel

from edgeopt.cli import cli
from edgeopt.export.exporter import exporter, exporter_names
from edgeopt.recipe.library import target_files
from edgeopt.recipe.matrix import LARGEST
from edgeopt.spec import recipe as s
from edgeopt.spec.corpus import CorpusFiles, CorpusSpec
from edgeopt.spec.tasks import MEASURED, TASKS
from edgeopt.step import registry
from edgeopt.store.facts import Fact
from edgeopt.support.errors import HEAVY

ROOT = Path(__file__).parents[1]

#: What a key means, where the model that checks it does not say so. A key must be in one of the two places.
MEANINGS = {
    "RecipeHead.name": "the run's default folder, `runs/NAME`; letters, digits, `.`, `_`, `-`",
    "RecipeHead.description": "one line, shown by `edgeopt recipes ls`",
    "RecipeHead.model": "what the recipe starts from, see [model](#model)",
    "RecipeHead.task": "what is learned and on which rows, see [task](#task); or `tasks`",
    "RecipeHead.baseline": "the FP32 reference, see [baseline](#baseline)",
    "RecipeHead.steps": "the transforms in order, see [steps](#steps)",
    "RecipeHead.export": "what is written: a list, or `auto` for the fastest of all formats; the first one is the "
    "candidate, see [export](#export)",
    "RecipeHead.targets": "where latency is measured: names of device profiles, or profiles written here, see "
    "[targets](#targets)",
    "RecipeHead.gates": "what must be true of the result, see [gates](#gates)",
    "RecipeHead.seed": "seed of every random choice; a trained step may have its own",
    "DatasetSpec.revision": "branch, tag or commit of the hub dataset",
    "DatasetSpec.data_files": "files in place of `path`, see [task.dataset.data_files](#taskdatasetdata_files)",
    "DatasetSpec.max_rows": "see [task.dataset.max_rows](#taskdatasetmax_rows)",
    "DataFiles.validation": "the split that is reported on",
    "DataFiles.test": "reported on where there is no validation, or with `task.report: test`",
    "MaxRows.train": "at most this many rows",
    "MaxRows.validation": "at most this many rows",
    "MaxRows.test": "at most this many rows",
    "TaskSpec.type": "classes, a score, the right choice, a tag per word, whether two mentions are one "
    "entity, or a text",
    "TaskSpec.dataset": "see [task.dataset](#taskdataset)",
    "Training.epochs": "passes over train; may be a fraction",
    "Training.learning_rate": "the highest rate, reached after the warm-up",
    "Training.gradient_accumulation": "batches that are added up before an optimizer step",
    "Training.gradient_checkpointing": "compute activations twice and do not keep them: slower, less memory",
    "Training.schedule": "how the learning rate falls after the warm-up",
    "Training.warmup_ratio": "share of the optimizer steps during which the rate rises",
    "Training.weight_decay": "weight decay of AdamW; not on biases and LayerNorm",
    "Training.early_stopping": "`{patience: N}` (default 2): stop after N evaluations without a better first metric on "
    "the selection rows; for summaries, without a lower loss",
    "Baseline.finetune": "training keys, see [training](#training); without it the model must have a trained head",
    "ExportSpec.format": "the name of an exporter, or `auto`",
    "ExportSpec.options": "options of the exporter",
    "Target.name": "the name that gates use",
    "Target.description": "a description for people",
    "Target.threads": "threads; the process is pinned to as many processors",
    "GateSpec.metric": "what has the bound, see below",
    "GateSpec.max_ms": "milliseconds",
    "LoraParams.bias": "which biases are trained too",
    "LoraParams.use_rslora": "use the rank-stabilized scale",
    "LoraParams.use_dora": "train the norms of the weights separately from their directions",
    "LoraParams.learning_rate": "the highest rate, reached after the warm-up",
    "DynamicParams.per_channel": "one scale for each output channel, and not one for the matrix",
    "StaticParams.calibration": "see the table below",
}


def tidy(text: str | None) -> str:
    return " ".join((text or "").split())


def shown(value: Any) -> str:
    if isinstance(value, str) and value == "":
        return "empty"
    if value in (None, {}, []):
        return "none"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def type_of(node: dict[str, Any]) -> str:
    """A JSON-schema node in words, with its bounds."""
    if "$ref" in node:
        return "mapping"
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return " \\| ".join(f"`{v}`" for v in node["enum"])
    if "anyOf" in node:
        parts = [type_of(n) for n in node["anyOf"] if n.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    if node.get("type") == "array":
        return f"list of {type_of(node['items'])}"
    if "allOf" in node:
        return type_of(node["allOf"][0])
    names = {
        "string": "text",
        "number": "number",
        "integer": "integer",
        "boolean": "true \\| false",
        "object": "mapping",
    }
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {number(node[key])}" for key, sign in signs.items() if key in node]
    return ", ".join([names[node["type"]], *bounds])


def meaning(model: type[BaseModel], key: str) -> str:
    """The key's description, from the model where it has one, else from MEANINGS under the class that brings it."""
    found = model.model_fields[key].description
    for cls in model.__mro__:
        entry = f"{cls.__name__}.{key}"
        if found is None and entry in MEANINGS and key in inspect.get_annotations(cls):
            used.add(entry)
            return MEANINGS[entry]
    if found is None:
        sys.exit(f"{model.__name__}.{key} has no description: give it one in its Field(description=…) or in MEANINGS")
    return found


used: set[str] = set()
TRAINING_KEYS = "[training keys](#training)"


def table(model: type[BaseModel], keys: list[str] | None = None) -> Iterator[str]:
    """Key, type, default, description: a line a key."""
    full = model.model_json_schema()
    required = set(full.get("required", []))
    yield "| Key | Type | Default | What |"
    yield "|---|---|---|---|"
    for key, node in full["properties"].items():
        if keys is None or key in keys:
            default = "required" if key in required else shown(default_of(model, key))
            what = tidy(meaning(model, key)).replace("|", "\\|")
            yield f"| `{key}` | {type_of(node)} | {default} | {what} |"


def default_of(model: type[BaseModel], key: str) -> Any:
    field = model.model_fields[key]
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, list):
        return [v.model_dump(mode="json", exclude_defaults=True) if isinstance(v, BaseModel) else v for v in value]
    return value


def section(title: str, model: type[BaseModel], *, level: int = 2, keys: list[str] | None = None) -> Iterator[str]:
    yield from ("", f"{'#' * level} {title}", "", tidy(model.__doc__), "")
    yield from table(model, keys)


def own_keys(params: type[BaseModel]) -> tuple[list[str], bool]:
    """Keys of a transform that are not the training keys as they stand, and whether it has those."""
    if not issubclass(params, s.Training):
        return list(params.model_fields), False
    common = s.TrainParams.model_fields
    return [k for k, f in params.model_fields.items() if k not in common or f.default != common[k].default], True


def facts(found: frozenset[Fact]) -> str:
    return ", ".join(sorted(found)) or "nothing"


def transform(name: str) -> Iterator[str]:
    found = registry.get(name)
    contract, params = found.contract, found.Params
    yield from ("", f"### {name}", "", tidy(type(found).__doc__), "")
    yield (
        f"Needs: {facts(contract.requires)}. Adds: {facts(contract.adds)}. Removes: {facts(contract.removes)}. "
        f"Refuses: {facts(contract.forbids)}."
    )
    own, trains = own_keys(params)
    if own:
        yield ""
        yield from table(params, own)
    if trains:
        taken = TRAINING_KEYS if issubclass(params, s.TrainParams) else f"{TRAINING_KEYS} but for `distill`"
        yield from ("", f"And the {taken}." if own else f"Takes the {taken}.")
    for key in own:
        for nested in nested_models(params.model_fields[key].annotation):
            if nested is s.TrainParams:
                yield from ("", f"`{key}` takes the {TRAINING_KEYS}.")
            elif nested is s.Training:
                yield from ("", f"`{key}` takes the {TRAINING_KEYS} but for `distill`.")
            elif nested not in (CorpusSpec, s.EarlyStopping, s.Distillation, s.Losses, s.Unlabelled, s.Target):
                yield from ("", f"`{key}`: {tidy(nested.__doc__)}", "")
                yield from table(nested)
    if not own and not trains:
        yield from ("", "Has no keys of its own.")


def nested_models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for inner in getattr(annotation, "__args__", ()) for m in nested_models(inner)]


def gates() -> Iterator[str]:
    yield from section("gates", s.GateSpec)
    yield from (
        "",
        "Each gate states exactly one bound. The metric decides which bounds are possible:",
        "",
        "| Metric | Bounds |",
        "|---|---|",
    )
    for metric in dict.fromkeys([*(m for kind in TASKS.values() for m in kind.known_metrics), *MEASURED]):
        yield f"| `{metric}` | {', '.join(f'`{b}`' for b in s.bounds_of(metric))} |"


def reference() -> str:
    lines = [
        "# Every key of a recipe",
        "",
        "`scripts/make_docs.py` writes this page from the code that checks recipes. Do not edit it. The same as a JSON "
        "schema for editors:",
        "[schema/recipe-v1.json](../../schema/recipe-v1.json), or `edgeopt schema`.",
        "",
        "Paths are absolute, or relative to the recipe. Unknown keys are refused. `--set` overrides any value on the "
        "command",
        "line, and names a step by its id: `--set steps.int8.calibration.samples=64`.",
        "",
        *table(s.RecipeHead),
        *section("model", s.ModelSpec),
        *section("model.tokenizer.train", s.TokenizerTraining, level=3),
        *section("task", s.TaskSpec),
        *section("task.pairs", s.PairsSpec, level=3),
        *section("task.prompts", s.PromptsSpec, level=3),
        *section("task.corpus", s.PassagesSpec, level=3),
        *section("task.dataset", s.DatasetSpec, level=3),
        *section("task.dataset.data_files", s.DataFiles, level=3),
        *section("task.dataset.max_rows", s.MaxRows, level=3),
        *section("task.dataset.split", s.SplitSpec, level=3),
        *section("task.train_with", s.TrainSource, level=3),
        *section("tasks", s.OneTask, keys=["head", "weight"]),
        *section("baseline", s.Baseline),
        *section("training", s.TrainParams),
        *section("training.losses", s.EmbeddingLosses, level=3),
        *section("training.sampling", s.Sampling, level=3),
        *section("training.distill", s.Distillation, level=3),
        *section("training.distill.losses", s.Losses, level=3),
        *section("training.distill.unlabelled", s.Unlabelled, level=3),
        *section("corpus", CorpusSpec),
        "",
        "`data_files` takes:",
        "",
        *table(CorpusFiles),
        "",
        "## steps",
        "",
        "A list, because the order has a meaning. Each entry has `use` (the transform) and the keys of the transform.",
        "It may have an `id`, which must be unique. The default is the last word of `use`. `baseline`, `load` and",
        "`onnx` are taken.",
        "edgeopt puts the export to ONNX before the first step that needs a graph.",
        *(line for name in registry.names() for line in transform(name)),
        *section("export", s.ExportSpec),
        "",
        "| Format | What | Runs in | Converts | Padding | Options |",
        "|---|---|---|---|---|---|",
        *(
            f"| `{name}` | {exporter(name).summary} | {exporter(name).runtime} | {exporter(name).source} | "
            f"{', '.join(exporter(name).paddings)} | "
            f"{', '.join(f'`{k}`: {shown(v)}' for k, v in exporter(name).known_options.items()) or 'none'} |"
            for name in exporter_names()
        ),
        *section("targets", s.Target),
        "",
        f"Profiles that come with edgeopt: {', '.join(f'`{name}`' for name in target_files())}.",
        *gates(),
        *section("diagnostics", s.Diagnostics),
        *section("emissions", s.EmissionsSpec),
        *section("matrix", s.Matrix),
        *section("A variant of an axis", s.Variant, level=3),
        *section("insert", s.Insert, level=4),
        "",
        "Each cell is a recipe of its own, without `matrix`. `--set` is applied before the cells are made, so a value",
        f"of a variant wins. At most {LARGEST} combinations are possible, including the excluded ones.",
    ]
    unused = sorted(set(MEANINGS) - used)
    if unused:
        sys.exit(f"MEANINGS explains what needs no explaining: {', '.join(unused)}")
    return "\n".join(lines) + "\n"


def light() -> str:
    """The dependencies without those that a machine which only gates does without."""
    given = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    kept = [line for line in given if re.split("[<>=]", line)[0] not in HEAVY]
    head = (
        "# What `edgeopt gate` needs, where edgeopt itself is installed with --no-deps (docs/how-to/gate-in-ci.md). "
        "Made by scripts/make_docs.py."
    )
    return "\n".join([head, *kept]) + "\n"


def files() -> dict[Path, str]:
    return {
        ROOT / "docs" / "reference" / "recipe.md": reference(),
        ROOT / "docs" / "reference" / "commands.md": commands(),
        ROOT / "docs" / "reference" / "errors.md": errors(),
        ROOT / "schema" / "recipe-v1.json": CliRunner().invoke(cli, ["schema"], catch_exceptions=False).stdout,
        **{ROOT / "docs" / "benchmarks" / name: text for name, text in benchmarks().items()},
        ROOT / "src" / "edgeopt" / "plan" / "measured.json": measured(),
        ROOT / "requirements-gate.txt": light(),
    }


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        sys.exit(__doc__)
    stale = 0
    for path, text in files().items():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        shown_path = path.relative_to(ROOT)
        if arguments:
            print(f"{shown_path} is out of date: run python scripts/make_docs.py", file=sys.stderr)
            stale = 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {shown_path}")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
