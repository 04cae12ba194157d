"""What a run was made with and what has changed since: its manifest keeps both."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from experiments import documents
from experiments.run_folder import RunFolder, config_hash, made_with, write
from marl.errors import UserError


def earlier(manifest: Mapping[str, Any]) -> list[str]:
    """Hashes of the configurations that the run had before its changes."""
    found = manifest.get("earlier_hashes", [])
    if not isinstance(found, list):
        raise UserError(f"manifest.json: earlier_hashes = {found!r}, a list is expected")
    return found


def note(folder: RunFolder, config: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Write changes of the configuration down, the manifest first: killed in between, the folder still has one that the manifest knows."""
    manifest = folder.read_manifest()
    manifest["earlier_hashes"] = [*earlier(manifest), manifest["config_hash"]]
    manifest["config_hash"] = config_hash(config)
    _append(folder, manifest, changes)
    write(folder.config, documents.yaml_text(config, str(folder.config)))


def note_code(folder: RunFolder) -> None:
    """Say in a line, and write down, where a run goes on under other code than it was made with; it may then differ in its last bits."""
    manifest, here = folder.read_manifest(), made_with()
    changes = differing({key: manifest.get(key) for key in here}, here)
    if not changes:
        return
    said = ", ".join(f"{name} {old}, now {new}" for name, (old, new) in changes.items())
    print(f"marl: warning: {folder.path} was made with {said}: what follows may differ from the run that never stopped", file=sys.stderr)
    _append(folder, manifest | here, {"made_with": {name: list(pair) for name, pair in changes.items()}})


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Name -> what it was and what it is, of python, libraries and the commit of this code."""
    flat = [_flat(values) for values in (then, now)]
    names = [name for name in {**flat[0], **flat[1]} if flat[0].get(name) != flat[1].get(name)]
    return {name: (flat[0].get(name), flat[1].get(name)) for name in names}


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    git, versions = values["git"], values["versions"]
    found = {"python": values["python"], **(versions if isinstance(versions, dict) else {})}
    if isinstance(git, dict):
        found["commit"] = str(git.get("commit"))[:12] + (" with changes" if git.get("dirty") else "")
    return found


def _append(folder: RunFolder, manifest: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    whole = {**manifest, "changes": [*manifest.get("changes", []), changes]}
    write(folder.manifest, json.dumps(whole, indent=2) + "\n")
