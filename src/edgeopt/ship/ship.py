"""The steps of a ship: look, copy, prove, switch.

What is current on the device stays so until the new one is proven.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.bundle.manifest import SESSION, Manifest
from edgeopt.bundle.verify import Bundle, failure, verified
from edgeopt.results.model import Device, verdict_of
from edgeopt.results.sealed import LOCK, open_run
from edgeopt.ship import decide, fitness
from edgeopt.ship.client import Client, connected
from edgeopt.ship.replies import Before, Begun, Probe, Ran
from edgeopt.ship.transport import Transport
from edgeopt.spec.recipe import GateSpec
from edgeopt.support.errors import InputError, Place, bad_input, step_failed
from edgeopt.support.progress import Progress

#: Seconds that the self-test, and each further step of device.py, may take at most.
_PATIENCE = 600
#: Of what a device is, what the report has.
_ENVIRONMENT = ("python", "platform", "machine", "cpu", "cpus", "packages")


@dataclass(frozen=True)
class Options:
    """How a bundle is to be shipped. python: the device's.

    keep: versions that stay there. gates: besides those of the bundle. key: see `verified`. run: the one that the
    bundle must have been made of.
    """

    python: str = "python3"
    keep: int = 3
    gates: Sequence[GateSpec] = ()
    key: Path | None = None
    run: Path | None = None
    dry_run: bool = False


@dataclass(frozen=True)
class Shipped:
    """What came of a ship. device: for the report; None in a dry run.

    measured: every sample. sent, resumed: bytes that were copied, and that were there from a ship that was cut off.
    """

    device: Device | None
    measured: dict[str, Any]
    total: int
    sent: int
    resumed: int
    notes: list[str]


def ship(path: Path, transport: Transport, options: Options, progress: Progress) -> Shipped:
    """Bring a bundle to a device.

    Raises InputError E140 to E142 for the bundle and E145 for the device, before anything is copied; StepError E420
    where the connection is lost or E421 where the self-test fails, with what was current still so. A gate that fails
    raises nothing: `device.switched` says that nothing was switched.
    """
    with verified(path, options.key) as bundle:
        if options.run is not None:
            check_run(options.run, bundle.manifest)
        with connected(transport, options.python) as client:
            return _ship(client, bundle, transport, options, progress)


def _ship(client: Client, bundle: Bundle, transport: Transport, options: Options, progress: Progress) -> Shipped:
    total = sum(bundle.files.values())
    probe = _probe(client, transport, bundle.digest[:16])
    if found := fitness.issues(probe, bundle.manifest, total):
        raise InputError(found)
    notes = fitness.notes(probe, bundle.manifest)
    if options.dry_run:
        return Shipped(None, {"probe": probe}, total, 0, probe["partial_bytes"], notes)
    sent, resumed = _copy(client, bundle, progress)
    measured = _prove(client, bundle, progress)
    device = _device(transport, bundle, probe, measured, options.gates)
    if device.verdict == "fail":
        client.ask("drop")
    else:
        client.ask("switch", keep=options.keep)
        device = device.model_copy(update={"switched": True})
    return Shipped(device, measured, total, sent, resumed, notes)


def roll_back(transport: Transport, python: str) -> str:
    """Make the version before current again, after its self-test; returns its ID.

    Raises InputError E145, StepError E420 or E421.
    """
    with connected(transport, python) as client:
        _probe(client, transport, "")
        client.ask("begin")
        before = client.get(Before, "previous")["id"]
        if before is None:
            raise bad_input("E145", "the device has no earlier version to go back to", help="ship an earlier bundle")
        _tested(client, "selftest", before)
        client.ask("back")
        return before


def _probe(client: Client, transport: Transport, id: str) -> Probe:
    return client.get(Probe, "probe", path=transport.path, id=id)


def _copy(client: Client, bundle: Bundle, progress: Progress) -> tuple[int, int]:
    """Copy what is not on the device yet; returns the bytes sent and those that were there."""
    files = {name: (size, _digest(bundle.folder / name, size)) for name, size in bundle.files.items()}
    there = client.get(Begun, "begin", files=files)
    if there["whole"]:
        progress.say("the device already has this version")
        return 0, sum(bundle.files.values())
    offsets = {name: _offset(bundle.folder / name, *there["have"].get(name, (0, ""))) for name in files}
    resumed, left = sum(offsets.values()), sum(size - offsets[name] for name, (size, _) in files.items())
    progress.say(f"copying {left / 1e6:.1f} MB{f'; {resumed / 1e6:.1f} MB are already there' * bool(resumed)}")
    sent = 0
    with progress.bar("copying (kB)", left // 1000) as bar:

        def count(size: int) -> None:
            nonlocal sent
            sent += size
            bar.update(sent // 1000)

        for name, (size, _) in files.items():
            if offsets[name] < size or size == 0:
                client.put(name, bundle.folder / name, offsets[name], count)
    client.ask("seal", files=files)
    return sent, resumed


def _digest(path: Path, size: int) -> str:
    """SHA-256 of so many of a file's first bytes."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while size and (data := file.read(min(size, 1 << 20))):
            found.update(data)
            size -= len(data)
    return found.hexdigest()


