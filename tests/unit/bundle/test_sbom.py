"""The bill of materials beside a bundle: its form, what it says, the same bytes again, and whose file is replaced."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bundles import MODEL, make_run
from helpers import edgeopt, seal_run

from edgeopt.bundle.make import Wanted, make_bundle
from edgeopt.bundle.manifest import License, read_manifest
from edgeopt.bundle.sbom import _LICENSES, beside, sbom
from edgeopt.bundle.verify import verified

#: Of the official schema: what the parts that we write must have, and of which kind they may be.
_KINDS = {"machine-learning-model", "library", "application", "file", "data"}
_SERIAL = re.compile("urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture
def bill(bundle: Path) -> Any:
    return json.loads(beside(bundle).read_text(encoding="utf-8"))


def components(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for each in part.get("components", []):
        yield each
        yield from components(each)


def test_the_form_is_that_of_cyclonedx(bill: Any) -> None:
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert _SERIAL.fullmatch(bill["serialNumber"])
    model = bill["metadata"]["component"]
    every = [model, *components(model), *components(bill)]
    assert {each["type"] for each in every} <= _KINDS and all(each["name"] for each in every)
    refs = [each["bom-ref"] for each in every]
    assert len(set(refs)) == len(refs)
    used = [ref for each in bill["dependencies"] for ref in (each["ref"], *each.get("dependsOn", []))]
    assert {*used, *(d["ref"] for d in model["modelCard"]["modelParameters"]["datasets"])} <= set(refs)
    digests = [h for each in every for h in each.get("hashes", [])]
    assert all(h["alg"] == "SHA-256" and re.fullmatch("[0-9a-f]{64}", h["content"]) for h in digests)


def test_it_holds_under_the_official_schema(bundle: Path) -> None:
    pytest.importorskip(
        "cyclonedx", reason="pip install 'cyclonedx-python-lib[json-validation]' for the official schema"
    )
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    with verified(bundle) as found:
        licenses = (
            None,
            License(id="apache-2.0", file=None),
            License(id="llama9", file=None),
            License(id=None, file="LICENSE"),
        )
        manifests = [found.manifest.model_copy(update={"license": license}) for license in licenses]
        manifests.append(found.manifest.model_copy(update={"found": None}))
        for manifest in manifests:
            assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom(manifest, found.digest)) is None


def test_it_has_files_license_rows_checkpoint_packages_and_metrics(bill: Any, bundle: Path, run: Path) -> None:
    model = bill["metadata"]["component"]
    with verified(bundle) as found:
        files = {n: e.sha256 for n, e in found.manifest.files.items()}
        manifest = hashlib.sha256((found.folder / "manifest.json").read_bytes()).hexdigest()
    listed = {
        e["name"]: e["hashes"][0]["content"] for e in [*components(model), *components(bill)] if e["type"] == "file"
    }
    assert listed == {**files, "manifest.json": manifest}
    assert model["hashes"][0]["content"] == files[MODEL] and model["licenses"] == [{"expression": "Apache-2.0"}]
    named = {each["bom-ref"]: each for each in bill["components"]}
    assert named["dataset"]["type"] == "data" and named["start"]["name"] == "sentence-transformers/all-MiniLM-L6-v2"
    purls = {each["purl"]: each["licenses"] for each in bill["components"] if "purl" in each}
    assert list(purls) and all(re.fullmatch(r"pkg:pypi/[a-z]+@[\w.]+", purl) for purl in purls)
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {m["type"] for m in metrics} == {"accuracy", "f1", "p50 latency in ms"}
    assert str(run) not in json.dumps(bill), "no path of this machine"


def test_the_licenses_of_the_packages_are_known() -> None:
    from edgeopt.bundle.requirements import TESTED

    assert set(_LICENSES) == set(TESTED)


def test_the_same_bundle_has_the_same_bill_and_prints_it(bundle: Path, run: Path, tmp_path: Path) -> None:
    made = beside(bundle).read_bytes()
    make_bundle(run, tmp_path / "other", Wanted(count=4, license="apache-2.0"))
    assert beside(tmp_path / "other") == tmp_path / "other.cdx.json" and beside(tmp_path / "other").read_bytes() == made
    assert edgeopt("bundle", "sbom", bundle).out.encode() == made


def test_a_file_of_somebody_else_is_not_replaced(run: Path, tmp_path: Path) -> None:
    for text in ("not json", '{"metadata": {"tools": {"components": [{"name": "syft"}]}}}'):
        (tmp_path / "b.cdx.json").write_text(text)
        done = edgeopt("bundle", run, "--out", tmp_path / "b.zip")
        assert done.code == 2 and "error[E114]" in done.err and not (tmp_path / "b.zip").exists()
        assert (tmp_path / "b.cdx.json").read_text() == text


def test_a_metric_that_is_no_number_is_left_out(tmp_path: Path, tiny_data: Path) -> None:
    run = make_run(tmp_path, tiny_data)
    report = json.loads((run / "report.json").read_text())
    report["candidate"]["metrics"]["f1"] = float("nan")
    (run / "report.json").write_text(json.dumps(report))
    make_bundle(seal_run(run), tmp_path / "b", Wanted(count=4))
    manifest = read_manifest((tmp_path / "b" / "manifest.json").read_bytes())
    assert manifest.found is not None and manifest.found.metrics["f1"] is None
    assert "NaN" not in (tmp_path / "b.cdx.json").read_text()
