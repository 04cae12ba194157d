"""Who plays among whom in a table: a run's learner in agent 0's seat, or a run's team in all seats, in copies of the table's setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from experiments.entrants import Entrant
from marl.errors import UserError

if TYPE_CHECKING:
    from marl.copies import Copies, Group
    from marl.team import Part
    from marl.train import Run

Seats = tuple[dict[str, "Part"], dict[str, Any]]
"""A plan and the policies of its parts."""


def scripted_seats(sample: Copies, role: str, name: str, rivals: str, seed: int) -> Seats:
    """Agent 0 of a role plays one baseline, everybody else another."""
    from marl.team import parts, scripted

    plan = parts(sample, "group", learners=1)
    return plan, {key: scripted(sample, part, name if key == role else rivals, seed) for key, part in plan.items()}


def learned_seats(own: Entrant, run: Run, sample: Copies, role: str, rivals: str, seed: int) -> Seats:
    """Agent 0 of a role plays what the run's agent 0 of it learned, everybody else a baseline, whoever its rivals were in training.

    Raises UserError where the run has no such role, or one of other columns.
    """
    plan, seats = scripted_seats(sample, role, rivals, rivals, seed)
    there, here = sample.groups[role].group, _groups(own).get(role)
    if here is None:
        raise UserError(f"--run {own.given}: it has no {role}")
    _check_columns(own, here, there)
    taught = next(name for name, part in run.plan.items() if part.lo <= here.lo < part.hi)
    part = run.plan[taught]
    plan[role] = replace(plan[role], ids=part.ids, origin=part.origin + there.lo - here.lo)
    return plan, {**seats, role: run.policies[taught]}


def team_seats(own: Entrant, run: Run, sample: Copies, seed: int) -> Seats:
    """Everybody plays as in the run: its learners, and the baseline of its rivals where it has some.

    A policy that all of a role share plays as many of it as the table has. Raises UserError where columns differ, or where seats are
    left that no policy of the run was made for.
    """
    from marl.team import scripted

    seat = _moved(own, sample)
    plan: dict[str, Part] = {}
    for name, part in run.plan.items():
        if part.lo not in seat or part.hi not in seat or (part.ids and sample.n_agents != sum(g.n for g in _groups(own).values())):
            groups = sample.groups.values()
            there = ", ".join(f"{view.group.n} of role {view.group.name}" for view in groups)
            raise UserError(
                f"--run {own.given}: its policy {name} was made for agents {part.lo} to {part.hi - 1} by number, and the table has "
                f"{there}: legal are as many as in its training, or a policy that all of a role share (sharing=group, no agent_id)"
            )
        lo, hi = seat[part.lo], seat[part.hi]
        if lo == hi:
            continue  # a table of one has no place for rivals
        group = next(view.group for view in sample.groups.values() if view.group.lo <= lo < view.group.hi)
        plan[name] = replace(part, group=group, lo=lo, hi=hi, origin=part.origin + lo - part.lo)
    policies = {n: run.policies[n] if p.learns else scripted(sample, p, str(own.rivals), seed) for n, p in plan.items()}
    return plan, policies


def _moved(own: Entrant, sample: Copies) -> dict[int, int]:
    """Agent of the run -> agent of the table, where a part may begin or end: all of a role of equal size, of another its two ends.

    Where one of a role learns among rivals, its second agent is such a place as well.
    """
    here, there = _groups(own), {name: view.group for name, view in sample.groups.items()}
    if list(here) != list(there):
        raise UserError(f"--run {own.given}: its roles are {', '.join(here)}, the table's are {', '.join(there)}")
    found: dict[int, int] = {}
    for name, group in there.items():
        _check_columns(own, here[name], group)
        places = range(group.n + 1) if here[name].n == group.n else [0, 1] if own.rivals is not None else [0]
        found |= {here[name].lo + i: group.lo + i for i in places} | {here[name].hi: group.hi}
    return found


def _groups(own: Entrant) -> Mapping[str, Group]:
    """Role -> its agents and columns in the run's own setting."""
    from marl.vector import VectorGame

    assert own.setup.game is not None
    return {name: view.group for name, view in VectorGame(own.setup.game, 1, own.params).groups.items()}


def _check_columns(own: Entrant, here: Group, there: Group) -> None:
    """Raise UserError where a role sees or does something else in the table."""
    for what, mine, theirs in (("sees", here.observation, there.observation), ("chooses", here.action, there.action)):
        if list(mine) != list(theirs) or (what == "chooses" and mine != theirs):
            only = [
                *(f"{key} in its training only" for key in mine if key not in theirs),
                *(f"{key} here only" for key in theirs if key not in mine),
            ]
            raise UserError(f"--run {own.given}: its {here.name} {what} other columns ({', '.join(only) or 'of other ranges'})")
