"""edgeopt page."""

from __future__ import annotations

from pathlib import Path

import click

from edgeopt.cli.options import RUN
from edgeopt.cli.output import working


@click.command("page")
@RUN
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the page. Default: RUN/page.")
@click.option(
    "--passages",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Passages that the page of an embedding model searches. They can be read by whoever opens the page.",
)
@click.option("--text", metavar="COLUMN", help="Column of the passages, where the recipe calls it otherwise.")
@click.option("--serve", is_flag=True, help="Serve the page on this machine until Ctrl-C.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port for --serve; 0 takes any free port.",
)
def command(run: Path, out: Path | None, passages: Path | None, text: str | None, serve: bool, port: int) -> None:
    """Write a static page on which the model of RUN answers what is typed, or searches passages for it.

    The model runs in the browser, on WASM; the page loads nothing from elsewhere. Any web server will do for the
    folder.
    """
    from edgeopt.page.build import write_page
    from edgeopt.page.serve import HOST, server

    folder = out or (run if run.is_dir() else run.parent) / "page"
    with working("writing the page; npm installs its libraries", 15):
        write_page(run, folder, passages, text)
    click.echo(folder / "index.html")
    if not serve:
        return
    with server(folder, port) as listening:
        click.echo(f"http://{HOST}:{listening.server_port}/", err=True)
        try:
            listening.serve_forever()
        except KeyboardInterrupt:
            return
