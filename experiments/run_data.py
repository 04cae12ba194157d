"""The files of data that a run has read: their digests in its manifest, and what is said when a file is not the one any more."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marl.content import digest, warn
from marl.errors import UserError
from marl.params import Params

if TYPE_CHECKING:
    from experiments.run_folder import RunFolder

KEY = "data"
"""Of the manifest: key of the configuration -> what was read there."""
FIELDS = ("path", "sha256", "bytes", "beside")


def read_by_a_stage(params: Params, curriculum: str) -> bool:
    """Whether the files that the parameters do not read are all read in some stage of a curriculum."""
    import curricula

    unread = set(params.unread())
    for stage in curricula.load(curriculum).stages if unread else ():
        known = {name: value for name, value in stage.params.items() if name in type(params).__dataclass_fields__}  # type: ignore[attr-defined]
        unread &= set(replace(params, **known).unread())  # type: ignore[type-var]
    return not unread


def read_by(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a manifest says of a configuration's files: key -> path, SHA-256, bytes, and where it lies from the run folder on."""
    import envs

    if "env" not in config or config["env"]["name"] not in envs.GAMES:
        return {}
    env = config["env"]
    kind = envs.GAMES[env["name"]].params
    found = {}
    for name in kind.file_names():
        if kind.is_file(name, env[name]):
            path = env[name]
            beside = os.path.relpath(path, config["run_dir"])
            found[f"env.{name}"] = {"path": path, "sha256": digest(path), "bytes": os.stat(path).st_size, "beside": beside}
    return found


def recorded(folder: RunFolder) -> dict[str, dict[str, Any]]:
    """What the manifest of a run says of its files; nothing in one that was written before there were digests. Raises UserError."""
    found = folder.read_manifest().get(KEY, {})
    whole = isinstance(found, dict) and all(isinstance(file, dict) and set(file) >= set(FIELDS) for file in found.values())
    if not whole or not all(isinstance(file[key], str) for file in found.values() for key in ("path", "sha256", "beside")):
        raise UserError(f"{folder.manifest}: key {KEY!r} is damaged, a table of files with {', '.join(FIELDS)} is expected")
    return found


def found_again(folder: RunFolder, values: dict[str, Any]) -> dict[str, Any]:
    """The run's configuration with the paths of its files as they are now: where one is not what it was, an equal one may lie near.

    Where a run and its data have moved together, the file is looked for by its place beside the run folder, and by its name in the folder
    and in the one where the command runs; only one of the digest that the manifest has is taken. Raises UserError for a file that has gone.
    """
    if not folder.manifest.exists() or not isinstance(values.get("env"), dict):
        return values
    env = dict(values["env"])
    for key, file in recorded(folder).items():
        name = key.removeprefix("env.")
        path = env.get(name)
        if not isinstance(path, str) or _holds(path, file["sha256"]):
            continue
        again = next((near for near in _near(folder, file) if _holds(near, file["sha256"])), None)
        if again is not None:
            env[name] = again
        elif not os.path.exists(path):
            raise UserError(f"{key} = {path!r}: no such file, and the run has read it (SHA-256 {file['sha256']}): put it back there")
    return {**values, "env": env}


def _near(folder: RunFolder, file: Mapping[str, Any]) -> Iterator[str]:
    name = Path(file["path"]).name
    for place in (folder.path / file["beside"], folder.path / name, Path(name)):
        yield os.path.abspath(place)


def _holds(path: str, sha256: str) -> bool:
    try:
        return digest(path) == sha256
    except UserError:
        return False


def differences(folder: RunFolder) -> list[str]:
    """A line for each file of a run that holds something else than when the run read it. Raises UserError."""
    if not folder.manifest.exists():
        return []
    env = found_again(folder, folder.read_config()).get("env")
    said = []
    for key, file in recorded(folder).items():
        path = env.get(key.removeprefix("env.")) if isinstance(env, dict) else None
        if isinstance(path, str) and not _holds(path, file["sha256"]):
            said.append(
                f"{key} = {path!r} is not the file that the run has read: its SHA-256 was {file['sha256'][:16]}.. and is {_now(path)}"
            )
    return said


def _now(path: str) -> str:
    try:
        return f"{digest(path)[:16]}.."
    except UserError as error:
        return f"not to be had ({error})"


def tell(folder: RunFolder) -> None:
    """Warn, a line for each, of files that have changed since the run read them: what is played now is another setting."""
    for said in differences(folder):
        warn(f"{folder.path}: {said}")


def refuse(folder: RunFolder) -> None:
    """Raise UserError where a file has changed since the run read it: what goes on would not be the run."""
    for said in differences(folder):
        raise UserError(f"{said}; put it back, or train anew on the new one")
