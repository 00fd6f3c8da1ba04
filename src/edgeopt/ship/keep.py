"""What a device measured, kept with the run that was shipped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.bundle.manifest import Manifest
from edgeopt.errors import bad_input
from edgeopt.recipe.schema import TaskSpec
from edgeopt.report.write import write_report
from edgeopt.sealed import LOCK, open_run
from edgeopt.store import write_json

if TYPE_CHECKING:
    from edgeopt.ship.ship import Shipped


def check_run(run: Path, manifest: Manifest) -> None:
    """Raises InputError E115 where that is no run, E150 where it is not as it was written, E145 where the bundle was made of another."""
    seal = open_run(run).report.seal
    if seal is None or seal.files[LOCK] != manifest.lock:
        raise bad_input("E145", f"the bundle was not made of the run {run}: their locks differ", help="bundle the run again, or give its own --run")


def keep(run: Path, shipped: Shipped) -> Path:
    """Write every sample to devices/NAME.json of the run's folder, and the device into its report, in the place of what it had
    measured before."""
    assert shipped.device is not None
    device, (_, report, lock) = shipped.device, open_run(run)
    path = run / "devices" / f"{device.name}.json"
    path.parent.mkdir(exist_ok=True)
    write_json(path, {**device.model_dump(mode="json"), "samples": shipped.measured["latency"]})
    devices = [*(d for d in report.devices if d.name != device.name), device]
    task = TaskSpec.model_validate(lock["recipe"]["resolved"]["task"])
    write_report(report.model_copy(update={"devices": devices}), run, pair=len(task.columns) > 1)
    return path
