"""Completion in a shell, by click's own mechanism: the lines that a shell runs, and the answers to what it asks."""

from __future__ import annotations

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    ShellComplete,
    add_completion_class,
    get_completion_class,
)

from edgeopt.cli.completing import COMPLETE


class Bash(BashComplete):
    """Bash hands `export=onnx` over as three words, and replaces the last of them alone."""

    _head = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, word = super().get_completion_args()
        if word == "=" and args:
            self._head, word = f"{args.pop()}=", ""
        elif len(args) > 1 and args[-1] == "=":
            self._head = f"{args[-2]}="
            del args[-2:]
        return args, self._head + word

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{item.value.removeprefix(self._head)}"


add_completion_class(Bash)


def lines_of(shell: str, cli: click.Command) -> str:
    """What a shell runs at its start."""
    made = _made(shell, cli)
    # made.source() starts a bash to see its version, and complains where that is not the shell
    return str(made.source_template % made.source_vars())


def complete(cli: click.Command, asked: str) -> int:
    """Answer what the lines ask. A shell gets an answer or nothing, never an error in the middle of a line."""
    try:
        click.echo(_made(asked.removesuffix("_complete"), cli).complete())
    except Exception:
        return 1
    return 0


def _made(shell: str, cli: click.Command) -> ShellComplete:
    kind = get_completion_class(shell)
    if kind is None:
        raise ValueError(f"click does not know the shell {shell}")
    return kind(cli, {}, "edgeopt", COMPLETE)
