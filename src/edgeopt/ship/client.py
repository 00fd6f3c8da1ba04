"""A conversation with the agent on a device."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from edgeopt.ship import agent
from edgeopt.ship.transport import Transport
from edgeopt.support.errors import InputError, Place, bad_input, step_failed
from edgeopt.support.reading import LONGEST_LINE, Reader

T = TypeVar("T")
#: Lines that a device's shell may print before the agent does.
_GREETINGS = 200
_REPLY, _DEVICE = Reader("reply", "E420"), Place("device")


class Client:
    """Asks the agent on a device. Raises StepError E420 where the connection is lost or the device refuses."""

    def __init__(self, requests: IO[bytes], replies: IO[bytes], last_words: Callable[[], str]) -> None:
        self._requests, self._replies, self._last_words = requests, replies, last_words

    def ask(self, do: str, **fields: Any) -> None:
        """Ask for something to be done."""
        self.get(dict[str, Any], do, **fields)

    def get(self, shape: type[T], do: str, **fields: Any) -> T:
        """Ask for something to be told: an answer of that shape."""
        self._send(json.dumps({"do": do, **fields}).encode() + b"\n")
        return self._reply(shape)

    def put(self, name: str, path: Path, offset: int, sent: Callable[[int], None]) -> None:
        """Send the bytes of a file from `offset` on. sent: told the number of bytes of each piece."""
        size = path.stat().st_size - offset
        self._send(json.dumps({"do": "put", "name": name, "offset": offset, "size": size}).encode() + b"\n")
        with path.open("rb") as file:
            file.seek(offset)
            while data := file.read(1 << 16):
                self._send(data)
                sent(len(data))
        self._reply(dict[str, Any])

    def hello(self) -> bool:
        """Whether the agent answers; what the shell prints before is left out."""
        for _ in range(_GREETINGS):
            line = self._replies.readline(4096)
            if line.strip() == agent.HELLO.encode():
                return True
            if not line:
                return False
        return False

    def _send(self, data: bytes) -> None:
        try:
            self._requests.write(data)
            self._requests.flush()
        except OSError:
            raise self._lost() from None

    def _reply(self, shape: type[T]) -> T:
        line = self._replies.readline(LONGEST_LINE)
        if not line:
            raise self._lost()
        try:
            reply: Any = _REPLY.parse(_REPLY.decode(line, _DEVICE), _DEVICE)
            if isinstance(reply, dict) and "error" in reply:
                raise step_failed("E420", f"the device refuses: {str(reply['error'])[:1000]}")
            return _REPLY.check(reply, shape, _DEVICE)
        except InputError as error:
            raise step_failed(
                "E420", f"the answer of the device does not fit the question: {error.issues[0].message}"
            ) from None

    def _lost(self) -> Exception:
        why = self._last_words()
        return step_failed(
            "E420",
            f"the connection to the device was lost{': ' * bool(why)}{why}",
            help="run the same command again: it continues where it stopped",
        )


@contextmanager
def connected(transport: Transport, python: str) -> Iterator[Client]:
    """An agent on the device, run by that Python there; it ends with the connection.

    Raises InputError E145 where the device cannot be reached or has no such Python.
    """
    source = Path(agent.__file__).read_text(encoding="utf-8")
    with tempfile.TemporaryFile() as errors:
        process = transport.start([python, "-c", source], errors)
        assert process.stdin is not None and process.stdout is not None

        def last_words() -> str:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines()
            return lines[-1][:300] if lines else ""

        try:
            client = Client(process.stdin, process.stdout, last_words)
            if not client.hello():
                status = process.wait()
                what = (
                    f"there is no {python} on the device"
                    if status == 127
                    else "the device cannot be reached, or its Python does not start"
                )
                raise bad_input(
                    "E145",
                    f"{what}: {last_words() or f'exit status {status}'}",
                    help="--python names the device's Python; `ssh` with the same options shows more",
                )
            yield client
        finally:
            with suppress(OSError):  # what was not sent yet cannot be
                process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
