"""edgeopt push."""

from __future__ import annotations

from pathlib import Path

import click

from edgeopt.cli.bundle import KEY
from edgeopt.cli.options import JSON
from edgeopt.cli.output import print_json, working


@click.command("push")
@click.argument("what", metavar="BUNDLE|RUN", type=click.Path(path_type=Path))
@click.argument("address")
@click.option("--even-failed", "failed", is_flag=True, help="Also where the verdict of the run is fail.")
@click.option("--public", is_flag=True, help="hf: a repository that all can read. Default: private.")
@click.option("--replace", is_flag=True, help="hf: in the place of another bundle of the same revision.")
@KEY
@JSON
def command(
    what: Path, address: str, failed: bool, public: bool, replace: bool, key: Path | None, as_json: bool
) -> None:
    """Push BUNDLE, or that of RUN, to ADDRESS: mlflow:NAME, hf:OWNER/NAME or hf:OWNER/NAME@REVISION.

    mlflow: a new version of a registered model, with verdict, gates and metrics as tags. MLFLOW_TRACKING_URI says
    where. hf: one commit to a repository of a hub, private by default. The same bundle is never pushed twice. Every
    byte is checked first, and a run whose verdict is fail is refused.
    """
    from edgeopt.push.address import address_of
    from edgeopt.push.given import Options
    from edgeopt.push.push import push
    from edgeopt.support.quiet import quiet_libraries

    quiet_libraries()
    to = address_of(address)
    with working(f"the bundle is checked and pushed to {to}"):
        pushed, manifest = push(what, to, Options(failed, public, replace, key))
    assert manifest.found is not None
    if manifest.found.verdict != "pass":
        click.echo(f"warning: the verdict of what was pushed is {manifest.found.verdict}", err=True)
    if manifest.license is None:
        click.echo("warning: the license of the model is unknown; `edgeopt bundle RUN --license …` says it", err=True)
    if as_json:
        print_json(
            {
                "address": str(to),
                "version": pushed.version,
                "where": pushed.where,
                "new": pushed.new,
                "verdict": manifest.found.verdict,
            }
        )
        return
    click.echo(
        f"{manifest.name}: {manifest.found.verdict}{'' if pushed.new else ', there already: nothing was pushed'}"
    )
    click.echo(pushed.where)
