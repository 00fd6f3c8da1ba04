"""Serves a bundle over HTTP.

    BUNDLE=/bundle uvicorn --factory app:create_app --port 8000

POST /predict takes {"texts": ["A text.", "Another."]}, of a model that reads pairs {"texts": [["One.", "Other."]]}. It
gives {"answers": [{"label": "positive", "probability": 0.98}, …]}, of a regression [{"score": 0.3}, …], and of an
embedding, which reads each text as a query, [{"embedding": [0.1, …]}, …]. GET /health says that the process lives,
/ready that it takes requests, /metrics has figures for Prometheus.

BUNDLE is a folder that `edgeopt bundle RUN --out FOLDER` wrote. What else can be set is in `Settings`, by the same
names in capitals: MAX_BATCH=16. Needs what the bundle needs and requirements.txt beside this file.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from batching import Answer, Batcher, Full, Query
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

log = logging.getLogger("uvicorn.error")
#: Upper ends of what Prometheus counts together: seconds, and texts of a batch.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Settings:
    """What an operator may set.

    max_batch: texts that are taken from the queue at once. window_ms: how long the first of them waits for others.
    max_pass: of those, sorted by length, how many share a pass through the model; on a CPU a few of like length are
    quickest. workers: how many take from the queue, 0: as many as there are processors for. max_waiting: texts that may
    wait.
    max_texts, max_characters, max_bytes: of a request, of a text, of a request's body. timeout_s: of an answer.
    """

    bundle: str = "bundle"
    max_batch: int = 32
    window_ms: float = 2.0
    max_pass: int = 8
    workers: int = 0
    max_waiting: int = 1024
    max_texts: int = 256
    max_characters: int = 20_000
    max_bytes: int = 1_000_000
    timeout_s: float = 30.0

    @classmethod
    def of_environment(cls) -> Settings:
        """Those that the environment sets, the others by default. Raises ValueError for what is no number."""
        given = {f.name: os.environ[f.name.upper()] for f in fields(cls) if f.name.upper() in os.environ}
        return cls(**{name: type(getattr(cls, name))(value) for name, value in given.items()})


class Metrics:
    """What Prometheus reads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"namespace": "edgeopt", "registry": self.registry}
        self.requests = Counter("requests", "Requests by path and status.", ["path", "status"], **own)
        self.seconds = Histogram("request_seconds", "Seconds that /predict took.", buckets=_SECONDS, **own)
        self.texts = Counter("texts", "Texts that were answered.", **own)
        self.batches = Histogram("batch_texts", "Texts in a batch.", buckets=_TEXTS, **own)
        self.waiting = Gauge("waiting_texts", "Texts that wait for the model.", **own)


def open_model(bundle: Path) -> Any:
    """The `Model` that a bundle's own run.py has."""
    sys.path.insert(0, str(bundle))
    from run import Model

    return Model(bundle)


def create_app(settings: Settings | None = None) -> Starlette:
    """The application; the model is opened when the server starts, which fails where it cannot be."""
    settings = settings or Settings.of_environment()
    metrics = Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        model = await asyncio.to_thread(open_model, Path(settings.bundle))
        threads = model.session.get_session_options().intra_op_num_threads or os.cpu_count() or 1
        alone = model.about.get("alone", False)  # what such a model answers depends on what shares a pass
        batcher = Batcher(
            partial(model.answers, batch_size=1 if alone else settings.max_pass),
            most=settings.max_batch,
            window=settings.window_ms / 1000,
            waiting=settings.max_waiting,
            workers=settings.workers or max((os.cpu_count() or 1) // threads, 1),
            told=metrics.batches.observe,
        )
        metrics.waiting.set_function(batcher.queue.qsize)
        app.state.model, app.state.batcher = model, batcher
        log.info("%s is open, %d workers", model.about["name"], len(batcher.tasks))
        try:
            yield
        finally:
            await batcher.close()

    app = Starlette(
        routes=[
            Route("/predict", _predict, methods=["POST"]),
            Route("/health", _health),
            Route("/ready", _ready),
            Route("/metrics", _metrics),
        ],
        middleware=[Middleware(_Counted, metrics=metrics)],
        exception_handlers={HTTPException: _refused, Exception: _failed},
        lifespan=lifespan,
    )
    app.state.settings, app.state.metrics = settings, metrics
    return app


async def _predict(request: Request) -> Response:
    state, began = request.app.state, time.perf_counter()
    queries = _queries(
        await _body(request, state.settings.max_bytes), state.model.about["task"]["texts"], state.settings
    )
    try:
        async with asyncio.timeout(state.settings.timeout_s):
            answers = await state.batcher.ask(queries)
    except Full:
        raise HTTPException(503, "too many texts wait: try again later", {"Retry-After": "1"}) from None
    except TimeoutError:
        raise HTTPException(504, f"no answer within {state.settings.timeout_s:g} seconds") from None
    state.metrics.seconds.observe(time.perf_counter() - began)
    state.metrics.texts.inc(len(answers))
    return JSONResponse({"answers": [_told(answer) for answer in answers]})


def _told(answer: Answer) -> dict[str, Any]:
    label, probability = answer
    if isinstance(label, list):
        return {"embedding": label}
    return {"score": label} if probability is None else {"label": label, "probability": probability}


async def _body(request: Request, most: int) -> bytes:
    """The body of a request, of which no more is read than there may be."""
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > most:
            raise HTTPException(413, f"a request has {most} bytes at most")
    return bytes(found)


def _queries(body: bytes, need: int, settings: Settings) -> list[Query]:
    """The queries of a request. Raises HTTPException 400 for what is no JSON, 422 for what has another form."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is not JSON") from None
    texts = given.get("texts") if isinstance(given, dict) else None
    if not isinstance(texts, list) or not 0 < len(texts) <= settings.max_texts:
        raise HTTPException(422, f'give {{"texts": […]}} with 1 to {settings.max_texts} texts')
    queries = [(text,) if isinstance(text, str) else tuple(text) if isinstance(text, list) else () for text in texts]
    for i, query in enumerate(queries):
        if len(query) != need or not all(isinstance(text, str) and text.strip() for text in query):
            shape = "a text" if need == 1 else "a list of two texts"
            raise HTTPException(422, f"texts[{i}] must be {shape}, and not empty")
        if max(map(len, query)) > settings.max_characters:
            raise HTTPException(422, f"texts[{i}] has more than {settings.max_characters} characters")
        if any("\ud800" <= character <= "\udfff" for text in query for character in text):
            raise HTTPException(422, f"texts[{i}] holds half of a surrogate pair, which is no character")
    return queries


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _ready(request: Request) -> Response:
    state = request.app.state
    ready = state.batcher.ready
    return JSONResponse({"ready": ready, "model": state.model.about["name"]}, 200 if ready else 503)


async def _metrics(request: Request) -> Response:
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the server failed; its log says why"}, 500)


class _Counted:
    """Counts every response by its path, where that is one of ours, and its status."""

    def __init__(self, app: Callable[..., Awaitable[None]], metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        def count(status: int) -> None:
            path = scope["path"] if scope["path"] in ("/predict", "/health", "/ready", "/metrics") else "other"
            self.metrics.requests.labels(path, status).inc()

        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                count(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, counted)
        except Exception:  # which becomes an answer further out
            count(500)
            raise
