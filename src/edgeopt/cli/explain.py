"""edgeopt explain."""

from __future__ import annotations

import re
import sys

import click

from edgeopt.cli import completing
from edgeopt.cli.options import JSON
from edgeopt.cli.output import print_json, say
from edgeopt.support.errors import ExitCode, bad_input


@click.command("explain")
@click.argument("code", required=False, shell_complete=completing.codes)
@JSON
def command(code: str | None, as_json: bool) -> None:
    """Explain an error CODE such as E201, or 201; without one, list the codes and the exit codes."""
    from edgeopt.support.explanations import EXPLANATIONS

    if code is None:
        if as_json:
            print_json({"errors": EXPLANATIONS, "exit_codes": {e.name.lower(): int(e) for e in ExitCode}})
            return
        for name, text in EXPLANATIONS.items():
            say(f"{name}  {text.splitlines()[0]}")
        say("exit codes: " + ", ".join(f"{int(e)} {e.name.lower().replace('_', ' ')}" for e in ExitCode))
        return
    code = f"E{code}" if code.isdecimal() else code.upper()
    found = EXPLANATIONS.get(code)
    if found is None:
        raise bad_input("E100", f"there is no error code '{code}'", help="`edgeopt explain` lists them")
    if as_json:
        print_json({"code": code, "text": found})
    else:
        # on a terminal paragraphs are as wide as that; what is indented stays as it is
        text = re.sub(r"(?<=\S)\n(?=[^\s|*-])", " ", found) if sys.stdout.isatty() else found
        say(f"{code}: {text}", hang="")
