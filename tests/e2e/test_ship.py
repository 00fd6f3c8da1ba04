"""Ships over a real sshd on loopback, to a Python that has neither torch nor edgeopt."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
import sshd
from bundles import MODEL, TARGET, make_run, reseal
from helpers import Result, edgeopt


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    with sshd.server(tmp_path_factory.mktemp("sshd")) as found:
        yield found


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sshd.device_python(tmp_path_factory.mktemp("device") / "with a space")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> list[Path]:
    """Four runs of other models; each has its bundle in bundle.zip."""
    found = []
    for seed in range(4):
        folder = tmp_path_factory.mktemp(f"run{seed}")
        run = make_run(
            folder, tiny_data, seed=seed, gates=[{"metric": "latency.p50", "max_ms": 500.0}] if seed == 0 else []
        )
        assert edgeopt("bundle", run, "--count", 4).code == 0
        found.append(run)
    return found


class Device:
    """A folder on the device, seen from the side."""

    def __init__(self, server: sshd.Server, python: Path, root: Path) -> None:
        self.server, self.python, self.root = server, python, root

    def ship(self, bundle: Path | None, *more: object) -> Result:
        given = () if bundle is None else (bundle,)
        return edgeopt(
            "ship",
            *given,
            "--to",
            self.server.url(self.root),
            "--python",
            self.python,
            *self.server.arguments,
            "--quiet",
            *more,
        )

    @property
    def current(self) -> str:
        return os.readlink(self.root / "current")

    @property
    def versions(self) -> set[str]:
        return {f"versions/{p.name}" for p in (self.root / "versions").iterdir()}


@pytest.fixture
def device(server: sshd.Server, python: Path, tmp_path: Path) -> Device:
    return Device(server, python, tmp_path / "it's a $(folder)")


def version_of(bundle: Path) -> str:
    """The version's name, worked out from the bundle itself."""
    import zipfile

    with zipfile.ZipFile(bundle) as archive:
        return f"versions/{hashlib.sha256(archive.read('manifest.json')).hexdigest()[:16]}"


