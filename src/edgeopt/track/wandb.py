"""Weights & Biases as a tracker, by its client; WANDB_PROJECT, WANDB_ENTITY and WANDB_MODE say where."""

from __future__ import annotations

import hashlib
import os
from typing import Any, ClassVar

from edgeopt.support.errors import bad_input
from edgeopt.track.record import KEY, Record
from edgeopt.track.tracker import Tracker


class WandbTracker(Tracker):
    """Runs of one project; those below another are in its group. A key is a run's ID, so that none is there twice."""

    name: ClassVar[str] = "wandb"

    def open(self) -> None:
        import wandb

        self.project, mode = os.environ.get("WANDB_PROJECT", "edgeopt"), os.environ.get("WANDB_MODE", "online")
        self.where = f"project {self.project}, {mode}"
        if mode == "online" and not wandb.api.api_key:
            # it would ask on the terminal, or wait for it
            raise bad_input("E147", "wandb knows no key of yours", help="`wandb login`, or WANDB_MODE=offline")

    def log(self, record: Record, parent: str | None) -> str:
        if record.status == "running":
            return f"{record.name}-{record.key[:8]}"
        import wandb

        id = hashlib.sha256(record.key.encode()).hexdigest()[:16]
        group = parent or f"{record.name}-{record.key[:8]}"
        quiet: Any = wandb.Settings(silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True)
        config = {**record.params, KEY: record.key}
        with wandb.init(
            project=self.project, id=id, resume="allow", name=record.name, group=group, config=config, settings=quiet
        ) as run:
            for name, points in record.curves.items():
                run.define_metric(name, step_metric=f"{name}_step")
                for at, value in points:
                    run.log({name: value, f"{name}_step": at})
            run.summary.update({**record.metrics, **record.tags})
            if record.files:
                kept = wandb.Artifact(f"report-{id}", type="report")
                for path in record.files:
                    kept.add_file(str(path))
                run.log_artifact(kept)
        return group
