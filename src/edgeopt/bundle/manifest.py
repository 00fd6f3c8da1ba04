"""manifest.json of a bundle: what the model is, and SHA-256 and size of every other file."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeopt.results.model import Verdict
from edgeopt.spec.recipe import GateSpec, Target
from edgeopt.support.errors import InputError, bad_input
from edgeopt.support.reading import Finite

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
SESSION, TOKENIZER, SELFTEST, REQUIREMENTS = "session.json", "tokenizer.json", "selftest.json", "requirements.txt"
SCRIPTS = ("run.py", "device.py", "guard.py")
#: What every bundle has, besides its model.
REQUIRED = (SESSION, TOKENIZER, SELFTEST, REQUIREMENTS, *SCRIPTS)
#: Bytes of all files of a bundle (what a zip without extensions can hold), and of its manifest, at most; files at most.
MAX_BYTES, MAX_MANIFEST, MAX_FILES = 4_000_000_000, 1 << 20, 1000
#: Numbers of an embedding at most; no encoder is so wide.
MAX_VECTOR = 1 << 16
#: Tokens of a query at most; more no encoder reads.
MAX_LENGTH = 1 << 17
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}", re.ASCII)

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Part(BaseModel):
    """Base of every part of a manifest: frozen, unknown keys refused, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class File(Part):
    """What a file of the bundle must be."""

    sha256: Digest
    size: int = Field(ge=0, le=MAX_BYTES)


class Task(Part):
    """What run.py must know about the model's task."""

    type: str
    texts: int = Field(ge=1, le=2, description="number of texts in one query")
    columns: list[str] = Field([], max_length=8, description="names of the text columns in the recipe's rows")
    output: str = Field("logits", max_length=200, description="the output of the graph that answers")
    vector: str | None = Field(None, pattern="^[a-z_]{1,40}$", description="what an answer that is a vector is called")
    numbers: int | None = Field(None, ge=1, le=MAX_VECTOR, description="how many numbers such an answer has")
    max_length: int = Field(ge=1, le=MAX_LENGTH)


class License(Part):
    """The model's license. id: as its card or the command line names it; file: its text in the bundle."""

    id: str | None
    file: Literal["LICENSE"] | None


class Source(Part):
    """What the model was made of: a name of the hub, or the last part of a local path, and the SHA-256 of its content.

    sha256: None where the run does not say it.
    """

    name: str
    sha256: Digest | None


class Decided(Part):
    """A gate of the run, as it was decided."""

    metric: str
    kind: str = Field(description="the kind of bound: max_drop, min_speedup, max_mb, …")
    bound: Finite
    value: Finite | None
    verdict: Verdict
    reason: str
    target: str | None
    sequence: int | str | None
    slice: str | None


class Median(Part):
    """The median latency of a query in milliseconds, of the model and of the FP32 baseline."""

    target: str
    sequence: int | str
    model_ms: Finite
    baseline_ms: Finite | None


class Found(Part):
    """What the run found of the model, on `rows` rows of `split`. A metric is None where it is no number.

    start: the checkpoint that the recipe starts from. size_bytes: of the graph and its weights.
    """

    verdict: Verdict
    start: Source
    dataset: Source
    split: str
    rows: int
    metrics: dict[str, Finite | None]
    baseline: dict[str, Finite | None]
    size_bytes: int
    baseline_bytes: int
    latency: list[Median]
    gates: list[Decided]
    warnings: list[str]


class Manifest(Part):
    """What a bundle says of itself.

    labels: names of the logits in order, empty for a score or a vector. alone: whether each query is asked by itself,
    because what it gets would depend on what shares its batch. lock: SHA-256 of the run's recipe.lock. gates: the
    bounds that a device can decide by itself. packages: the versions it was tried with. found: None in bundles of
    earlier versions.
    """

    bundle: Literal[1] = 1
    edgeopt: str
    name: str = Field(max_length=200)
    created: str
    task: Task
    labels: list[str]
    model: str
    precision: Literal["fp32", "int8"]
    alone: bool = False
    lock: Digest
    license: License | None
    target: Target
    gates: list[GateSpec]
    packages: dict[str, str]
    found: Found | None = None
    files: dict[str, File] = Field(max_length=MAX_FILES)


def refused(message: str, help: str = "copy the bundle again, or make a new one with `edgeopt bundle`") -> InputError:
    """The error E142 of a bundle that is not opened."""
    return bad_input("E142", f"the bundle is refused: {message}", help=help)


def is_safe(name: str) -> bool:
    """Whether a name is a plain relative path with forward slashes that stays in its folder on every system."""
    return len(name) <= 400 and all(_PART.fullmatch(part) and not part.endswith(".") for part in name.split("/"))


def write_manifest(manifest: Manifest) -> bytes:
    """The bytes of a manifest, the same ones for the same content."""
    return (json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def read_manifest(data: bytes) -> Manifest:
    """The manifest that bytes hold. Raises InputError E142 where they hold none, or one of what no bundle may hold."""
    try:
        found = Manifest.model_validate_json(json.dumps(json.loads(data.decode("utf-8"), object_pairs_hook=_once)))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise refused(f"{MANIFEST}: {'.'.join(map(str, first['loc']))[:100]}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise refused(f"{MANIFEST} is not readable: {' '.join(str(error).split())[:200]}") from None
    names = list(found.files)
    if bad := next((n for n in names if not is_safe(n)), None):
        raise refused(f"{MANIFEST} names {bad!r}, which is not a plain path inside the bundle")
    if len({n.lower() for n in (*names, MANIFEST, SIGNATURE)}) != len(names) + 2:
        raise refused(f"{MANIFEST} names a file twice")
    if absent := next((n for n in (found.model, *REQUIRED) if n not in found.files), None):
        raise refused(f"{MANIFEST} does not name {absent}")
    if sum(f.size for f in found.files.values()) > MAX_BYTES:
        raise refused(f"its files would take more than {MAX_BYTES / 1e9:g} GB")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found
