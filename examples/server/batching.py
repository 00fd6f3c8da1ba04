"""Puts requests that come at the same time into one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

#: A text, or the two of a pair; and what the model says of one: label and probability, or a score and None.
Query = tuple[str, ...]
Answer = tuple[Any, float | None]


class Full(Exception):
    """More is waiting than there may be: the client is to come back later."""


class Waiting(NamedTuple):
    """A query, and the future that its request waits for."""

    query: Query
    answer: asyncio.Future[Answer]


class Batcher:
    """Asks the model about batches of what waits.

    ask_model: answers a list of queries; called in threads, one for each of `workers`. most: queries of a batch.
    window: seconds that the first query of a batch waits for others. waiting: queries that may wait. told: is called
    with the size of each batch.
    """

    def __init__(
        self,
        ask_model: Callable[[Sequence[Query]], list[Answer]],
        *,
        most: int = 32,
        window: float = 0.002,
        waiting: int = 1024,
        workers: int = 1,
        told: Callable[[int], object] = lambda size: None,
    ) -> None:
        self.ask_model, self.most, self.window, self.waiting, self.told = ask_model, most, window, waiting, told
        self.queue: asyncio.Queue[Waiting] = asyncio.Queue()
        self.tasks = [asyncio.create_task(self._work()) for _ in range(workers)]

    @property
    def ready(self) -> bool:
        """Whether it works, and has room for more."""
        return all(not task.done() for task in self.tasks) and self.queue.qsize() < self.waiting

    async def ask(self, queries: Sequence[Query]) -> list[Answer]:
        """What the model says of each query. Raises Full where too many wait already."""
        if self.queue.qsize() + len(queries) > self.waiting:
            raise Full
        loop = asyncio.get_running_loop()
        waiting = [Waiting(query, loop.create_future()) for query in queries]
        for each in waiting:
            self.queue.put_nowait(each)
        return await asyncio.gather(*(each.answer for each in waiting))

    async def close(self) -> None:
        """End. Call it when nobody waits any more, as a server does that shuts down."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            # a client that went away, or whose time is over, needs no answer
            batch = [each for each in await self._batch() if not each.answer.done()]
            if batch:
                await self._answer(batch)

    async def _batch(self) -> list[Waiting]:
        batch = [await self.queue.get()]
        with suppress(TimeoutError):
            async with asyncio.timeout(self.window):
                while len(batch) < self.most:
                    batch.append(await self.queue.get())
        return batch

    async def _answer(self, batch: list[Waiting]) -> None:
        self.told(len(batch))
        try:
            answers = await asyncio.to_thread(self.ask_model, [each.query for each in batch])
        except Exception as error:
            for each in batch:
                if not each.answer.done():
                    each.answer.set_exception(error)
            return
        for each, answer in zip(batch, answers, strict=True):
            if not each.answer.done():
                each.answer.set_result(answer)
