"""A run that a scheduler ends is as whole as one that Ctrl-C ends: SIGTERM and SIGHUP are raised where the program is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

NAMES = ("SIGTERM", "SIGHUP")


class Terminated(KeyboardInterrupt):
    """Raised by a signal; `code` is the exit code that a shell gives to it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.name, self.code = signal.Signals(number).name, 128 + number


@contextmanager
def raised() -> Iterator[None]:
    """While the context lasts the first of these signals is raised as Terminated, later ones are left: what it began comes to its end.

    One that whoever started us ignores (nohup) stays ignored. Only the main thread of a process gets signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for name in NAMES if (number := getattr(signal, name, None)) is not None}
    ours = [number for number, handler in before.items() if handler == signal.SIG_DFL]

    def handle(number: int, _: FrameType | None) -> NoReturn:
        for each in ours:
            signal.signal(each, signal.SIG_IGN)
        raise Terminated(number)

    for number in ours:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
