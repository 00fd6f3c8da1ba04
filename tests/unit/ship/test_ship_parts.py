"""The parts of a ship by themselves: addresses, what a device lacks, its gates, and the agent over a pipe."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import MODEL, TARGET

from edgeopt.bundle.manifest import REQUIRED, Manifest
from edgeopt.ship import agent
from edgeopt.ship.client import Client
from edgeopt.ship.decide import decide
from edgeopt.ship.fitness import issues, notes
from edgeopt.ship.replies import Before, Begun, Probe, Ran
from edgeopt.ship.transport import Adb, Ssh, transport_of
from edgeopt.spec.recipe import GateSpec
from edgeopt.support.errors import InputError, StepError

AGENT = Path(agent.__file__).read_text()


def manifest(**target: Any) -> Manifest:
    files = {name: {"sha256": "0" * 64, "size": 1} for name in (MODEL, *REQUIRED)}
    return Manifest.model_validate(
        {
            "edgeopt": "0.1.0",
            "name": "tiny",
            "created": "2026-11-21",
            "task": {"type": "text-classification", "texts": 1, "columns": ["text"], "max_length": 16},
            "labels": ["bad", "good"],
            "model": MODEL,
            "precision": "int8",
            "alone": False,
            "lock": "0" * 64,
            "license": None,
            "target": {**TARGET, **target},
            "gates": [],
            "packages": {"onnxruntime": "1.31.1"},
            "files": files,
        }
    )


def test_addresses() -> None:
    assert transport_of("ssh://me@host:2222/srv/my%20models/") == Ssh("host", "/srv/my models", "me", 2222)
    assert transport_of("ssh://host/~/models", 22, "key", ["BatchMode=yes"]) == Ssh(
        "host", "/~/models", None, 22, "key", ("BatchMode=yes",)
    )
    assert transport_of("ssh://[::1]:22/m") == Ssh("::1", "/m", None, 22)
    assert transport_of("adb://R58M123ABC/data/local/tmp/m") == Adb("R58M123ABC", "/data/local/tmp/m")
    assert (
        transport_of("ssh://a.b:2222/m").name,
        transport_of("ssh://me@[::1]/m").name,
        transport_of("adb://1.2.3.4:5555/m").name,
    ) == (
        "a.b-2222",
        "__1",
        "1.2.3.4_5555",
    )


@pytest.mark.parametrize(
    "url",
    [
        "ssh://-oProxyCommand=evil/m",
        "ssh://-x@host/m",
        "ssh://me:secret@host/m",
        "ssh://host",
        "ssh://host/",
        "ssh:///m",
        "http://host/m",
        "host:/m",
        "ssh://host:99999/m",
        "ssh://host/a/../../etc",
        "ssh://ho%20st/m",
        "ssh://host/m?x=1",
        "ssh://a b/m",
        "adb://me@host/m",
        "adb:///m",
        "ssh://host/m%00",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(InputError, match="E145") as caught:
        transport_of(url)
    assert "secret" not in str(caught.value)


def test_every_word_reaches_the_device_as_it_is() -> None:
    argv = ["/opt/it's here/python", "-c", "print('a')\nprint(\"$HOME `id` \\\\\")"]
    for way in (Ssh("host", "/m", "me", 22, "key", ("A=b",)), Adb("serial", "/m")):
        command = way.command(argv)
        assert shlex.split(command[-1]) == argv
    assert Ssh("host", "/m", "me", 22, "k", ("A=b",)).command(["x"])[-3:] == ["--", "host", "x"]
    shell = subprocess.run(["sh", "-c", shlex.join(["printf", "%s", argv[2]])], capture_output=True, text=True)
    assert shell.stdout == argv[2]


def fit(**changes: Any) -> Any:
    return {
        "platform": "Linux",
        "machine": "aarch64",
        "python": "3.11.2",
        "packages": {"onnxruntime": "1.31.1", "tokenizers": "0.23.3", "numpy": "2.4.6"},
        "flags": ["avx2"],
        "cpu": "A",
        "cpus": 1,
        "free_bytes": 1 << 40,
        "writable": True,
        "foreign": [],
        "partial_bytes": 0,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "say"),
    [
        ({"python": "3.9.18"}, "Python 3.9.18"),
        ({"packages": {"onnxruntime": "1.31.1", "tokenizers": None, "numpy": None}}, "no tokenizers, numpy"),
        ({"flags": ["sse2"]}, "A has no avx2"),
        ({"flags": []}, "flags cannot be read"),
        ({"free_bytes": 10_999_999}, "11.0 MB are needed"),
        ({"writable": False}, "cannot be written"),
        ({"foreign": ["current", "history.json"]}, "has current and history.json, which `edgeopt ship` did not make"),
    ],
)
def test_what_a_device_lacks(changes: dict[str, Any], say: str) -> None:
    wanted = manifest(instructions=["avx2"])
    assert issues(fit(), wanted, 1_000_000) == []
    (found,) = issues(fit(**changes), wanted, 1_000_000)
    assert say in found.message and found.help
    assert len(issues({**fit(**changes), "python": "2.7.1"}, wanted, 1_000_000)) == 1 + ("python" not in changes), (
        "all at once"
    )


def test_what_arrived_before_needs_no_room_again() -> None:
    assert issues(fit(free_bytes=10_400_000, partial_bytes=600_000), manifest(), 1_000_000) == []


def test_notes() -> None:
    found = notes(
        fit(packages={"onnxruntime": "1.20.0", "tokenizers": "0.23.3", "numpy": "2.4.6"}), manifest(threads=4)
    )
    assert found == [
        "onnxruntime 1.20.0 on the device, 1.31.1 when the run was made",
        "1 processors on the device, but the target has 4 threads",
    ]


def test_gates_that_a_device_decides() -> None:
    rng = np.random.default_rng(0)
    measured = {
        "latency": [
            {"sequence": 16, "samples": list(10 + rng.normal(0, 0.1, 200))},
            {"sequence": "task", "samples": [1.0] * 20},
        ],
        "starts": [{"ms": 30.0 + i, "peak_bytes": 50_000_000} for i in range(9)],
    }
    median = float(np.median(measured["latency"][0]["samples"]))
    specs = [
        ("latency.p50", "max_ms", 11.0, {}),
        ("latency.p50", "max_ms", 9.0, {}),
        ("latency.p50", "max_ms", median, {}),
        ("latency.p50", "max_ms", 1.2, {"sequence": "task"}),
        ("latency.p50", "max_ms", 11.0, {"sequence": "task"}),
        ("latency.p99", "max_ms", 99.0, {}),
        ("start.cold", "max_ms", 40.0, {}),
        ("memory.peak", "max_mb", 49.0, {}),
    ]
    found = decide(
        [GateSpec.model_validate({"metric": m, k: b, **more}) for m, k, b, more in specs], measured, manifest()
    )
    assert [g.verdict for g in found] == [
        "pass",
        "fail",
        "inconclusive",
        "inconclusive",
        "pass",
        "inconclusive",
        "pass",
        "fail",
    ]
    assert found[6].value == 34.0 and "p50 needs 64" in found[3].reason and "p99 needs 662" in found[5].reason


# the agent


class Talk:
    """With an agent in a process of its own, started as on a device."""

    def __init__(self, root: Path, id: str = "") -> None:
        self.process = subprocess.Popen([sys.executable, "-c", AGENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._line() == agent.HELLO
        self.found = self.ask(do="probe", path=str(root), id=id)

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def ask(self, **request: Any) -> Any:
        self.send(json.dumps(request).encode() + b"\n")
        return json.loads(self._line())

    def end(self, seconds: float = 10) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(seconds)
        self.process.stdout.close()


def bring(root: Path, id: str, device: str = "print('{}')", keep: int = 3) -> None:
    """A version that is nothing but a device.py."""
    talk, data = Talk(root, id), device.encode()
    files = {"device.py": [len(data), hashlib.sha256(data).hexdigest()]}
    assert talk.ask(do="begin", files=files) == {"whole": False, "have": {}}
    talk.send(json.dumps({"do": "put", "name": "device.py", "offset": 0, "size": len(data)}).encode() + b"\n" + data)
    assert talk._line() == "{}"
    assert talk.ask(do="seal", files=files) == {} and talk.ask(do="switch", keep=keep)["history"][-1] == id
    talk.end()


A, B = "a" * 16, "b" * 16


def test_a_current_version_that_fails_gives_way_to_the_one_before(tmp_path: Path) -> None:
    bring(tmp_path, A)
    bring(tmp_path, B)
    talk = Talk(tmp_path, B)
    assert talk.found["current"] == B and talk.found["history"] == [A, B]
    assert "error" not in talk.ask(do="begin")
    assert talk.ask(do="drop") == {"current": A}
    assert not (tmp_path / "versions" / B).exists()
    assert talk.ask(do="previous") == {"id": None}
    talk.end()


def test_what_no_ship_brought_stays(tmp_path: Path) -> None:
    """Found by reading: a ship to a folder that has `incoming/` or `versions/` of somebody's removed what lay there."""
    mine = [tmp_path / name / "mine" / "letter" for name in ("incoming", "versions")]
    for path in mine:
        path.parent.mkdir(parents=True)
        path.touch()
    (tmp_path / "incoming" / ("c" * 16)).mkdir()
    (tmp_path / ".history").write_text("a shell's")
    for id in (A, B, "c" * 16):
        bring(tmp_path, id, keep=1)
    assert all(path.exists() for path in mine) and (tmp_path / ".history").read_text() == "a shell's"
    left = [p.name for folder in ("incoming", "versions") for p in (tmp_path / folder).iterdir()]
    assert sorted(left) == ["c" * 16, "mine", "mine"]


