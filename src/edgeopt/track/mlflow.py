"""MLflow as a tracker, by its client; MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME say where."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Any, ClassVar

from edgeopt.track.record import KEY, Record
from edgeopt.track.tracker import Tracker

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: What is set where the user has not: the client waits minutes for a server that does not answer, and prints to stdout,
#: where --json is.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
#: How many metrics and parameters one call may hold, and how long a value may be.
_METRICS, _PARAMS, _LONGEST = 1000, 100, 500


class MlflowTracker(Tracker):
    """Runs of one experiment, below each other by MLflow's own tag."""

    name: ClassVar[str] = "mlflow"
    client: MlflowClient
    experiment: str

    def open(self) -> None:
        for variable, value in _SETTINGS.items():
            os.environ.setdefault(variable, value)
        import mlflow

        named = os.environ.get("MLFLOW_EXPERIMENT_NAME", "edgeopt")
        self.client, self.where = mlflow.MlflowClient(), f"{mlflow.get_tracking_uri()}, experiment {named}"
        found = self.client.get_experiment_by_name(named)
        self.experiment = found.experiment_id if found else self.client.create_experiment(named)

    def find(self, tag: str, value: str) -> Any:
        """The newest run with that tag; None where there is none."""
        found = self.client.search_runs([self.experiment], f"tags.`{tag}` = '{value}'", max_results=1)
        return found[0] if found else None

    def log(self, record: Record, parent: str | None) -> str:
        found = self.find(KEY, record.key)
        if found is None:
            above = {"mlflow.parentRunId": parent} if parent else {}
            found = self.client.create_run(self.experiment, run_name=record.name, tags={KEY: record.key, **above})
        elif found.info.status == "FINISHED" and record.once:
            return str(found.info.run_id)
        run = str(found.info.run_id)
        if record.status != "running":
            self._fill(run, record)
            self.client.set_terminated(run, record.status.upper())
        return run

    def _fill(self, run: str, record: Record) -> None:
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        single = [Metric(_plain(name), value, now, 0) for name, value in record.metrics.items()]
        curves = [
            Metric(_plain(name), value, now, at) for name, points in record.curves.items() for at, value in points
        ]
        params = [Param(_plain(name), value[:_LONGEST]) for name, value in record.params.items()]
        tags = [RunTag(_plain(name), value[:_LONGEST]) for name, value in record.tags.items()]
        for part in _parts(params, _PARAMS):
            self.client.log_batch(run, params=part)
        for part in _parts(tags, _PARAMS):
            self.client.log_batch(run, tags=part)
        for part in _parts([*single, *curves], _METRICS):
            self.client.log_batch(run, metrics=part)
        for path in record.files:
            self.client.log_artifact(run, str(path), "report")


def _plain(name: str) -> str:
    """A name that MLflow takes: letters, digits and a few signs."""
    return re.sub(r"[^\w./ -]", "_", name, flags=re.ASCII)


def _parts(values: list[Any], size: int) -> list[list[Any]]:
    return [values[i : i + size] for i in range(0, len(values), size)]
