"""README.md of a repository that a bundle is pushed to: what it is, what was found, how it is used."""

from __future__ import annotations

from collections.abc import Mapping

from edgeopt.bundle.manifest import Found, License, Manifest
from edgeopt.push.address import Address
from edgeopt.report.markdown_text import escape, table
from edgeopt.report.table import Column, Table, numbers
from edgeopt.tasks import task_type

CARD = "README.md"


def card_of(manifest: Manifest, found: Found, address: Address) -> str:
    """The card, with the front matter that hubs read."""
    warnings = [f"**Warning:** {escape(text)}" for text in found.warnings]
    kind = f"{manifest.task.type}, {manifest.precision}"
    made = f"Made of {escape(found.start.name)} by edgeopt {manifest.edgeopt}: {kind}."
    rows = f"On {escape(found.dataset.name)}, {escape(found.split)}: {found.rows} rows."
    parts = [
        f"---\n{_front(manifest, found)}\n---",
        f"# {escape(manifest.name)}",
        f"{made} Verdict of its gates: **{found.verdict}**.",
        *warnings,
        *([_gates(found)] if found.gates else []),
        "## Measured",
        rows,
        _figures(manifest, found),
        "## Use",
        _use(manifest, address),
    ]
    return "\n\n".join(parts) + "\n"


def _front(manifest: Manifest, found: Found) -> str:
    """The front matter, in which the hub finds license, task and metrics."""
    from huggingface_hub import EvalResult, ModelCardData

    pipeline = task_type(manifest.task.type).pipeline
    results = [
        EvalResult(
            task_type=pipeline or manifest.task.type,
            dataset_type=found.dataset.name,
            dataset_name=found.dataset.name,
            dataset_split=found.split,
            metric_type=name,
            metric_value=round(value, 6),
        )
        for name, value in found.metrics.items()
        if value is not None
    ]
    data = ModelCardData(
        library_name="onnx",
        tags=["edgeopt", "onnxruntime", manifest.task.type, f"verdict-{found.verdict}"],
        pipeline_tag=pipeline,
        model_name=manifest.name,
        eval_results=results or None,
        **_license(manifest.license),
    )
    return str(data.to_yaml()).strip()


def _license(license: License | None) -> Mapping[str, str]:
    """A license by its identifier; the hub takes others by name alone."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    if license is None:
        return {}
    try:
        known = str(canonicalize_license_expression(license.id or ""))
    except InvalidLicenseExpression:
        known = ""
    if known and " " not in known:
        return {"license": known.lower()}
    named = {"license": "other", "license_name": (license.id or "see-license").lower().replace(" ", "-")}
    return {**named, "license_link": license.file} if license.file else named


def _gates(found: Found) -> str:
    rows = [[gate.verdict, f"{gate.metric} {gate.kind} {gate.bound:g}", gate.reason] for gate in found.gates]
    return table(Table([Column("verdict"), Column("gate"), Column("evidence")], rows))


def _figures(manifest: Manifest, found: Found) -> str:
    rows = [[name, _number(found.baseline.get(name)), _number(value)] for name, value in found.metrics.items()]
    rows.append(["size", f"{found.baseline_bytes / 1e6:.1f} MB", f"{found.size_bytes / 1e6:.1f} MB"])
    for each in found.latency:
        length = "task rows" if each.sequence == "task" else f"{each.sequence} tokens"
        old = "" if each.baseline_ms is None else f"{each.baseline_ms:.2f} ms"
        rows.append([f"p50, {each.target}, {length}", old, f"{each.model_ms:.2f} ms"])
    return table(Table(numbers("", "FP32 baseline", "this model"), rows))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _use(manifest: Manifest, address: Address) -> str:
    revision = f" --revision {address.revision}" if address.revision else ""
    folder = address.name.partition("/")[2]
    texts = '"A text."' if manifest.task.texts == 1 else '"One text." "The other."'
    return f"""```sh
hf download {address.name}{revision} --local-dir {folder}
pip install -r {folder}/requirements.txt
python {folder}/run.py {texts}
```

`run.py` needs onnxruntime, tokenizers and numpy. `manifest.json` has SHA-256 and size of every file.
`edgeopt bundle verify {folder}` checks them and asks the model the texts of `selftest.json`.
`sbom.cdx.json` is the bill of materials."""
