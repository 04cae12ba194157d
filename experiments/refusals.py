"""What Hydra and OmegaConf refuse, said in one line: the key, its value, what is legal, the closest match."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from experiments.schema import EXAMPLES, WANTED, legal, limits_of
from marl.errors import UserError
from marl.extras import LAUNCHERS, missing

CHOSEN = re.compile(r"Could not (?:find|load) '(?P<group>.+)/(?P<choice>[^/']*)'")
SWEPT = re.compile(r"(choice|range|interval|glob|shuffle|sort|tag)\(")
"""How one of Hydra's functions of a sweep begins."""
VALUE = re.compile(r"Value '(?P<value>.*)' of type '\w+' could not be converted")


ELSEWHERE = {
    "learning_rate": "lr", "alpha": "lr", "discount": "gamma", "n_steps": "rollout", "num_steps": "rollout", "horizon_length": "rollout",
    "n_epochs": "epochs", "update_epochs": "epochs", "num_minibatches": "minibatches", "n_minibatch": "minibatches", "ent_coef": "entropy",
    "entropy_coef": "entropy", "vf_coef": "value", "value_loss_coef": "value", "clip_range": "clip", "clip_coef": "clip",
    "max_grad_norm": "gradient_norm", "hidden_sizes": "hidden", "net_arch": "hidden", "buffer_size": "replay", "batch_size": "batch",
    "num_envs": "n_envs", "total_timesteps": "total_steps", "timesteps": "total_steps", "anneal_lr": "anneal",
}  # fmt: skip
"""What Stable-Baselines3, CleanRL and others call a key -> ours."""


def closest(name: str, names: Sequence[str]) -> str:
    """` (closest: x)` where one of `names` resembles `name` in any case, or is what it is called elsewhere; else nothing."""
    if ELSEWHERE.get(name.lower()) in names:
        return f" (closest: {ELSEWHERE[name.lower()]})"
    found = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=1)
    return f" (closest: {next(n for n in names if n.lower() == found[0])})" if found else ""


def unknown(what: str, name: str, names: Sequence[str]) -> UserError:
    """The refusal of a name that is none of `names`."""
    return UserError(f"{what}: legal are {', '.join(names)}{closest(name, names)}" if names else f"{what}: there are none")


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, outermost first."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


UNQUOTED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/-\\.+$%*@?|: \t")
"""Characters that a value may have without quotes in Hydra's grammar."""


def quoted(line: str) -> str:
    """The override with its value in quotes, as a shell takes it."""
    key, _, value = line.partition("=")
    inner = value.strip("'\"").replace("'", "\\'")
    return shlex.quote(f"{key}='{inner}'")


def grammar(line: str, error: Exception) -> UserError:
    """An override that Hydra's grammar refuses: the character that it stops at, and how the value is written."""
    _, equals, value = line.partition("=")
    culprit = next((c for c in value if c not in UNQUOTED), None)
    if equals and culprit is not None and value[0] not in "[{\"'" and not SWEPT.match(value):
        return UserError(f"override {line!r}: {culprit!r} stands in no value without quotes, write {quoted(line)}")
    said = [text.strip() for text in str(error).splitlines() if text.strip()]
    return UserError(f"override {line!r}: expected is key=value ({said[1] if len(said) > 1 else said[0]})")


def several(line: str, key: str) -> UserError:
    """Several values where one is expected."""
    listed = f"a list is written {key}=[a,b], a text with a comma or brackets {quoted(line)}"
    return UserError(f"override {line!r}: several values make a sweep (-m), {listed}")


def explain(error: Exception) -> UserError:
    """The refusal as one line."""
    from omegaconf.errors import OmegaConfBaseException

    for cause in chain(error):
        if isinstance(cause, UserError):
            return cause
        if isinstance(cause, OmegaConfBaseException) and cause.full_key:
            return _key(cause)
    return _choice(str(error)) or UserError(_first_line(error))


def _first_line(error: Exception) -> str:
    """Hydra's own words, without its advice on how to extend a config."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(line for line in lines[:2] if "To append" not in line and "See http" not in line) or type(error).__name__


def _choice(message: str) -> UserError | None:
    """A choice of a config group that does not exist."""
    match = CHOSEN.search(message)
    if match is None:
        return None
    group, choice = match["group"], match["choice"]
    if group == "hydra/launcher" and choice in LAUNCHERS:
        return missing(LAUNCHERS[choice])
    available = re.findall(r"^\t(\S+)$", message.split("Available options", 1)[-1], re.MULTILINE)
    return unknown(f"{group} = {choice!r}: no such choice", choice, available)


def _inside(run: Any, key: str) -> str:
    """The same key of the run's env or algorithm, where it was meant: `algorithm.lr` for `lr`; nothing where there is none."""
    ours = [name for name in (key, ELSEWHERE.get(key)) if name and "." not in name]
    return " or ".join(f"{group}.{name}" for group in ("algorithm", "env") if group in run for name in ours if name in run[group])


def _key(error: Any) -> UserError:
    """A key that does not exist, is not given, or has a value of the wrong type."""
    key, owner = str(error.full_key), error.object_type
    said, value = str(error).splitlines()[0], VALUE.search(error.msg or "")
    given = f"{key} = {value['value']!r}" if value else f"{key} = null" if "is not Optional" in said else f"{key}: {said}"
    if "is not a ListConfig" in said:
        given = f"{key} is no list"
    if "is not a subclass of" in said:
        given = f"{key} has keys of its own"
    if not is_dataclass(owner):
        whole = EXAMPLES[dict[str, Any]] if get_origin(error.ref_type) is dict else None
        inner = [whole] if whole else [WANTED[a] for a in get_args(error.ref_type) if a in WANTED]
        return UserError(f"{given}: legal is {inner[-1]}" if inner else given)
    name = key.rpartition(".")[2]
    declared = {f.name: f for f in fields(owner)}
    if name not in declared:
        inside = _inside(error.parent_node, key)
        found = [n for n in declared if n != "name"]
        return UserError(f"{key}: no such key, legal is {inside}") if inside else unknown(f"{key}: no such key", name, found)
    wanted = legal(get_type_hints(owner)[name], limits_of(declared[name]))
    return UserError(f"{key} is not given: legal is {wanted}" if "Missing mandatory" in said else f"{given}: legal is {wanted}")
