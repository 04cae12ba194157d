"""A module as users write one: importing it registers a game (`marl --module tests.toys`)."""

from __future__ import annotations

import envs
from tests.commons import COMMONS

envs.GAMES["harvest"] = COMMONS
