"""The example server's Dockerfile without a daemon: its lines are run in a fresh folder and environment."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from bundles import make_run
from e2e.test_server import SERVER, instructions
from helpers import edgeopt

pytestmark = pytest.mark.slow


def test_its_lines_make_a_server_that_is_healthy_and_answers(tmp_path: Path, tiny_data: Path) -> None:
    done = edgeopt("bundle", make_run(tmp_path, tiny_data), "--count", 8, "--out", tmp_path / "context" / "bundle")
    assert done.code == 0, done.err
    shutil.copytree(SERVER, tmp_path / "context", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    here = tmp_path / "srv"
    env = {"PATH": f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    env |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    check, serve = list[str](), list[str]()
    for name, rest in instructions():
        if name == "WORKDIR":
            here.mkdir()
        elif name == "ENV":
            env |= dict(word.replace("/srv", str(here)).split("=") for word in rest.split())
        elif name == "COPY":
            copy(tmp_path / "context", here, *rest.split())
        elif name == "RUN" and not rest.startswith("useradd"):
            subprocess.run(rest, shell=True, check=True, cwd=here, env=env)
        elif name in ("HEALTHCHECK", "CMD"):
            words = [word.replace("8000", port) for word in json.loads(rest[rest.index("[") :])]
            check, serve = (words, serve) if name == "HEALTHCHECK" else (check, words)
    server = subprocess.Popen(serve, cwd=here, env=env)
    try:
        until = time.monotonic() + 60
        while subprocess.run(check, cwd=here, env=env, stderr=subprocess.DEVNULL, check=False).returncode != 0:
            assert server.poll() is None and time.monotonic() < until
            time.sleep(0.5)
        found = ask(port, {"texts": ["good1", "bad1 word2"]})
        assert [list(answer) for answer in found["answers"]] == [["label", "probability"]] * 2
    finally:
        server.terminate()
        assert server.wait(20) in (0, -15)
    assert not list(here.rglob("__pycache__")), "the image may be run with --read-only"


def copy(context: Path, here: Path, *words: str) -> None:
    *sources, target = words
    for source in sources:
        found = context / source
        if found.is_dir():  # its contents, as COPY has it
            shutil.copytree(found, here / target, dirs_exist_ok=True)
        else:
            (here / target).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found, here / target / found.name)


def ask(port: str, body: Any) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
