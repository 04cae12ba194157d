"""How calls into foreign environments are made: in turn, or, where they are coroutines, together in one event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Call = Callable[[], Any]


@dataclass(frozen=True)
class Failure:
    """What a call raised instead of a result."""

    error: Exception

    def __str__(self) -> str:
        text = str(self.error).splitlines()
        return f"{type(self.error).__name__}: {text[0]}" if text else type(self.error).__name__


class Runner(ABC):
    """Makes calls into foreign code, which may raise anything: each gives its result or a `Failure`."""

    @abstractmethod
    def run(self, calls: Sequence[Call]) -> list[Any]:
        """Results in the order of the calls."""

    def close(self) -> None:
        """Release what the runner holds."""


class InTurn(Runner):
    """One call after the other, in this thread."""

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """Results in the order of the calls."""
        return [attempt(call) for call in calls]


def attempt(call: Call) -> Any:
    """The call's result, or a `Failure` with what it raised."""
    try:
        return call()
    except Exception as error:
        return Failure(error)


class Together(Runner):
    """All calls at once in an event loop of their own thread, so that it also works where a loop is running (a notebook).

    A call that takes longer than `timeout` seconds is cancelled and fails with TimeoutError.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="marl-copies", daemon=True)
        self._thread.start()

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """Results in the order of the calls."""
        return asyncio.run_coroutine_threadsafe(self._gather(calls), self._loop).result()

    async def _gather(self, calls: Sequence[Call]) -> list[Any]:
        return await asyncio.gather(*(self._one(call) for call in calls))

    async def _one(self, call: Call) -> Any:
        try:
            result = call()
            return await asyncio.wait_for(result, self.timeout) if inspect.isawaitable(result) else result
        except TimeoutError:
            return Failure(TimeoutError(f"no answer within {self.timeout:g} s"))
        except Exception as error:
            return Failure(error)

    def close(self) -> None:
        """Stop the loop and its thread."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