def _offset(path: Path, size: int, sha256: str) -> int:
    """How much of a file need not be sent: all that arrived, where it is the file's beginning."""
    return size if 0 < size <= path.stat().st_size and _digest(path, size) == sha256 else 0


def _prove(client: Client, bundle: Bundle, progress: Progress) -> dict[str, Any]:
    """Run self-test and latency profile on the device; where the test fails the version is removed again."""
    target = bundle.manifest.target
    with progress.during("self-test and latency on the device", 1.25 * target.max_seconds * len(target.sequence)):
        try:
            return _tested(client, "profile", "", _PATIENCE + 2 * target.max_seconds * len(target.sequence))
        except Exception:
            client.ask("drop")
            raise


def _tested(client: Client, what: str, id: str, seconds: float = _PATIENCE) -> dict[str, Any]:
    done = client.get(Ran, "check", what=what, seconds=seconds, id=id)
    lines = done["out"].strip().splitlines() or [f"exit status {done['status']}"]
    try:
        found: dict[str, Any] = decide.READER.parse(lines[-1], Place("device"))
        tested = decide.READER.check(found, decide.Checked, Place("device")).selftest
        if what == "profile" and tested.passed:
            decide.READER.check(found, decide.Proved, Place("device"))
    except InputError:
        raise _failed(f"the self-test could not run: {lines[-1][:300]}") from None
    if not tested.passed:
        raise _failed(failure(found["selftest"]))
    return found


def _failed(why: str) -> Exception:
    return step_failed(
        "E421",
        f"on the device {why}",
        help="the current version on the device did not change; `edgeopt bundle verify` tests the bundle here",
    )


def _device(
    transport: Transport, bundle: Bundle, probe: Probe, measured: dict[str, Any], more: Sequence[GateSpec]
) -> Device:
    manifest = bundle.manifest
    session = json.loads((bundle.folder / SESSION).read_text(encoding="utf-8")).get(manifest.model, {})
    gates = decide.decide([*manifest.gates, *more], measured, manifest)
    runtime = probe["packages"].get("onnxruntime")
    return Device(
        name=transport.name,
        path=transport.path,
        shipped=datetime.now(UTC).isoformat(timespec="seconds"),
        bundle=bundle.digest,
        switched=False,
        verdict=verdict_of(gates),
        gates=gates,
        max_abs_diff=measured["selftest"]["max_abs_diff"],
        tolerance=measured["selftest"]["tolerance"],
        texts=measured["selftest"]["texts"],
        starts=decide.starts(measured),
        latency=decide.latencies(measured, manifest, probe["cpu"], f"onnxruntime {runtime}", session),
        environment={key: value for key, value in probe.items() if key in _ENVIRONMENT},
    )


if TYPE_CHECKING:
    from edgeopt.ship.ship import Shipped


def check_run(run: Path, manifest: Manifest) -> None:
    """Raises InputError where the bundle was not made of the run.

    E115: that is no run; E150: it is not as it was written; E145: the bundle was made of another.
    """
    seal = open_run(run).report.seal
    if seal is None or seal.files[LOCK] != manifest.lock:
        raise bad_input(
            "E145",
            f"the bundle was not made from the run {run}: their locks differ",
            help="bundle the run again, or give the run of the bundle as --run",
        )
