"""edgeopt bundle."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeopt.cli.options import JSON, RUN, Number
from edgeopt.cli.output import echo_json, print_json, working

if TYPE_CHECKING:
    from edgeopt.bundle.manifest import Manifest

BUNDLE = click.argument("bundle", type=click.Path(path_type=Path))
KEY = click.option("--key", type=click.Path(path_type=Path), help="Public key that must have signed the bundle.")


_HELP = """Pack RUN to serve anywhere with Python, onnxruntime and tokenizers, protected against unnoticed changes.

\b
edgeopt bundle RUN [--out FOLDER|FILE.zip] [--sign KEY]   (edgeopt bundle make -h lists the options)
edgeopt bundle verify BUNDLE [--key KEY.pub]
edgeopt bundle sbom BUNDLE
edgeopt bundle keygen KEY
"""


class RunOrCommand(click.Group):
    """A group whose first word, where it is no subcommand, is a RUN to pack."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        asks_help = bool(args) and args[0] in ("-h", "--help")
        return super().parse_args(ctx, args if asks_help or (args and args[0] in self.commands) else ["make", *args])


@click.group(
    "bundle",
    cls=RunOrCommand,
    help=_HELP,
    options_metavar="",
    subcommand_metavar="RUN [OPTIONS] | verify BUNDLE | sbom BUNDLE | keygen KEY",
)
def command() -> None:
    """`edgeopt bundle`, of which everything else here is a subcommand."""


@command.command("make")
@RUN
@click.option(
    "--out", type=click.Path(path_type=Path), help="A folder, or a file that ends in .zip. Default: RUN/bundle.zip."
)
@click.option(
    "--sign",
    "key",
    type=click.Path(path_type=Path),
    help="Private key to sign with; `edgeopt bundle keygen` makes one.",
)
@click.option(
    "--texts",
    type=click.Path(path_type=Path),
    help="Texts for the self-test: one per line, or .jsonl. Default: rows of the report split.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 256),
    default=32,
    show_default=True,
    help="Number of rows of the report split for the self-test.",
)
@click.option(
    "--tolerance",
    type=Number(0, min_open=True),
    help="How far a logit may be off in the self-test. Default: measured.",
)
@click.option("--license", metavar="ID|FILE", help="License of the model. Default: what the model's folder says.")
@JSON
def make(
    run: Path,
    out: Path | None,
    key: Path | None,
    texts: Path | None,
    count: int,
    tolerance: float | None,
    license: str | None,
    as_json: bool,
) -> None:
    """Write the bundle of RUN: model, tokenizer, run.py to serve it, texts with their logits, and a manifest.

    Beside it its bill of materials in CycloneDX 1.6: bundle.cdx.json of bundle.zip.
    """
    from edgeopt.bundle.make import Wanted, make_bundle
    from edgeopt.bundle.sbom import beside
    from edgeopt.support.quiet import quiet_libraries

    quiet_libraries()
    to = (out or run / "bundle.zip").absolute()
    with working("checking and copying the files of the run, and testing the model on its test texts"):
        manifest = make_bundle(run, to, Wanted(texts, count, tolerance, key, license))
    if manifest.license is None:
        click.echo("warning: the license of the model is unknown; set it with --license ID or --license FILE", err=True)
    if as_json:
        print_json({"bundle": str(to), "sbom": str(beside(to)), **manifest.model_dump(mode="json")})
        return
    _show(manifest, "signed" if key else "not signed")
    click.echo(to)


@command.command("verify")
@BUNDLE
@KEY
@JSON
def verify(bundle: Path, key: Path | None, as_json: bool) -> None:
    """Check every byte of BUNDLE, and its signature with --key; then ask the model its own test texts.

    Nothing of the bundle is loaded before its bytes are checked, and no code of it is run. Exit code 0; 2 where it is
    refused.
    """
    from edgeopt.bundle.verify import selftest, verified

    with ExitStack() as stack:
        with working("checking every byte, and testing the model on its test texts"):
            found = stack.enter_context(verified(bundle, key))
            tested = selftest(found.folder)
        signed = {
            None: "not signed",
            False: "signed, but the signature was not checked: give --key",
            True: f"signed by {key}",
        }[found.signed]
        if as_json:
            print_json(
                {
                    "bundle": str(bundle),
                    "digest": found.digest,
                    "signed": found.signed,
                    "selftest": tested,
                    "name": found.manifest.name,
                }
            )
            return
        _show(found.manifest, signed)
        what = "mean distance of an embedding" if "mistaken" in tested else "largest difference of a logit"
        off, most = tested["max_abs_diff"], tested["tolerance"]
        click.echo(f"self-test   {tested['texts']} texts, {what} {off:.2g} (at most {most:g})")
        click.echo(f"whole       {found.digest}")


@command.command("sbom")
@BUNDLE
@KEY
def sbom(bundle: Path, key: Path | None) -> None:
    """Print the bill of materials of BUNDLE, in CycloneDX 1.6, once every byte of it is checked."""
    from edgeopt.bundle.sbom import sbom as bill_of
    from edgeopt.bundle.verify import verified

    with verified(bundle, key) as found:
        echo_json(bill_of(found.manifest, found.digest).removesuffix("\n"))


@command.command("keygen")
@click.argument("key", type=click.Path(path_type=Path))
def keygen(key: Path) -> None:
    """Make a pair of Ed25519 keys: KEY, which signs and which you alone may read, and KEY.pub."""
    from edgeopt.bundle.sign import make_key

    click.echo(make_key(key))


def _show(manifest: Manifest, signed: str) -> None:
    license = manifest.license and (manifest.license.id or manifest.license.file)
    click.echo(f"{manifest.name}: {manifest.model} ({manifest.precision}), {manifest.task.type}")
    click.echo(f"files       {len(manifest.files)}, {sum(f.size for f in manifest.files.values()) / 1e6:.1f} MB")
    click.echo(f"license     {license or 'unknown'}")
    click.echo(f"signature   {signed}")
