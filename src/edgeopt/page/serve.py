"""The page on a port of this machine, isolated as browsers want it before they give WASM threads."""

from __future__ import annotations

import functools
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from edgeopt.support.errors import bad_input

HOST = "127.0.0.1"


class _Handler(SimpleHTTPRequestHandler):
    # by name, because the system's own table may have other types
    extensions_map = {  # noqa: RUF012  the base class declares it so
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".svg": "image/svg+xml",
    }

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def send_head(self) -> Any:
        try:
            return super().send_head()
        except (OSError, ValueError):  # a NUL, half of a surrogate pair: no name that a file can have
            self.send_error(HTTPStatus.BAD_REQUEST, "no such name")
            return None

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away in the middle is nothing to print a trace for."""


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of `folder` on 127.0.0.1; port 0 takes a free one. Raises InputError E163 where the port is taken."""
    try:
        return _Server((HOST, port), functools.partial(_Handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise bad_input(
            "E163",
            f"port {port} of {HOST} cannot be used: {error}",
            help="give another with --port; 0 takes a free one",
        ) from None
