"""A real OpenSSH server on loopback, run by the test itself with keys of its own; a device's Python without torch."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import pytest

_PACKAGES = ("openssh-server", "libwrap0")


@dataclass(frozen=True)
class Server:
    """options: what ssh needs to reach it and nothing else, as `-o` takes it."""

    port: int
    user: str
    options: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        return [word for option in self.options for word in ("-o", option)]

    def url(self, path: Path) -> str:
        return f"ssh://{self.user}@127.0.0.1:{self.port}{path}"


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """A running sshd for the current user; skips where there is none.

    As root, sshd wants an account `sshd` and /run/sshd: it gets both in a mount namespace of its own where the system
    has neither.
    """
    program, env = _sshd(folder)
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
        "PasswordAuthentication": "no",
    }
    (folder / "sshd_config").write_text("".join(f"{k} {v}\n" for k, v in config.items()))
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    log = (folder / "sshd.log").open("wb")
    process = subprocess.Popen(
        [*_namespace(folder), str(program), "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log, env=env
    )
    try:
        _wait(port, process, folder / "sshd.log")
        user = pwd.getpwuid(os.getuid()).pw_name
        yield Server(
            port,
            user,
            (
                f"IdentityFile={folder / 'user'}",
                "IdentitiesOnly=yes",
                f"UserKnownHostsFile={folder / 'known_hosts'}",
                "GlobalKnownHostsFile=none",
                "StrictHostKeyChecking=yes",
                "BatchMode=yes",
            ),
        )
    finally:
        process.terminate()
        process.wait()
        log.close()


def _sshd(folder: Path) -> tuple[Path, dict[str, str]]:
    """The system's, or Debian's package unpacked below `folder`."""
    if shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no OpenSSH client here")
    found = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found:
        return Path(found).resolve(), dict(os.environ)
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        pytest.skip("no sshd here")
    root = folder / "debian"
    root.mkdir()
    try:
        subprocess.run(["apt-get", "download", *_PACKAGES], cwd=root, check=True, capture_output=True, timeout=30)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip("no sshd here, and apt-get cannot download it")
    for package in root.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, root], check=True)
    libraries = ":".join(str(p.parent) for p in root.rglob("libwrap.so.0"))
    return root / "usr" / "sbin" / "sshd", {**os.environ, "LD_LIBRARY_PATH": libraries}


def _namespace(folder: Path) -> list[str]:
    if os.getuid() != 0:
        return []
    users = Path("/etc/passwd").read_text()
    if "\nsshd:" in users and Path("/run/sshd").is_dir():
        return []
    (folder / "passwd").write_text(
        users if "\nsshd:" in users else users + "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
    )
    lines = 'mount --bind "$0" /etc/passwd && mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", lines, str(folder / "passwd")]


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if process.poll() is not None:
            pytest.skip(f"sshd does not start here: {log.read_text().strip()[-200:]}")
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.skip("sshd does not answer")


def device_python(folder: Path) -> Path:
    """An environment of links to what is installed here, with nothing but what a device has.

    That is onnxruntime, tokenizers, numpy and what onnxruntime needs.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    for name in ("onnxruntime", "tokenizers", "numpy", "flatbuffers", "packaging", "protobuf"):
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))))
    python = folder / "bin" / "python"
    lacks = "import importlib.util as u; assert not any(map(u.find_spec, ['torch', 'transformers', 'edgeopt', 'onnx']))"
    subprocess.run([python, "-E", "-c", lacks + "; import onnxruntime, tokenizers"], check=True)
    return python