@pytest.mark.parametrize(
    ("name", "content"), [("current", "releases/1"), ("history.json", '{"my": "own"}'), ("history.json", '["../x", 3]')]
)
def test_what_somebody_else_made_is_never_replaced(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.symlink_to(content) if name == "current" else path.write_text(content)
    talk = Talk(tmp_path, A)
    assert (talk.found["foreign"], talk.found["current"], talk.found["history"]) == ([name], None, [])
    assert "error" not in talk.ask(do="begin", files={})
    assert f"{name} exists, but `edgeopt ship` did not make it" in talk.ask(do="switch", keep=1)["error"]
    talk.end()
    assert (os.readlink(path) if name == "current" else path.read_text()) == content


@pytest.mark.parametrize(
    ("shape", "reply", "said"),
    [
        (Probe, {}, "python is missing"),
        (Probe, fit(python="three"), "python String should match"),
        (Probe, fit(free_bytes=-1), "free_bytes"),
        (Probe, fit(packages=[]), "packages"),
        (Begun, {"whole": False, "have": {"a": 1}}, "have.a"),
        (Ran, {"status": "0", "out": ""}, "status must be"),
        (Before, {"id": "../../etc"}, "id String should match"),
        (Before, [], "must be"),
        (Before, {"error": "no\nroom"}, "refuses: no"),
    ],
)
def test_a_device_that_answers_something_else_is_one_error(shape: Any, reply: Any, said: str) -> None:
    """Found by reading: a reply without a field was a KeyError."""
    client = Client(io.BytesIO(), io.BytesIO(json.dumps(reply).encode() + b"\n"), lambda: "")
    with pytest.raises(StepError, match="E420") as caught:
        client.get(shape, "probe")
    assert said in str(caught.value)


def test_the_lock_is_free_when_the_connection_goes(tmp_path: Path) -> None:
    one, other = Talk(tmp_path, A), Talk(tmp_path, B)
    assert "error" not in one.ask(do="begin")
    assert "another `edgeopt ship`" in other.ask(do="begin", wait=0)["error"]
    one.process.kill()
    one.end()
    assert "error" not in other.ask(do="begin")
    other.end()


def test_a_check_ends_with_the_connection(tmp_path: Path) -> None:
    bring(tmp_path, A, f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    talk = Talk(tmp_path, A)
    assert "error" in talk.ask(do="check", what="selftest", seconds=0.3), "and when it takes too long"
    (tmp_path / "pid").unlink()
    talk.send(json.dumps({"do": "check", "what": "selftest", "seconds": 60}).encode() + b"\n")
    end = time.monotonic() + 20
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < end
        time.sleep(0.02)
    pid = int((tmp_path / "pid").read_text())
    talk.end()
    assert not Path(f"/proc/{pid}").exists()


def test_no_name_leaves_the_folder(tmp_path: Path) -> None:
    talk = Talk(tmp_path / "root", A)
    for name in ("../evil", "/tmp/evil", "a/../../b", "", "a//b", "."):
        assert "not a path" in talk.ask(do="put", name=name, offset=0, size=0)["error"]
    talk.send(
        json.dumps({"do": "put", "name": "../evil", "offset": 0, "size": 100_000}).encode()
        + b"\n"
        + b"{}\n" * 33_333
        + b"x"
    )
    assert "not a path" in json.loads(talk._line())["error"]
    assert talk.ask(do="previous") == {"id": None}, "the bytes of a file that is refused are no requests"
    talk.end()
    assert list(tmp_path.rglob("evil")) == []


def test_the_agent_is_of_python_3_10_and_of_the_standard_library_alone() -> None:
    tree = ast.parse(AGENT, feature_version=(3, 10))
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names} | {
        str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)
    }
    assert {n.partition(".")[0] for n in names} <= set(sys.stdlib_module_names)