def test_ship_serves_on_the_device_and_its_measurements_come_back(device: Device, runs: list[Path]) -> None:
    bundle = runs[0] / "bundle.zip"
    dry = device.ship(bundle, "--dry-run")
    assert dry.code == 0 and "nothing was" in dry.out and not device.root.exists()
    done = device.ship(bundle)
    assert done.code == 0, done.err
    assert device.current == version_of(bundle) and device.versions == {device.current}
    answer = subprocess.run(
        [device.python, device.root / "current" / "run.py", "good1"], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split()[0] in ("bad", "good")
    # in the run's folder, its report and its renderings
    (kept,) = (runs[0] / "devices").iterdir()
    samples = {s["sequence"]: s["samples"] for s in json.loads(kept.read_text())["samples"]}
    assert set(samples) == {16, "task"} and all(len(s) == TARGET["queries"] for s in samples.values())
    (found,) = edgeopt("report", runs[0], "--json").json["devices"]
    assert found["switched"] and found["verdict"] == "pass" and found["gates"][0]["metric"] == "latency.p50"
    assert found["latency"][0]["p50_ms"] == pytest.approx(sorted(samples[16])[31:33][0], rel=0.5)
    assert found["environment"]["packages"]["onnxruntime"] and found["starts"]["ms"]
    for form in ("text", "markdown", "html"):
        assert f"127.0.0.1-{device.server.port}" in edgeopt("report", runs[0], "--format", form).out
    # again: nothing is sent
    again = device.ship(bundle, "--json")
    assert (
        again.code == 0
        and again.json["sent_bytes"] == 0
        and len(edgeopt("report", runs[0], "--json").json["devices"]) == 1
    )


def test_a_ship_that_is_cut_off_goes_on_where_it_was(
    device: Device, runs: list[Path], tmp_path: Path, tiny_data: Path
) -> None:
    (tmp_path / "big").mkdir()
    run = make_run(tmp_path / "big", tiny_data)
    folder = tmp_path / "bundle"
    assert edgeopt("bundle", run, "--count", 2, "--out", folder).code == 0
    (folder / "run.py").write_bytes((folder / "run.py").read_bytes() + b"#" * 6_000_000)
    reseal(folder)
    relay = tmp_path / "relay.py"
    relay.write_text(RELAY)
    cut = device.ship(folder, "-o", f"ProxyCommand={sys.executable} {relay} {device.server.port} 5000000")
    assert cut.code == 3 and "error[E420]" in cut.err and "connection to the device was lost" in cut.err
    assert not (device.root / "current").exists() and not (device.root / "versions").exists()
    with open(device.root / ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the agent has written down what had come through
    arrived = sum(p.stat().st_size for p in (device.root / "incoming").rglob("*") if p.is_file())
    assert 1_000_000 < arrived < 5_000_000  # sshd drops what it had not handed on yet, 2 MB at most
    done = device.ship(folder, "--json")
    assert done.code == 0, done.err
    assert done.json["resumed_bytes"] == arrived and done.json["sent_bytes"] == done.json["total_bytes"] - arrived
    assert (device.root / "current" / "run.py").read_bytes() == (folder / "run.py").read_bytes()
    assert not list((device.root / "incoming").iterdir())


#: Between ssh and sshd: after so many bytes it kills the ssh that started it.
RELAY = """
import os, select, signal, socket, sys
server = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
left = int(sys.argv[2])
while True:
    for ready in select.select([0, server], [], [])[0]:
        if ready == 0:
            data = os.read(0, 65536)
            server.sendall(data)
            left -= len(data)
            if left < 0 or not data:
                os.kill(os.getppid(), signal.SIGKILL)
                sys.exit()
        else:
            data = server.recv(65536)
            if not data:
                sys.exit()
            os.write(1, data)
"""


def test_what_arrived_damaged_is_sent_again(device: Device, runs: list[Path]) -> None:
    bundle = runs[1] / "bundle.zip"
    partial = device.root / "incoming" / version_of(bundle).split("/")[1]
    partial.mkdir(parents=True)
    (partial / "tokenizer.json").write_text("not its beginning")
    (partial / "evil.py").write_text("left by somebody")
    done = device.ship(bundle, "--json")
    assert done.code == 0 and done.json["resumed_bytes"] == 0
    assert not (device.root / "current" / "evil.py").exists()
    # a version that was changed on the device is not taken for whole
    (device.root / "current" / "run.py").write_text("changed")
    done = device.ship(bundle, "--json")
    assert done.code == 0 and done.json["sent_bytes"] == done.json["total_bytes"]
    assert "changed" not in (device.root / "current" / "run.py").read_text()


def test_what_fails_its_self_test_or_a_gate_is_rolled_back(device: Device, runs: list[Path], tmp_path: Path) -> None:
    assert device.ship(runs[1] / "bundle.zip").code == 0
    good = device.current
    broken = tmp_path / "broken"
    assert edgeopt("bundle", runs[1], "--count", 4, "--out", broken).code == 0
    shutil.copyfile(runs[2] / "model" / MODEL, broken / MODEL)  # its digests are right and its answers wrong
    reseal(broken)
    done = device.ship(broken)
    assert done.code == 3 and "error[E421]" in done.err and "self-test failed" in done.err
    assert device.current == good and device.versions == {good}
    graph = onnx.load(runs[1] / "model" / MODEL)
    graph.graph.node[0].op_type = "NoSuchOperator"  # sound as a file, and nothing that a runtime can open
    onnx.save(graph, broken / MODEL)
    reseal(broken)
    done = device.ship(broken)
    assert done.code == 3 and "could not run" in done.err and device.current == good and device.versions == {good}
    done = device.ship(runs[0] / "bundle.zip", "--gate", "latency.p50=0.00001")
    assert done.code == 1 and "fail" in done.out and "not switched" in done.out
    assert device.current == good and device.versions == {good}
    (found,) = [d for d in edgeopt("report", runs[0], "--json").json["devices"] if d["path"] == str(device.root)]
    assert not found["switched"] and found["verdict"] == "fail"
    assert device.ship(runs[0] / "bundle.zip", "--gate", "accuracy=1").code == 2


def test_versions_are_kept_and_gone_back_to(device: Device, runs: list[Path]) -> None:
    names = [version_of(r / "bundle.zip") for r in runs[:3]]
    for run in runs[:3]:
        assert device.ship(run / "bundle.zip", "--keep", 2).code == 0
    assert device.current == names[2] and device.versions == set(names[1:])
    # the one before no longer answers as it did: nothing is switched
    graph = device.root / names[1] / MODEL
    model = graph.read_bytes()
    shutil.copyfile(runs[3] / "model" / MODEL, graph)
    done = device.ship(None, "--rollback")
    assert done.code == 3 and "error[E421]" in done.err and device.current == names[2]
    graph.write_bytes(model)
    done = device.ship(None, "--rollback")
    assert done.code == 0 and device.current == names[1]
    done = device.ship(None, "--rollback")
    assert done.code == 2 and "no earlier version" in done.err and device.current == names[1]


def test_two_ships_at_once_and_a_shell_that_greets(device: Device, runs: list[Path], tmp_path: Path) -> None:
    device.root.mkdir()
    with open(device.root / ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = device.ship(runs[1] / "bundle.zip")
    assert done.code == 3 and "another `edgeopt ship`" in done.err and not (device.root / "incoming").exists()
    greeting = tmp_path / "python"  # lines on stdout before the agent's, as a .bashrc may print
    greeting.write_text(f'#!/bin/sh\necho "Welcome!"\nexec "{device.python}" "$@"\n')
    greeting.chmod(0o755)
    assert device.ship(runs[1] / "bundle.zip", "--python", greeting).code == 0


def test_a_device_that_does_not_fit_is_told_before_the_copy(device: Device, runs: list[Path], tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    folder = tmp_path / "bundle"
    assert edgeopt("bundle", runs[1], "--count", 1, "--out", folder).code == 0
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["target"]["instructions"] = ["avx1024"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = device.ship(folder, "--python", bare / "bin" / "python")
    assert done.code == 2 and not device.root.exists()
    assert "has no onnxruntime, tokenizers, numpy" in done.err and "has no avx1024" in done.err
    done = device.ship(folder, "--python", "python-of-nowhere")
    assert done.code == 2 and "there is no python-of-nowhere on the device" in done.err
    (device.root / "current").mkdir(parents=True)
    done = device.ship(runs[1] / "bundle.zip")
    assert done.code == 2 and "has current, which `edgeopt ship` did not make" in done.err


def test_what_cannot_be_reached(device: Device, runs: list[Path], tmp_path: Path) -> None:
    done = device.ship(runs[1] / "bundle.zip", "-o", f"ProxyCommand={sys.executable} -c ''")
    assert done.code == 2 and "error[E145]" in done.err and "cannot be reached" in done.err
    done = device.ship(runs[1] / "bundle.zip", "--run", runs[2])
    assert done.code == 2 and "locks differ" in done.err
    (tmp_path / "changed.zip").write_bytes((runs[1] / "bundle.zip").read_bytes()[:-1])
    assert "error[E142]" in device.ship(tmp_path / "changed.zip").err
    assert not device.root.exists()


@pytest.mark.slow
def test_an_environment_that_pip_made(server: sshd.Server, runs: list[Path], tmp_path: Path) -> None:
    """The lines of docs/how-to/ship.md."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "nlp"], check=True)
    pip = [
        tmp_path / "nlp" / "bin" / "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
        "--quiet",
        "onnxruntime",
        "tokenizers",
    ]
    subprocess.run(pip, check=True, cwd=tmp_path)
    device = Device(server, tmp_path / "nlp" / "bin" / "python", tmp_path / "device")
    assert subprocess.run([device.python, "-E", "-c", "import torch"], capture_output=True).returncode == 1
    done = device.ship(runs[0] / "bundle.zip")
    assert done.code == 0, done.err
