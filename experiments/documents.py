"""YAML and JSON that others may have written: read as plain values, of bounded size; what is wrong with them is one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marl.errors import UserError

LARGEST = 4 << 20
"""Bytes of a configuration or manifest beyond which it is none."""


def yaml_value(text: str, where: str) -> Any:
    """What a YAML text says. Raises UserError for one that is none, and for aliases: nine lines of them can unfold to gigabytes."""
    import yaml

    class Plain(yaml.SafeLoader):
        """Plain values, each written where it stands."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                event = self.peek_event()
                raise UserError(f"{where}: alias *{event.anchor} in line {event.start_mark.line + 1}, every value is written out here")
            return super().compose_node(parent, index)

    try:
        return yaml.load(text, Plain)  # a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{where}: {' '.join(str(error).split()) or type(error).__name__}") from error


def yaml_text(values: Mapping[str, Any], where: str) -> str:
    """Values as YAML that `yaml_value` reads. Raises UserError where they are too many for `read`."""
    import yaml

    class Plain(yaml.SafeDumper):
        """Every value written out, also one that occurs twice."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    text: str = yaml.dump(dict(values), Dumper=Plain, sort_keys=False)
    size = len(text.encode())
    if size > LARGEST:
        raise UserError(f"{where} would have {size:,} bytes, legal are {LARGEST:,}: large arguments belong in a file of their own")
    return text


def read(path: Path) -> str:
    """A text of bounded size. Raises UserError."""
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise UserError(f"{path} has more than {LARGEST:,} bytes: it is no file of a run")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: {error}") from error


def read_yaml(path: Path) -> Any:
    """What a YAML file says. Raises UserError."""
    return yaml_value(read(path), str(path))


def read_json(path: Path) -> Any:
    """What a JSON file says. Raises UserError."""
    try:
        return json.loads(read(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: {error}, one JSON object is expected") from error
