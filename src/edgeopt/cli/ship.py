"""edgeopt ship."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeopt.cli.bundle import KEY
from edgeopt.cli.options import JSON
from edgeopt.cli.output import log_to_stderr, print_json

if TYPE_CHECKING:
    from edgeopt.ship.ship import Shipped
    from edgeopt.spec.recipe import GateSpec


@click.command("ship")
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option(
    "--to",
    "url",
    metavar="URL",
    required=True,
    help="ssh://[user@]host[:port]/folder or adb://serial/folder. /~/folder is relative to the home folder.",
)
@click.option(
    "--python", default="python3", show_default=True, help="Python on the device, for example in a virtual environment."
)
@click.option(
    "--run",
    type=click.Path(path_type=Path),
    help="Run whose report gets the measurements. Default: the folder of BUNDLE, if it is a run.",
)
@click.option(
    "--gate",
    "gates",
    multiple=True,
    metavar="METRIC=BOUND",
    help="Additional bound, such as latency.p50=20 (ms) or memory.peak=90 (MB). Repeatable.",
)
@click.option(
    "--keep",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    help="Number of versions to keep on the device.",
)
@KEY
@click.option("--dry-run", is_flag=True, help="Check the bundle and the device, but copy nothing.")
@click.option("--rollback", is_flag=True, help="Without BUNDLE: go back to the previous version.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of ssh, as in the URL.")
@click.option("--identity", "-i", metavar="FILE", help="Private key for ssh.")
@click.option(
    "--option", "-o", "options", multiple=True, metavar="KEY=VALUE", help="Option for ssh, as in `ssh -o`. Repeatable."
)
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@JSON
def command(
    bundle: Path | None,
    url: str,
    python: str,
    run: Path | None,
    gates: tuple[str, ...],
    keep: int,
    key: Path | None,
    dry_run: bool,
    rollback: bool,
    port: int | None,
    identity: str | None,
    options: tuple[str, ...],
    quiet: bool,
    as_json: bool,
) -> int:
    """Bring BUNDLE to a device, prove it there, and make it current.

    Looks first whether the device can take it; copies, and after a cut goes on where it was; checks every byte; runs
    the self-test and the target's latency profile there; switches the link `current` in one moment. Where the self-test
    or a gate fails, what was current stays so. Exit codes are those of gates; 2 where bundle or device do not fit, 3
    where the self-test fails or the connection is lost.
    """
    from edgeopt.ship.ship import Options, roll_back, ship
    from edgeopt.ship.transport import transport_of
    from edgeopt.support.progress import Progress

    log_to_stderr(quiet=quiet)
    transport = transport_of(url, port, identity, options)
    if rollback:
        if bundle is not None:
            raise click.UsageError("--rollback takes no BUNDLE")
        version = roll_back(transport, python)
        print_json({"current": version}) if as_json else click.echo(f"current is {version}")
        return 0
    if bundle is None:
        raise click.UsageError("give the BUNDLE to ship")
    from edgeopt.gates.decide import EXIT_CODES
    from edgeopt.results.sealed import REPORT
    from edgeopt.ship.keep import keep as keep_measurements

    home = run or (bundle.absolute().parent if (bundle.absolute().parent / REPORT).is_file() else None)
    given = Options(python, keep, [_gate(g) for g in gates], key, home, dry_run)
    shipped = ship(bundle, transport, given, Progress(show=not quiet))
    kept = keep_measurements(home, shipped) if home and shipped.device else None
    if as_json:
        device = shipped.device and shipped.device.model_dump(mode="json")
        print_json(
            {
                "device": device,
                "total_bytes": shipped.total,
                "sent_bytes": shipped.sent,
                "resumed_bytes": shipped.resumed,
                "notes": shipped.notes,
            }
        )
    else:
        _show(shipped, kept)
    return EXIT_CODES[shipped.device.verdict] if shipped.device else 0


def _gate(text: str) -> GateSpec:
    from pydantic import ValidationError

    from edgeopt.bundle.make import DECIDED
    from edgeopt.spec.recipe import GateSpec
    from edgeopt.support.errors import bad_input

    metric, _, bound = text.partition("=")
    try:
        if metric.startswith(DECIDED):
            return GateSpec.model_validate(
                {"metric": metric, "max_mb" if metric == "memory.peak" else "max_ms": float(bound)}
            )
    except (ValidationError, ValueError):
        pass
    raise bad_input(
        "E145",
        f"--gate {text!r} is no bound that a device can decide",
        help="latency.p50, .p90 or .p99 or start.cold in ms, memory.peak in MB",
    )


def _show(shipped: Shipped, kept: Path | None) -> None:
    from edgeopt.cli.drawing import open_console, show, tell
    from edgeopt.report import devices

    console = open_console()
    for note in shipped.notes:
        tell(console, f"note: {note}")
    if shipped.device is None:
        click.echo(f"the device can take it: {(shipped.total - shipped.resumed) / 1e6:.1f} MB to copy, nothing was")
        return
    device = shipped.device
    show(console, devices.table([device], brief=True), f"on {device.name}")
    for gate in device.gates:
        click.echo(f"{gate.verdict:<13} {gate.metric} {gate.kind} {gate.bound:g}: {gate.reason}")
    click.echo(f"{'current' if device.switched else 'not switched'}: {device.path}/versions/{device.bundle[:16]}")
    if kept:
        click.echo(kept)
