"""Checkpoints: one file that holds everything the future of a run depends on, replaced atomically, read with `weights_only`.

NumPy arrays are kept as tensors and generators as plain numbers, so that loading runs no code. A digest of all of it lies beside
them: one bit that has changed since is told, where it would else be another policy without a word.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from marl.errors import UserError
from marl.system import sync_folder

VERSION = 1
"""Of the layout; a checkpoint of another version is refused."""


def pack(value: Any) -> Any:
    """Arrays to tensors, tuples to lists, NumPy numbers to Python's, in nested dicts and lists."""
    if isinstance(value, np.ndarray):
        bits = value.view(np.int64) if value.dtype == np.uint64 else value.view(np.int32) if value.dtype == np.uint32 else value
        return {"array": torch.from_numpy(np.array(bits, order="C")), "dtype": str(value.dtype)}
    if isinstance(value, Mapping):
        return {key: pack(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [pack(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def unpack(value: Any) -> Any:
    """What `pack` was given; tuples come back as lists."""
    if isinstance(value, dict):
        if set(value) == {"array", "dtype"}:
            array = value["array"].numpy()
            return array.view(value["dtype"]) if str(array.dtype) != value["dtype"] else array
        return {key: unpack(item) for key, item in value.items()}
    return [unpack(item) for item in value] if isinstance(value, list) else value


def digest(packed: Any) -> str:
    """SHA-256 of what `pack` gave: kinds, shapes, keys in their order, and every byte of every number."""
    found = hashlib.sha256()
    _feed(found, packed)
    return found.hexdigest()


def _feed(found: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        found.update(f"{value.dtype} {tuple(value.shape)};".encode())
        if value.numel():
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, dict):
        found.update(f"dict {len(value)};".encode())
        for key, item in value.items():
            _feed(found, key)
            _feed(found, item)
    elif isinstance(value, list):
        found.update(f"list {len(value)};".encode())
        for item in value:
            _feed(found, item)
    else:
        found.update(f"{type(value).__name__} {value!r};".encode())


def random_states() -> dict[str, Any]:
    """State of torch's, NumPy's and Python's global generators."""
    version, internal, gauss = random.getstate()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "numpy": np.random.get_state(legacy=False),
        "python": [version, list(internal), gauss],
    }


def set_random_states(saved: Mapping[str, Any]) -> None:
    """Continue where `random_states` was taken."""
    torch.set_rng_state(saved["torch"])
    for i, state in enumerate(saved["cuda"][: torch.cuda.device_count()]):  # a run on the CPU may go on where there are fewer
        torch.cuda.set_rng_state(state, i)
    np.random.set_state(saved["numpy"])
    version, internal, gauss = saved["python"]
    random.setstate((version, tuple(internal), gauss))


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write, fsync, replace: a reader finds the old file or the new one. Raises UserError where the disk refuses; the old file stays."""
    draft = path.with_suffix(".tmp")
    try:
        with draft.open("wb") as file:
            packed = pack(content)
            torch.save({"version": VERSION, "digest": digest(packed), **packed}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
        sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        draft.unlink(missing_ok=True)
        raise UserError(f"checkpoint {path} could not be written ({error}): the previous one is kept") from error


def load(path: Path, needed: Sequence[str] = ()) -> dict[str, Any]:
    """The content of a checkpoint. Raises UserError where it is missing, truncated, of another version, lacks a name of `needed`, or is
    not, to the bit, what was saved (one without a digest is older than digests are)."""
    if not path.is_file():
        raise UserError(f"checkpoint {path}: no such file")
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0].split(". ")[0] or type(error).__name__
        raise UserError(f"checkpoint {path} cannot be read, it is truncated or no checkpoint ({reason})") from error
    found = content.get("version") if isinstance(content, dict) else None
    if found != VERSION:
        raise UserError(f"checkpoint {path} has version {found}: expected {VERSION}")
    missing = [name for name in needed if name not in content]
    if missing:
        raise UserError(f"checkpoint {path} lacks {missing[0]!r}: {', '.join(needed)} are expected")
    if "digest" in content and content.pop("digest") != digest({key: value for key, value in content.items() if key != "version"}):
        raise UserError(f"checkpoint {path} is damaged: its numbers are not those that were saved (SHA-256), take a copy that is whole")
    unpacked: dict[str, Any] = unpack(content)
    return unpacked
