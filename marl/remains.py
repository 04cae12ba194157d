"""What an earlier attempt left in a run's folder: whether a run may be continued from it. Nothing is changed here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marl.disk import told
from marl.errors import UserError


def check_rows(path: Path, saved: Mapping[str, Any]) -> None:
    """Raise UserError where the rows that a checkpoint counts (`marl.track.Pending.state_dict`) are not, to the byte, in the file."""
    with told("read", path):
        data = path.read_bytes() if path.exists() else b""
    offset = saved["offset"]
    if len(data) < offset:
        raise UserError(f"{path} has {len(data)} bytes: the checkpoint counts {offset}, the file was shortened or replaced after it")
    if data[:offset].rfind(b"\n") + 1 != offset:
        raise UserError(f"{path}: no row ends at byte {offset}, which the checkpoint counts, the file was changed after it")
    if "digest" in saved and hashlib.sha256(data[:offset]).hexdigest() != saved["digest"]:
        raise UserError(f"{path}: the rows up to byte {offset} are not those that the checkpoint counts, the file was changed after it")


def beyond_start(folder: Path) -> str | None:
    """What says that a run came further than its first row; None where it was killed before its first checkpoint, or never began."""
    found = sorted(path.name for path in folder.glob("*.pt"))
    if found:
        return found[-1]  # of numbered checkpoints the newest
    rows = folder / "metrics.jsonl"
    with told("read", rows):
        lines = rows.read_bytes().count(b"\n") if rows.exists() else 0
    return f"metrics.jsonl with {lines} rows" if lines > 1 else None


def check_unbegun(folder: Path) -> None:
    """Raise UserError where last.pt is gone: a run that begins again would take what is left of the old one for its own."""
    found = beyond_start(folder)
    if found is None:
        return
    numbered = f"copy {found} to last.pt and resume from there, or " if found.startswith("step_") else ""
    raise UserError(
        f"{folder} has no last.pt, and {found} of a run that was further than its start: it cannot be continued; {numbered}bring last.pt "
        "back, or begin anew in another folder"
    )
