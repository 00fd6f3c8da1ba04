"""What a device measured, kept with the run that was shipped."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.report.write import write_report
from edgeopt.results.model import Device
from edgeopt.results.sealed import open_run
from edgeopt.spec.recipe import task_in
from edgeopt.support.files import write_json

if TYPE_CHECKING:
    from edgeopt.ship.ship import Shipped


def keep(run: Path, shipped: Shipped) -> Path:
    """Write every sample to a file in devices/ of the run's folder, and the device into its report.

    There it takes the place of what it had measured before. A device is a host and a folder on it: a host may have
    several, with other Pythons or processors.
    """
    assert shipped.device is not None
    device, (_, report, lock) = shipped.device, open_run(run)
    path = run / "devices" / record_name(device)
    write_json(path, {**device.model_dump(mode="json"), "samples": shipped.measured["latency"]})
    devices = [*(d for d in report.devices if (d.name, d.path) != (device.name, device.path)), device]
    task = task_in(lock["recipe"]["resolved"])
    write_report(report.model_copy(update={"devices": devices}), run, pair=len(task.columns) > 1)
    return path


def record_name(device: Device) -> str:
    """The name of a device's file: what of it can be read, and a digest that no other host and folder has."""
    shown = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{device.name}{device.path}")[:80]
    return f"{shown}-{hashlib.sha256(chr(0).join((device.name, device.path)).encode()).hexdigest()[:12]}.json"
