"""edgeopt cache."""

from __future__ import annotations

import time
from pathlib import Path

import click

from edgeopt.cli.options import JSON, STORE, Number, open_store
from edgeopt.cli.output import print_json


@click.group("cache")
def command() -> None:
    """List and clean the store of finished steps, and take a model out of it."""


@command.command("ls")
@STORE
@JSON
def list_states(store: Path | None, as_json: bool) -> None:
    """List the finished steps, oldest first."""
    opened = open_store(store)
    states, broken = opened.states(), opened.broken()
    if as_json:
        sound = [
            {
                "key": s.key,
                "use": s.manifest["use"],
                "bytes": s.size,
                "created": s.manifest["created"],
                "facts": sorted(s.facts),
            }
            for s in states
        ]
        print_json([*sound, *({"key": name, "damaged": why} for name, why in broken.items())])
        return
    for s in states:
        age = (time.time() - float(s.manifest["created"])) / 86400
        click.echo(
            f"{s.key[:12]}  {s.manifest['use']:<18} {s.size / 1e6:8.1f} MB  {age:5.1f} days  "
            f"{', '.join(sorted(s.facts))}"
        )
    for name, why in broken.items():
        click.echo(f"{name[:12]}  damaged: {why}; `edgeopt cache gc` removes it")
    click.echo(f"{len(states)} steps, {sum(s.size for s in states) / 1e6:.1f} MB")


@command.command("gc")
@STORE
@click.option(
    "--older-than",
    type=Number(min=0),
    metavar="DAYS",
    help="Also remove finished steps, cached answers of teachers and tokenized texts older than this many days.",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Also remove all finished steps, all cached answers of teachers and all tokenized texts.",
)
def collect(store: Path | None, older_than: float | None, everything: bool) -> None:
    """Remove damaged steps and what interrupted runs left; sound steps only while no run uses the store."""
    opened = open_store(store)
    opened.prepare()
    freed, removed = opened.sweep(), 0
    if (everything or older_than is not None) and opened.is_in_use():
        click.echo("a run is using the store, so only damaged and leftover files are removed", err=True)
        everything, older_than = False, None
    if everything or older_than is not None:
        freed += opened.forget_answers(0.0 if everything or older_than is None else older_than * 86400)
    for name, why in opened.broken().items():
        click.echo(f"{name[:12]}: {why}", err=True)
        removed += opened.remove(name)
    for state in opened.states():
        old = older_than is not None and time.time() - float(state.manifest["created"]) > older_than * 86400
        if (everything or old or opened.damage(state)) and opened.remove(state.key):
            freed += state.size
            removed += 1
    click.echo(f"removed {removed} steps, freed {freed / 1e6:.1f} MB")


_EXPORT = """Copy the model that a step left into a folder that transformers loads, with its tokenizer.

\b
edgeopt cache export RUN STEP --out FOLDER   STEP: its id in the recipe, or baseline.ID
edgeopt cache export KEY --out FOLDER        KEY: as `edgeopt cache ls` shows it

A recipe takes the folder as `model: {id: FOLDER}`, and `auxiliary: FOLDER` or `teacher: FOLDER` of a step.
"""


@command.command("export", help=_EXPORT)
@click.argument("given", metavar="RUN|KEY", type=click.Path(path_type=Path))
@click.argument("step", required=False)
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="A new or empty folder.")
@STORE
def export(given: Path, step: str | None, out: Path, store: Path | None) -> None:
    """`edgeopt cache export`, whose help is above."""
    from edgeopt.run.taken_out import state_of_key, state_of_run, take_out
    from edgeopt.store.facts import Fact

    opened = open_store(store)
    of_run = step is not None or given.exists()
    with opened.in_use():
        state = state_of_run(opened, given, step) if of_run else state_of_key(opened, str(given))
        take_out(opened, state, out)
    click.echo(f"{out}  {state.manifest['use']}, {state.size / 1e6:.1f} MB")
    if Fact.UNEVEN in state.facts:
        click.echo("its layers were cut: transformers alone does not load it, but a recipe does", err=True)
