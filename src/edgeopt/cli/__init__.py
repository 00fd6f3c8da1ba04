"""The command line: one short file a command, imported only when it is called."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import NoReturn

import click

from edgeopt.cli.ci import tell_error
from edgeopt.cli.completing import COMPLETE
from edgeopt.cli.output import show_error
from edgeopt.support.errors import EdgeoptError, ExitCode, InputError, Interrupted, Issue, unforeseen
from edgeopt.support.version import __version__
from edgeopt.support.visible import guarded

#: command: (module, one line of help), in the order in which a newcomer meets them
COMMANDS = {
    "quickstart": ("quickstart", "Lay out a first recipe with a real model and real rows."),
    "init": ("init", "Propose a first recipe for a file of rows and a model."),
    "apply": ("apply", "Run a recipe: build, export, measure, decide the gates."),
    "plan": ("plan", "Show the steps of a recipe and which are cached."),
    "validate": ("validate", "Check a recipe, its data and its model folder. Computes nothing."),
    "gate": ("gate", "Decide gates on a finished run or model; the exit code is the verdict."),
    "predict": ("predict", "Let a finished model answer the rows of a file."),
    "baseline": ("baseline", "Measure the FP32 model, for comparisons with gate --against."),
    "report": ("report", "Show the report of a finished run."),
    "compare": ("compare", "Put finished runs side by side: metrics, size, speed, cost of training."),
    "diff": ("diff", "Show what changed between two finished runs, and the effect."),
    "page": ("page", "Write a static page that runs the model in the browser."),
    "bundle": ("bundle", "Pack a finished run so that it serves anywhere; check what was packed."),
    "ship": ("ship", "Copy a bundle to a device, test it there, and make it current."),
    "push": ("push", "Push a bundle to MLflow's registry or to a repository of a hub."),
    "recipes": ("recipes", "List, show and copy the recipes that come with edgeopt."),
    "exporters": ("exporters", "List the export formats and the packages they need."),
    "explain": ("explain", "Explain an error code."),
    "schema": ("schema", "Print the JSON schema of recipes."),
    "doctor": ("doctor", "Show versions, processor, memory, and what a recipe would need."),
    "cache": ("cache", "List and clean the store of finished steps, and take a model out."),
    "completion": ("completion", "Print what makes bash, zsh or fish complete edgeopt's words."),
}


class LazyGroup(click.Group):
    """Imports a command's module when it is called, so that --help is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"edgeopt.cli.{COMMANDS[cmd_name][0]}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the words call for; click fails with the nearest name where there is none of that name."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            guess = get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"there is no command '{args[0]}'." + (f" Did you mean '{guess[0]}'?" if guess else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


#: What `edgeopt --help` says first; click leaves the lines behind \b as they are.
_HELP = """Declarative optimization of transformer encoders for CPUs, phones and browsers.

\b
edgeopt init reviews.csv --out my.yaml    # or: recipes copy quickstart my.yaml
edgeopt apply my.yaml --out run

Exit codes: 0 pass, 1 a gate failed, 2 bad input or usage, 3 a step failed, 4 inconclusive, 130 interrupted.
"""


@click.command(
    cls=LazyGroup, help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="edgeopt")
def cli() -> None:
    """`edgeopt`, of which everything else is a subcommand."""


def main() -> NoReturn:
    """Run the command line; every error ends in one message and a documented exit code."""
    if asked := os.environ.get(COMPLETE):
        from edgeopt.cli.shells import complete

        sys.exit(complete(cli, asked))
    signal.signal(signal.SIGTERM, _interrupt)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed: no file may get its number, or what is printed would go there
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that cannot show × must not fail a run
    with guarded():
        _main("--json" in sys.argv)


def _main(as_json: bool) -> NoReturn:
    try:
        # not cli.main(): click ends a closed pipe with 1, which here means that a gate failed
        with cli.make_context("edgeopt", sys.argv[1:], color=False if "NO_COLOR" in os.environ else None) as context:
            code = cli.invoke(context)
        sys.stdout.flush()
    except EdgeoptError as error:
        _fail(error, as_json=as_json)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        told = InputError(Issue("E100", error.format_message()))
        if as_json:
            _fail(told, as_json=True)
        error.show()
        tell_error(told, sys.argv[1:])
        code = ExitCode.BAD_INPUT
    except (KeyboardInterrupt, click.Abort):
        issue = Issue(
            "E130", "interrupted", help="type the same command to resume: finished steps and checkpoints are kept"
        )
        _fail(Interrupted(issue), as_json=as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it flushes
        code = ExitCode.BROKEN_PIPE
    except BaseException as error:  # SystemExit too, which only the line below may raise
        if os.environ.get("EDGEOPT_DEBUG"):
            raise error if isinstance(error, Exception) else unforeseen(error) from error
        _fail(unforeseen(error), as_json=as_json)
    sys.exit(int(code) if isinstance(code, int) else 0)


def _fail(error: EdgeoptError, *, as_json: bool) -> NoReturn:
    show_error(error, as_json=as_json)
    tell_error(error, sys.argv[1:])
    sys.exit(error.exit_code)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
