"""Documents to token numbers, in one process or in several: the order is that of the documents in either case.

A worker is a process of its own (`python -m edgeopt.corpus.tokens`), which imports nothing but tokenizers and numpy.
Each answers a line of JSON with a line of sizes and the numbers themselves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from edgeopt.device.guard import end_with_parent
from edgeopt.support.errors import bad_input
from edgeopt.tasks.split import bare

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Numbers = np.ndarray[Any, np.dtype[Any]]
#: Characters of the documents that are tokenized at once.
_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Tokens:
    """Some documents in tokens. values: of all, one after the other. counts: of each. hashes: of each one's text.

    characters: of all documents.
    """

    values: Numbers
    counts: Numbers
    hashes: Numbers
    characters: int


def text_hash(text: str) -> int:
    """A number that is the same for texts that differ in case, spaces and punctuation alone."""
    return int.from_bytes(blake2b("".join(bare((text,))).encode(), digest_size=8).digest(), "little")


def tokenized(texts: Iterable[str], tokenizer: str, processes: int) -> Iterator[Tokens]:
    """The documents in tokens, some at a time, in their order. tokenizer: what tokenizer.json says."""
    if processes == 1:
        encode = _encoder(tokenizer)
        yield from (encode(batch) for batch in _batches(texts))
        return
    with _workers(tokenizer, processes) as submit:
        pending: deque[Future[Tokens]] = deque()
        for batch in _batches(texts):
            pending.append(submit(batch))
            if len(pending) > 2 * processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _encoder(text: str) -> Callable[[list[str]], Tokens]:
    """What makes tokens of documents, without special ones."""
    from tokenizers import Tokenizer

    tokenizer: Tokenizer = Tokenizer.from_str(text)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    kind = token_type(tokenizer)

    def encode(batch: list[str]) -> Tokens:
        try:
            ids = [found.ids for found in tokenizer.encode_batch_fast(batch, add_special_tokens=False)]
        except Exception as error:  # the library raises bare Exception
            raise bad_input("E311", f"the tokenizer cannot read the corpus: {error}") from None
        counts = np.fromiter(map(len, ids), np.int64, len(ids))
        values = np.fromiter((i for each in ids for i in each), kind, int(counts.sum()))
        return Tokens(values, counts, np.fromiter(map(text_hash, batch), np.uint64, len(batch)), sum(map(len, batch)))

    return encode


def token_type(tokenizer: Tokenizer) -> type[np.unsignedinteger[Any]]:
    """The smallest type that has room for the tokenizer's numbers."""
    return np.uint16 if max(tokenizer.get_vocab().values()) < 2**16 else np.uint32


@contextmanager
def _workers(tokenizer: str, count: int) -> Iterator[Callable[[list[str]], Future[Tokens]]]:
    """Processes that tokenize; the block is given what hands them documents."""
    mine, all_of_them = threading.local(), []

    def start() -> None:
        command = [sys.executable, "-W", "ignore", "-m", "edgeopt.corpus.tokens"]
        env = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
        mine.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        all_of_them.append(mine.process)
        _say(mine.process.stdin, tokenizer)

    def ask(batch: list[str]) -> Tokens:
        _say(mine.process.stdin, batch)
        return _heard(mine.process.stdout)

    with ThreadPoolExecutor(count, initializer=start) as pool:
        try:
            yield lambda batch: pool.submit(ask, batch)
        finally:
            pool.shutdown(cancel_futures=True)
            for process in all_of_them:
                process.stdin.close()
                process.stdout.close()
                process.wait()


def _say(pipe: IO[bytes], what: object) -> None:
    pipe.write(json.dumps(what).encode() + b"\n")
    pipe.flush()


def _heard(pipe: IO[bytes]) -> Tokens:
    line = pipe.readline()
    if not line:
        raise bad_input("E311", "a process that tokenizes ended", help="type the same command again")
    said = json.loads(line)
    if "wrong" in said:
        raise bad_input("E311", said["wrong"])
    values, counts, hashes = (
        np.frombuffer(pipe.read(size), dtype=kind)
        for size, kind in zip(said["bytes"], (said["type"], np.int64, np.uint64), strict=True)
    )
    return Tokens(values, counts, hashes, said["characters"])


def _work() -> None:
    """A worker's life: a tokenizer, then documents until there are no more."""
    end_with_parent()
    encode = _encoder(json.loads(sys.stdin.buffer.readline()))
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        try:
            found = encode(json.loads(line))
        except Exception as error:
            _say(out, {"wrong": " ".join(str(error).split())[:300]})
            continue
        arrays = [found.values, found.counts, found.hashes]
        kind = found.values.dtype.str
        _say(out, {"bytes": [a.nbytes for a in arrays], "type": kind, "characters": found.characters})
        for array in arrays:
            out.write(array.tobytes())
        out.flush()


if __name__ == "__main__":
    _work()
