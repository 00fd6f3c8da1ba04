"""The example server: batches of what comes at the same time, its limits, its figures, and its Dockerfile."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bundles import make_run
from helpers import edgeopt

SERVER = Path(__file__).parents[2] / "examples" / "server"
#: Modules of the example and of the bundle, which other tests have of other folders.
OWN = ("app", "batching", "run", "guard")


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(SERVER))
    path = [*sys.path]
    yield
    sys.path[:] = path
    for name in OWN:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    folder = tmp_path_factory.mktemp("served")
    done = edgeopt("bundle", make_run(folder, tiny_data), "--count", 8, "--out", folder / "bundle")
    assert done.code == 0, done.err
    return folder / "bundle"


class Fake:
    """A model that says how long each text is, and what it was asked at once."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, queries: Any) -> Any:
        self.asked.append([text for (text,) in queries])
        if "break" in self.asked[-1]:
            raise ValueError("broken")
        return [(len(text), None) for (text,) in queries]


def test_what_comes_at_the_same_time_shares_a_batch(importable: None) -> None:
    from batching import Batcher

    async def ask() -> tuple[Fake, list[Any]]:
        model, sizes = Fake(), list[int]()
        batcher = Batcher(model, most=4, window=0.05, told=sizes.append)
        found = await asyncio.gather(*(batcher.ask([("x" * n,)] * (n % 2 + 1)) for n in range(1, 7)))
        assert batcher.ready
        await batcher.close()
        assert not batcher.ready and sizes == [len(batch) for batch in model.asked]
        return model, found

    model, found = asyncio.run(ask())
    assert found == [[(n, None)] * (n % 2 + 1) for n in range(1, 7)]
    assert [len(batch) for batch in model.asked] == [4, 4, 1]


def test_a_lone_request_waits_for_the_window_and_no_longer(importable: None) -> None:
    from batching import Batcher

    async def ask() -> list[Any]:
        batcher = Batcher(Fake(), window=0.01)
        async with asyncio.timeout(5):
            return await batcher.ask([("abc",)])

    assert asyncio.run(ask()) == [(3, None)]


def test_a_full_queue_says_so_and_a_failure_is_of_its_batch_alone(importable: None) -> None:
    from batching import Batcher, Full

    async def ask() -> None:
        model = Fake()
        batcher = Batcher(model, most=1, window=0.0, waiting=3)
        with pytest.raises(Full):
            await batcher.ask([("a",)] * 4)
        with pytest.raises(ValueError, match="broken"):
            await batcher.ask([("break",)])
        gone = asyncio.create_task(batcher.ask([("gone",)] * 3))
        await asyncio.sleep(0)
        gone.cancel()
        assert await batcher.ask([]) == []
        while batcher.queue.qsize():
            await asyncio.sleep(0.001)
        assert await batcher.ask([("a",)]) == [(1, None)] and model.asked.count(["gone"]) <= 1

    asyncio.run(ask())


@pytest.fixture
def client(importable: None, bundle: Path) -> Iterator[Any]:
    pytest.importorskip("starlette", reason="the dev extra has it")
    pytest.importorskip("prometheus_client")
    from app import Settings, create_app
    from starlette.testclient import TestClient

    settings = Settings(bundle=str(bundle), max_texts=40, max_characters=100, max_bytes=5000, window_ms=20.0)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def test_it_answers_as_the_bundle_does(client: Any, bundle: Path) -> None:
    texts = ["good1 word2", "bad1", "good1 good2 good3 word5"] * 4
    found = client.post("/predict", json={"texts": texts})
    told = client.app.state.model.answers(texts)
    assert found.status_code == 200 and found.json() == {
        "answers": [{"label": label, "probability": pytest.approx(share, abs=1e-6)} for label, share in told]
    }
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"ready": True, "model": "tiny"}


def test_an_embedding_is_told_as_one(importable: None) -> None:
    pytest.importorskip("starlette", reason="the dev extra has it")
    pytest.importorskip("prometheus_client")
    from app import _told

    assert _told(([0.5, 0.25], None)) == {"embedding": [0.5, 0.25]} and _told((0.5, None)) == {"score": 0.5}


