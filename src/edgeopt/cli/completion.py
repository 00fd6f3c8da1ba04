"""edgeopt completion."""

from __future__ import annotations

import click

_HELP = """Print the lines that make SHELL complete commands, options, recipes, targets, exporters and codes.

\b
edgeopt completion bash >> ~/.bashrc
edgeopt completion zsh >> ~/.zshrc
edgeopt completion fish > ~/.config/fish/completions/edgeopt.fish
"""


@click.command("completion", help=_HELP)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """`edgeopt completion`."""
    from edgeopt.cli.shells import lines_of

    click.echo(lines_of(shell, context.find_root().command))
