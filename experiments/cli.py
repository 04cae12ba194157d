"""The console command `marl`: finds the subcommand, prints refusals as one line. Nothing heavy is imported before one is chosen."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from experiments import signals
from marl import notice
from marl.errors import UserError

COMMANDS = {
    "train": ("experiments.training", "train a team: marl train env=auction algorithm=ippo seed=0"),
    "evaluate": ("experiments.evaluation", "play a run's policies on fixed seeds: marl evaluate RUN --episodes 256"),
    "resume": ("experiments.resumption", "continue a run from its last checkpoint: marl resume RUN"),
    "replay": (
        "experiments.replay",
        "draw one episode, of a run or a baseline: marl replay RUN --episode 0 -o page.png",
    ),
    "list": ("experiments.listing", "games, algorithms, curricula; one game's parameters and columns: marl list env=auction"),
    "benchmark": ("experiments.benchmark", "speed of rules, collection and updates as ratios to plain references"),
    "reproduce": ("experiments.reproduction", "rerun published results and say PASS or FAIL: marl reproduce --list"),
    "generate": ("experiments.generating", "write a synthetic data file: marl generate allocation_log -o trace.csv"),
    "export": ("experiments.exporting", "an auction market as a Parquet log: marl export env=auction env.preset=train -o log.parquet"),
    "bidders": ("experiments.bidders", "scripted advertisers, and runs beside them, in a market: marl bidders preset=train"),
    "allocators": ("experiments.allocators", "mechanisms of the cluster side by side on a trace: marl allocators trace=FILE"),
    "traders": ("experiments.traders", "strategies of every role of the market side by side: marl traders mechanism=book"),
    "replenishment": ("experiments.replenishment", "stock policies and runs on held-out daily demand: marl replenishment env.trace=FILE"),
    "probe": ("experiments.probing", "what is earned along every action column, and whether it can be learned: marl probe env=quoting"),
    "answers": ("experiments.answers", "train on games with known answers and say PASS or FAIL"),
}
"""Subcommand -> the module whose `main(arguments) -> exit code` runs it, and what it is for."""

OF_RUNS = ("evaluate", "resume", "replay", "export", "bidders", "allocators", "traders", "replenishment")
"""Subcommands that read folders of runs, which may bring code (`experiments.trust`)."""

REFUSED = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.EEXIST, errno.ENOTDIR,
    errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOMEM, errno.EMFILE, errno.ENFILE,
}  # fmt: skip
"""Answers of the system that are the user's to mend."""
TOO_LITTLE = (
    "allocate memory", "can't allocate", "out of memory", "unable to allocate", "failed to map segment", "cannot allocate",
    "start new thread", "create thread", "too many open files", "insufficient memory",
)  # fmt: skip
"""Words of libraries that got no memory, thread or file, in whatever kind of error they say so."""


class Parser(argparse.ArgumentParser):
    """Options of a command; what is wrong with them is refused in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}")


def parser(name: str) -> Parser:
    """An empty parser of a subcommand. `--module` is read by `main` before it."""
    made = Parser(prog=f"marl {name}", description=COMMANDS[name][1], allow_abbrev=False)
    made.add_argument("--module", action="append", default=[], metavar="NAME", help="import a module that registers games or algorithms")
    if name in OF_RUNS:
        made.add_argument("--trust", action="store_true", help="take whatever code a run's folder brings: its modules, its factory")
    return made


def given_parameters(name: str, overrides: Sequence[str], **defaults: Any) -> dict[str, Any]:
    """A game's parameters from a subcommand's `key=value` words (`env.key=value` as well), over defaults. Raises UserError."""
    from experiments.documents import yaml_value

    found = dict(defaults)
    for line in overrides:
        key, equals, value = line.removeprefix("env.").partition("=")
        if not equals:
            raise UserError(f"marl {name} {line}: key=value is expected")
        found[key] = yaml_value(value, f"marl {name} {line}")
    return found


def load_modules(names: Sequence[str], stored: bool = False) -> None:
    """Import modules that register games and algorithms, which the user named but where a stored run brings them. Raises UserError."""
    if names:
        from experiments.trust import trust
        from marl.plugins import load_module

        if not stored:
            trust(*names)
        for name in names:
            load_module(name)


def overview() -> str:
    """The text of `marl --help`."""
    lines = ["usage: marl COMMAND [--module NAME] ...", "", "commands (marl COMMAND --help says more):"]
    lines += [f"  {name:10} {purpose}" for name, (_, purpose) in COMMANDS.items()]
    return "\n".join(lines)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns its exit code. Raises UserError for what is refused."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    name, *rest = arguments
    if name == "--version":
        from marl import __version__

        nothing_more(name, rest)
        print(f"market-marl {__version__}")
        return 0
    if name not in COMMANDS:
        raise UserError(f"no command {name!r}: legal are {', '.join(COMMANDS)}")
    with notice.working(name, first=notice.EVERY):
        notice.at("loading libraries")
        command = importlib.import_module(COMMANDS[name][0]).main
        notice.at("")
        if "--trust" not in rest:
            return int(command(rest))
        from experiments.trust import trusting

        with trusting():
            return int(command(rest))


def nothing_more(option: str, words: Sequence[str]) -> None:
    """Raise UserError for words beside an option that stands alone."""
    if words:
        raise UserError(f"{option} {' '.join(words)}: nothing beside {option} is expected")


def complain(error: Exception) -> None:
    """A refusal on stderr, in one line."""
    print("marl: error: " + " ".join(str(error).split()), file=sys.stderr)


def scarce(error: BaseException | None) -> str:
    """What there was too little of where that is what an error comes from, nothing where it is another fault."""
    while error is not None:
        said = str(error).lower()
        if isinstance(error, MemoryError) or any(words in said for words in TOO_LITTLE):
            files = "too many open files" in said
            what, remedy = ("files may be open", "raise ulimit -n") if files else ("memory is left", "lower n_envs, or raise its limit")
            return f"too {'few' if files else 'little'} {what}: {remedy} ({str(error) or type(error).__name__})"
        if isinstance(error, SystemError | ImportError) and _limited():
            return f"too little memory or too few files: raise ulimit -v and -n ({error})"
        error = error.__cause__ or error.__context__
    return ""


def _limited() -> bool:
    """Whether this process has limits under which libraries fail to load in ways of their own."""
    try:
        import resource
    except ModuleNotFoundError:
        return False
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY or resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 64


def silence() -> None:
    """Whoever read our output has seen enough (`marl list | head`): nothing more goes there, or Python would complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `marl` and of `python -m experiments.cli`; returns the exit code: 2 for what the user has to mend."""
    try:
        with signals.raised():
            return run(sys.argv[1:] if arguments is None else arguments)
    except UserError as error:
        complain(error)
    except BrokenPipeError:
        silence()
        return 0
    except Exception as error:
        if not (isinstance(error, OSError) and error.errno in REFUSED) and not scarce(error):
            raise
        complain(UserError(scarce(error) or str(error)))
    except signals.Terminated as error:
        print(f"marl: ended by {error.name}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("marl: interrupted", file=sys.stderr)
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main())
