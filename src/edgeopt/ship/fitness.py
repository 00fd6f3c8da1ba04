"""Whether a device can take a bundle, found before a byte is copied."""

from __future__ import annotations

from edgeopt.bundle.manifest import Manifest
from edgeopt.ship.replies import Probe
from edgeopt.support.errors import Issue

#: What run.py and device.py need.
PYTHON = (3, 10)
#: Bytes that stay free.
_SPARE = 10_000_000


def issues(probe: Probe, manifest: Manifest, size: int) -> list[Issue]:
    """All that is in the way. probe: what the agent found. size: bytes of the bundle."""
    found = []
    if tuple(map(int, probe["python"].split(".")[:2])) < PYTHON:
        found.append(
            Issue(
                "E145",
                f"the device has Python {probe['python']}, but a bundle needs {PYTHON[0]}.{PYTHON[1]}",
                help="--python names another one",
            )
        )
    if missing := [name for name, version in probe["packages"].items() if version is None]:
        found.append(
            Issue(
                "E145",
                f"the device's Python has no {', '.join(missing)}",
                help=f"pip install {' '.join(missing)} there, or --python PATH",
            )
        )
    if missing := [flag for flag in manifest.target.instructions if flag not in probe["flags"]]:
        what = (
            f"{probe['cpu']} has no {', '.join(missing)}" if probe["flags"] else "the processor's flags cannot be read"
        )
        found.append(
            Issue(
                "E145",
                f"the target '{manifest.target.name}' needs instructions, but {what}",
                help="bundle a run that was made for such a device",
            )
        )
    if (need := size - probe["partial_bytes"] + _SPARE) > probe["free_bytes"]:
        found.append(
            Issue(
                "E145",
                f"the device has {probe['free_bytes'] / 1e6:.1f} MB free, but {need / 1e6:.1f} MB are needed",
                help="free some, or lower --keep",
            )
        )
    if not probe["writable"]:
        found.append(
            Issue(
                "E145",
                "the folder on the device cannot be written",
                help="create it there for the user that ssh logs in as",
            )
        )
    if probe["foreign"]:
        found.append(
            Issue(
                "E145",
                f"the folder on the device has {' and '.join(probe['foreign'])}, which `edgeopt ship` did not make",
                help="give another folder",
            )
        )
    return found


def notes(probe: Probe, manifest: Manifest) -> list[str]:
    """What is no hindrance, and worth knowing."""
    found = [
        f"{name} {probe['packages'][name]} on the device, {version} when the run was made"
        for name, version in manifest.packages.items()
        if probe["packages"].get(name) not in (None, version)
    ]
    if probe["cpus"] < manifest.target.threads:
        found.append(f"{probe['cpus']} processors on the device, but the target has {manifest.target.threads} threads")
    return found
