"""MLflow's registry, by MLflow's client: a bundle becomes a version of a registered model, which loads and predicts.

The model is a folder and the file that reads it (device/edgeopt_bundle.py). Nothing is pickled.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.bundle.manifest import REQUIREMENTS, Manifest
from edgeopt.bundle.sbom import sbom
from edgeopt.bundle.verify import DEVICE
from edgeopt.device import edgeopt_bundle
from edgeopt.push.given import SBOM, Given, Pushed, reaching
from edgeopt.support.errors import bad_input
from edgeopt.support.installation import install
from edgeopt.support.words import first_line
from edgeopt.track.mlflow import MlflowTracker
from edgeopt.track.record import LOCK_TAG, Record

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

#: The tag by which a version is known to be of this bundle: SHA-256 of its manifest.
BUNDLE_TAG = "edgeopt.bundle"
_LOADER, _MODEL = "edgeopt_bundle", "model"
_KINDS = {"text": "string", "text_pair": "string", "label": "string", "probability": "double", "score": "double"}


def push(given: Given) -> Pushed:
    """Register the bundle as a new version; a bundle that is there already is left alone."""
    tracker = MlflowTracker()
    with reaching(given.address):
        try:
            tracker.open()
        except ImportError as error:
            what = f"MLflow's registry needs its client, which is not installed here: {first_line(error)}"
            raise bad_input("E206", what, help=install("mlflow")) from None
        name, client = given.address.name, tracker.client
        there = client.search_model_versions(f"name = '{name}'")
        known = next((v for v in there if v.tags.get(BUNDLE_TAG) == given.bundle.digest), None)
        if known is not None:
            return Pushed(str(known.version), f"models:/{name}/{known.version}", new=False)
        version = _register(given, _run(tracker, given))
        return Pushed(version, f"models:/{name}/{version}", new=True)


def _run(tracker: MlflowTracker, given: Given) -> str:
    """The run of MLflow's that the model belongs to: the one that `apply --track mlflow` left, or a new one."""
    manifest = given.bundle.manifest
    tracked = tracker.find(LOCK_TAG, manifest.lock)
    if tracked is not None:
        return str(tracked.info.run_id)
    metrics = {f"candidate/{name}": value for name, value in given.found.metrics.items() if value is not None}
    tags = {LOCK_TAG: manifest.lock, "edgeopt.verdict": given.found.verdict}
    return tracker.log(Record(manifest.name, given.bundle.digest, metrics=metrics, tags=tags), None)


def _register(given: Given, run: str) -> str:
    """Keep the model's files with the run, and register them with all tags at once."""
    import mlflow

    bundle = given.bundle
    with tempfile.TemporaryDirectory(prefix="edgeopt-push-") as made:
        folder = Path(made) / "bundle"
        shutil.copytree(bundle.folder, folder)
        (Path(made) / SBOM).write_text(sbom(bundle.manifest, bundle.digest), encoding="utf-8")
        with mlflow.start_run(run_id=run):
            logged = mlflow.pyfunc.log_model(
                name=_MODEL,
                loader_module=_LOADER,
                data_path=str(folder),
                code_paths=[str(DEVICE / f"{_LOADER}.py")],
                pip_requirements=_requirements(folder),
                signature=_signature(bundle.manifest),
                metadata={BUNDLE_TAG: bundle.digest},
            )
            mlflow.log_artifact(str(Path(made) / SBOM))
    return str(mlflow.register_model(logged.model_uri, given.address.name, tags=_tags(given)).version)


def _requirements(folder: Path) -> list[str]:
    """What the model needs, said so that MLflow does not guess it by running it."""
    import mlflow

    lines = (folder / REQUIREMENTS).read_text(encoding="utf-8").splitlines()
    return [
        f"mlflow=={mlflow.__version__}",
        "pandas",
        *(line.partition("#")[0].strip() for line in lines if line[0] != "#"),
    ]


def _signature(manifest: Manifest) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    def schema(names: tuple[str, ...]) -> Any:
        return Schema([ColSpec(_KINDS.get(name, Array(DataType.double)), name) for name in names])

    reads, answers = edgeopt_bundle.TEXTS[: manifest.task.texts], edgeopt_bundle.answers_of(manifest.model_dump())
    passage = ParamSchema([ParamSpec("passage", DataType.boolean, False)])
    return ModelSignature(schema(reads), schema(answers), passage if manifest.task.vector else None)


def _tags(given: Given) -> dict[str, str]:
    """Verdict, gates and metrics, for whoever looks at the registry alone."""
    manifest, found = given.bundle.manifest, given.found
    gates = [f"{gate.verdict}: {gate.metric} {gate.kind} {gate.bound:g}, {gate.reason}" for gate in found.gates]
    license = manifest.license and (manifest.license.id or manifest.license.file)
    return {
        BUNDLE_TAG: given.bundle.digest,
        LOCK_TAG: manifest.lock,
        "edgeopt.version": manifest.edgeopt,
        "edgeopt.verdict": found.verdict,
        "edgeopt.precision": manifest.precision,
        "edgeopt.license": license or "unknown",
        "edgeopt.dataset": f"{found.dataset.name}, {found.rows} rows of {found.split}",
        **{f"edgeopt.metric.{name}": f"{value:.6g}" for name, value in found.metrics.items() if value is not None},
        **{f"edgeopt.gate.{i}": text[:500] for i, text in enumerate(gates, 1)},
        **({"edgeopt.warnings": json.dumps(found.warnings, ensure_ascii=False)[:500]} if found.warnings else {}),
    }
