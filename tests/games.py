"""Every game that the tests of the contract run on: the registered ones and the toys."""

from __future__ import annotations

import envs
from marl.game import Game
from tests.bazaar import BAZAAR
from tests.commons import COMMONS
from tests.crossing import CROSSING

TOYS: dict[str, Game] = {"toy_commons": COMMONS, "bazaar": BAZAAR, "crossing": CROSSING}
EVERY: dict[str, Game] = {**envs.GAMES, **TOYS}