def test_many_clients_share_batches_and_are_counted(client: Any) -> None:
    def ask(n: int) -> Any:
        return client.post("/predict", json={"texts": ["good1 " * (n % 5 + 1)]})

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(ask, range(64)))
    assert {r.status_code for r in found} == {200} and {r.json()["answers"][0]["label"] for r in found} <= {
        "good",
        "bad",
    }
    figures = client.get("/metrics")
    assert figures.headers["content-type"].startswith("text/plain")
    lines = dict(line.rsplit(" ", 1) for line in figures.text.splitlines() if not line.startswith("#"))
    assert lines['edgeopt_requests_total{path="/predict",status="200"}'] == "64.0" == lines["edgeopt_texts_total"]
    assert float(lines["edgeopt_batch_texts_count"]) < 64 == float(lines["edgeopt_batch_texts_sum"])


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "not JSON"),
        (b"[" * 3000, 400, "not JSON"),
        (b"\xff", 400, "not JSON"),
        (b"[]", 422, '{"texts": [\u2026]}'),
        (b'{"texts": []}', 422, "1 to 40 texts"),
        (json.dumps({"texts": ["a"] * 41}).encode(), 422, "1 to 40 texts"),
        (b'{"texts": "good1"}', 422, "texts"),
        (b'{"texts": ["good1", 3]}', 422, "texts[1] must be a text"),
        (b'{"texts": [["a", "b"]]}', 422, "texts[0] must be a text"),
        (b'{"texts": [" "]}', 422, "not empty"),
        (b'{"texts": ["\\ud800"]}', 422, "surrogate"),
        (json.dumps({"texts": ["x" * 101]}).encode(), 422, "100 characters"),
        (b" " * 5001, 413, "5000 bytes at most"),
    ],
)
def test_what_is_no_request_is_one_clean_error(client: Any, body: bytes, status: int, said: str) -> None:
    found = client.post("/predict", content=body)
    assert (found.status_code, list(found.json())) == (status, ["error"]) and said in found.json()["error"]
    assert client.post("/predict", json={"texts": ["good1"]}).status_code == 200


def test_other_paths_methods_and_failures_are_json_too(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from batching import Full

    assert client.get("/nothing").status_code == 404 and client.get("/predict").json() == {
        "error": "Method Not Allowed"
    }

    async def ask(queries: object, error: Exception) -> None:
        raise error

    for error, status in ((Full(), 503), (TimeoutError(), 504), (RuntimeError("secret"), 500)):
        monkeypatch.setattr(client.app.state.batcher, "ask", lambda queries, error=error: ask(queries, error))
        found = client.post("/predict", json={"texts": ["good1"]})
        assert found.status_code == status and "secret" not in found.text and list(found.json()) == ["error"]
        assert (found.headers.get("retry-after") == "1") is (status == 503)
    assert 'requests_total{path="/predict",status="500"} 1.0' in client.get("/metrics").text


def test_settings_come_from_the_environment(importable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("starlette", reason="the dev extra has it")
    from app import Settings

    monkeypatch.setenv("MAX_BATCH", "8")
    monkeypatch.setenv("WINDOW_MS", "0.5")
    assert Settings.of_environment() == Settings(max_batch=8, window_ms=0.5)
    monkeypatch.setenv("MAX_BATCH", "many")
    with pytest.raises(ValueError, match="many"):
        Settings.of_environment()


def instructions() -> list[tuple[str, str]]:
    """Every instruction of the Dockerfile with its words, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (SERVER / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    return [(word, rest.strip()) for word, rest in re.findall(r"^([A-Z]+) (.*)$", text, flags=re.M)]


def test_the_image_is_small_and_nobody_is_root_in_it(bundle: Path) -> None:
    found = instructions()
    names = [name for name, _ in found]
    assert found[0] == ("FROM", "python:3.12-slim") and names.count("CMD") == names.count("HEALTHCHECK") == 1
    user = next(rest for name, rest in found if name == "USER")
    assert (
        user.isdecimal()
        and int(user) > 1000
        and names.index("USER") > max(i for i, n in enumerate(names) if n == "RUN")
    )
    for name, rest in found:
        if name == "COPY":
            *sources, _ = rest.split()
            for source in sources:
                there = (
                    bundle / source.removeprefix("bundle").lstrip("/")
                    if source.startswith("bundle")
                    else SERVER / source
                )
                assert there.exists(), source
        if name in ("CMD", "HEALTHCHECK"):
            words = json.loads(rest[rest.index("[") :])
            assert words[0] in ("uvicorn", "python") and all(isinstance(word, str) for word in words)
    installed = (SERVER / "requirements.txt").read_text() + (bundle / "requirements.txt").read_text()
    assert set(re.findall(r"^([a-z-]+)", installed, flags=re.M)) == {
        *("starlette", "uvicorn", "prometheus-client"),
        *("onnxruntime", "tokenizers", "numpy"),
    }
