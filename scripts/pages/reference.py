"""Reference pages that the code itself tells: the commands from click, the error codes from `edgeopt explain`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from edgeopt.cli import COMMANDS, cli
from edgeopt.support.explanations import EXPLANATIONS

_MADE = "`scripts/make_docs.py` writes this page. Do not edit it."
#: What the codes with these beginnings are about.
_GROUPS = {
    "E1": "Command line, recipe and files",
    "E2": "Order of the steps, and what a step needs",
    "E3": "Data and models",
    "E4": "A step that failed",
    "E9": "Defects",
}


def commands() -> str:
    """Every command with what `--help` prints."""
    lines = [
        "# Commands",
        "",
        f"{_MADE} Each block is what `edgeopt COMMAND --help` prints.",
        "",
        "Results go to stdout. Progress and warnings go to stderr. [Exit codes](exit-codes.md) are the same for every "
        "command.",
        "",
        "| Command | What it does |",
        "|---|---|",
        *(f"| [`{name}`](#edgeopt-{name}) | {text} |" for name, (_, text) in COMMANDS.items()),
    ]
    with click.Context(cli, info_name="edgeopt", help_option_names=["-h", "--help"], max_content_width=100) as above:
        for name in COMMANDS:
            lines += _command(name, cli.get_command(above, name), above, level=2)
    return "\n".join(lines) + "\n"


def _command(name: str, command: click.Command | None, above: click.Context, level: int) -> Iterator[str]:
    assert command is not None
    with command.make_context(name, [], parent=above, resilient_parsing=True) as context:
        yield from ("", f"{'#' * level} {context.command_path}", "", "```text", command.get_help(context), "```")
        if isinstance(command, click.Group):
            for each in command.list_commands(context):
                yield from _command(each, command.get_command(context, each), context, level + 1)


def errors() -> str:
    """Every error code with its explanation."""
    lines = [
        "# Error codes",
        "",
        f"{_MADE} `edgeopt explain E203` prints the same text on a terminal.",
        "",
        "An error has a code, a cause and a help, and a place where there is one. All mistakes of a recipe are shown "
        "at once.",
    ]
    for beginning, title in _GROUPS.items():
        found = {code: text for code, text in EXPLANATIONS.items() if code.startswith(beginning)}
        lines += ["", f"## {title}", "", "| Code | Meaning |", "|---|---|"]
        lines += [f"| [{code}](#{code.lower()}) | {text.splitlines()[0]} |" for code, text in found.items()]
        for code, text in found.items():
            first, _, rest = text.partition("\n\n")
            lines += ["", f"### {code}", "", f"**{first}**", "", rest]
    missing = [code for code in EXPLANATIONS if code[:2] not in _GROUPS]
    assert not missing, f"no group for {missing}"
    return "\n".join(lines) + "\n"
