"""The bill of materials of a bundle, in CycloneDX 1.6: its files, what it was made of, and what runs it.

It is made of the manifest alone, so that any bundle has one and the same bundle gives the same bytes.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from edgeopt.bundle.manifest import MANIFEST, SCRIPTS, License, Manifest
from edgeopt.support.errors import InputError, bad_input
from edgeopt.support.files import write_text
from edgeopt.support.reading import Reader

Part = dict[str, Any]

SUFFIX = ".cdx.json"
#: Licenses of what runs a bundle, as the packages' own metadata has them.
_LICENSES = {
    "onnxruntime": "MIT",
    "tokenizers": "Apache-2.0",
    "numpy": "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0",
}
_OURS, _MODEL, _START, _ROWS = "Apache-2.0", "model", "start", "dataset"
_READER = Reader("bill of materials", "E114")


def beside(bundle: Path) -> Path:
    """Where the bill of a bundle lies: bundle.cdx.json beside bundle.zip, or beside the folder `bundle`."""
    return bundle.with_name(bundle.name.removesuffix(".zip") + SUFFIX)


def check_free(path: Path) -> None:
    """Raises InputError E114 where something lies that is no bill by edgeopt, which a new one may replace."""
    if not (path.exists() or path.is_symlink()):
        return
    try:
        made = _READER.json(path)["metadata"]["tools"]["components"][0]["name"]
    except (InputError, LookupError, TypeError):
        made = None
    if made != "edgeopt":
        raise bad_input("E114", f"{path} is there, and edgeopt did not write it", help="move it, or give another --out")


def write_sbom(path: Path, manifest: Manifest, digest: str) -> None:
    """Write the bill of the bundle with this manifest. digest: SHA-256 of the manifest's bytes."""
    write_text(path, sbom(manifest, digest))


def sbom(manifest: Manifest, digest: str) -> str:
    """The bill as JSON text."""
    packages = [_package(name, version) for name, version in sorted(manifest.packages.items())]
    made_of = [*_start(manifest), *_dataset(manifest)]
    runs = [*packages, _scripts(manifest)]
    depends = [{"ref": _MODEL, "dependsOn": [each["bom-ref"] for each in (*runs, *made_of)]}]
    found = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
        "metadata": {
            "timestamp": manifest.created,
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{"type": "application", "name": "edgeopt", "version": manifest.edgeopt}]},
            "component": _model(manifest, digest),
        },
        "components": [*runs, *made_of],
        "dependencies": [*depends, *({"ref": each["bom-ref"]} for each in (*runs, *made_of))],
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _model(manifest: Manifest, digest: str) -> Part:
    files = {name: entry.sha256 for name, entry in sorted(manifest.files.items()) if name not in SCRIPTS}
    verdict = {"edgeopt:verdict": manifest.found.verdict} if manifest.found else {}
    return {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": manifest.name,
        "version": digest[:16],
        "hashes": _hashes(manifest.files[manifest.model].sha256),
        **_licenses(manifest.license),
        "components": [_file(name, sha256) for name, sha256 in {**files, MANIFEST: digest}.items()],
        "modelCard": {"modelParameters": _parameters(manifest), **_metrics(manifest)},
        "properties": _properties(
            {
                "edgeopt:manifest-sha256": digest,
                "edgeopt:lock-sha256": manifest.lock,
                "edgeopt:precision": manifest.precision,
                **verdict,
            }
        ),
    }


def _parameters(manifest: Manifest) -> Part:
    rows = {"datasets": [{"ref": _ROWS}]} if manifest.found else {}
    answers = "label and probability" if manifest.labels else manifest.task.vector or "score"
    return {
        "task": manifest.task.type,
        **rows,
        "inputs": [{"format": "text"}] * manifest.task.texts,
        "outputs": [{"format": answers}],
    }


def _metrics(manifest: Manifest) -> Part:
    """What was measured: metrics on the rows, and the median latencies."""
    if manifest.found is None:
        return {}
    where = f"{manifest.found.split}, {manifest.found.rows} rows"
    metrics = [
        {"type": name, "value": f"{value:.6g}", "slice": where}
        for name, value in manifest.found.metrics.items()
        if value is not None
    ]
    latencies = [
        {"type": "p50 latency in ms", "value": f"{each.model_ms:.4g}", "slice": f"{each.target}, {each.sequence}"}
        for each in manifest.found.latency
    ]
    return {"quantitativeAnalysis": {"performanceMetrics": [*metrics, *latencies]}}


def _file(name: str, sha256: str) -> Part:
    return {"type": "file", "bom-ref": f"file:{name}", "name": name, "hashes": _hashes(sha256)}


def _package(name: str, version: str) -> Part:
    purl = f"pkg:pypi/{name}@{version}"
    license = {"licenses": [{"expression": _LICENSES[name]}]} if name in _LICENSES else {}
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, **license}


def _scripts(manifest: Manifest) -> Part:
    """What edgeopt adds to the model; it is on no package index, so it has no purl."""
    return {
        "type": "library",
        "bom-ref": "scripts",
        "name": "edgeopt-bundle-scripts",
        "version": manifest.edgeopt,
        "licenses": [{"expression": _OURS}],
        "components": [_file(name, manifest.files[name].sha256) for name in SCRIPTS],
    }


def _start(manifest: Manifest) -> list[Part]:
    if manifest.found is None:
        return []
    start = manifest.found.start
    sha256 = {"edgeopt:content-sha256": start.sha256} if start.sha256 else {}
    named = {"type": "machine-learning-model", "bom-ref": _START, "name": start.name}
    return [{**named, "description": "the checkpoint that the model was made of", "properties": _properties(sha256)}]


def _dataset(manifest: Manifest) -> list[Part]:
    if manifest.found is None:
        return []
    rows, found = manifest.found.dataset, manifest.found
    sha256 = {"edgeopt:rows-sha256": rows.sha256} if rows.sha256 else {}
    about = _properties({"edgeopt:split": found.split, "edgeopt:rows": str(found.rows), **sha256})
    data = [{"type": "dataset", "name": rows.name, "contents": {"properties": about}}]
    return [{"type": "data", "bom-ref": _ROWS, "name": rows.name, "data": data}]


def _licenses(license: License | None) -> Part:
    """The model's license: an SPDX expression where it is one, else by its name."""
    if license is None:
        return {}
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return {"licenses": [{"expression": canonicalize_license_expression(license.id or "")}]}
    except InvalidLicenseExpression:
        return {"licenses": [{"license": {"name": license.id or f"see {license.file}"}}]}


def _hashes(sha256: str) -> list[Part]:
    return [{"alg": "SHA-256", "content": sha256}]


def _properties(named: dict[str, str]) -> list[Part]:
    return [{"name": name, "value": value} for name, value in named.items()]
