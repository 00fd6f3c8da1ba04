"""Ways to a device. Each starts a process there whose stdin and stdout are ours; `edgeopt ship` needs nothing else.

The process is `ship/agent.py`, handed over as the argument of `python -c`: nothing has to be installed, one login is
enough, and stdin stays free for requests and files. Words of ours reach the device's shell quoted by shlex; folders,
names and numbers go through the agent's JSON and meet no shell.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO
from urllib.parse import unquote, urlsplit

from edgeopt.support.errors import bad_input

#: No name may start like an option.
_HOST = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:-]{0,254}", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}", re.ASCII)


class Transport(ABC):
    """Base of every way to a device.

    name: the device in a few characters that a file's name may have. path: the folder there, absolute, or below the
    home in the form /~/folder.
    """

    name: str
    path: str

    @abstractmethod
    def command(self, argv: Sequence[str]) -> list[str]:
        """What to run here so that `argv` runs there, each word as it is."""

    def start(self, argv: Sequence[str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start `argv` on the device. Raises InputError E145 where the program for that is not installed here."""
        command = self.command(argv)
        try:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        except FileNotFoundError:
            raise bad_input("E145", f"there is no {command[0]} here", help=f"install {command[0]}") from None


@dataclass(frozen=True)
class Ssh(Transport):
    """The system's OpenSSH, with its configuration, keys, agent and known hosts. options: of `ssh -o`."""

    host: str
    path: str
    user: str | None = None
    port: int | None = None
    identity: str | None = None
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:  # type: ignore[override]
        return _file_name(self.host) + (f"-{self.port}" if self.port not in (None, 22) else "")

    def command(self, argv: Sequence[str]) -> list[str]:
        given = [word for option in self.options for word in ("-o", option)]  # first: of two values ssh takes the first
        port = ["-p", str(self.port)] if self.port else []
        user = ["-l", self.user] if self.user else []
        key = ["-i", self.identity] if self.identity else []
        alive = ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
        return ["ssh", "-T", *given, *alive, *port, *user, *key, "--", self.host, shlex.join(argv)]


@dataclass(frozen=True)
class Adb(Transport):
    """An Android device with a Python such as Termux', by the platform tools' adb.

    Written from adb's documentation, and not tried on a device.
    """

    serial: str
    path: str

    @property
    def name(self) -> str:  # type: ignore[override]
        return _file_name(self.serial)

    def command(self, argv: Sequence[str]) -> list[str]:
        return ["adb", "-s", self.serial, "shell", "-T", shlex.join(argv)]  # -T: no terminal, so that bytes stay bytes


def transport_of(
    url: str, port: int | None = None, identity: str | None = None, options: Sequence[str] = ()
) -> Transport:
    """ssh://[user@]host[:port]/path or adb://serial/path. Raises InputError E145."""
    help = "give ssh://user@host/folder or adb://serial/folder; /~/folder is below the home directory"
    try:
        parts = urlsplit(url)
        there = parts.port
    except ValueError as error:
        raise bad_input("E145", f"--to {url!r} is not an address: {error}", help=help) from None
    path = unquote(parts.path).rstrip("/")
    host, user = parts.hostname or "", unquote(parts.username) if parts.username else None
    if (
        parts.scheme not in ("ssh", "adb")
        or not path
        or "\0" in path
        or ".." in path.split("/")
        or not _HOST.fullmatch(host)
        or parts.query
        or parts.fragment
    ):
        raise bad_input("E145", f"--to {url!r} is not the address of a device", help=help)
    if parts.password is not None or (user is not None and (parts.scheme == "adb" or not _USER.fullmatch(user))):
        raise bad_input(
            "E145",
            f"--to {url.replace(parts.password or ' ', '…')!r}: only a user name may come before the @",
            help="let ssh ask for the password, or use a key",
        )
    if parts.scheme == "adb":
        return Adb(parts.netloc, path)  # as it is written: serials are in capitals
    return Ssh(host, path, user, port or there, identity, tuple(options))


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]", "_", text)
