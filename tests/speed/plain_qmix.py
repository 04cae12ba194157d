"""A plain torch loop of QMIX on a game of one Discrete column with a team's reward: what it costs without a framework.

The recipe is the published row's: shared parameters with the agents' identities, double Q-learning, a soft target, rewards
standardised by running moments, epsilon and the learning rate falling linearly. Team rows are drawn uniformly from a ring.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from marl.game import TERMINATED
from marl.vector import VectorGame

GAMMA, LR, TAU, EMBED, HYPERNET, EPSILON_STEPS = 0.9, 1e-3, 0.01, 32, 64, 50_000


class Mixer(nn.Module):
    """Values [N, n] and states [N, S] -> [N]."""

    def __init__(self, agents: int, state: int) -> None:
        super().__init__()
        self.agents = agents
        self.first = nn.Sequential(nn.Linear(state, HYPERNET), nn.ReLU(), nn.Linear(HYPERNET, agents * EMBED))
        self.second = nn.Sequential(nn.Linear(state, HYPERNET), nn.ReLU(), nn.Linear(HYPERNET, EMBED))
        self.bias = nn.Linear(state, EMBED)
        self.value = nn.Sequential(nn.Linear(state, EMBED), nn.ReLU(), nn.Linear(EMBED, 1))

    def forward(self, values: Tensor, state: Tensor) -> Tensor:
        weights = self.first(state).abs().view(-1, self.agents, EMBED)
        hidden = nn.functional.elu(torch.bmm(values.unsqueeze(1), weights).squeeze(1) + self.bias(state))
        mixed: Tensor = (hidden * self.second(state).abs()).sum(1) + self.value(state).squeeze(1)
        return mixed


class PlainQMIX:
    """A ring of `rows` team rows; `batch` of them an update, `updates` in the whole run."""

    def __init__(self, copies: VectorGame, choices: int, rows: int, batch: int, updates: int) -> None:
        self.copies, self.choices, self.rows, self.batch, self.updates = copies, choices, rows, batch, updates
        b, n, width = copies.obs.shape
        self.b, self.n, self.width, s = b, n, width + n, copies.state.shape[1]
        self.net = nn.Sequential(nn.Linear(self.width, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, choices))
        self.mixer = Mixer(n, s)
        self.net_old, self.mixer_old = copy.deepcopy(self.net), copy.deepcopy(self.mixer)
        self.params = [*self.net.parameters(), *self.mixer.parameters()]
        self.old = [*self.net_old.parameters(), *self.mixer_old.parameters()]
        self.optimiser = torch.optim.Adam(self.params, lr=LR, eps=1e-5)
        self.obs, self.obs_next = (torch.zeros(rows, n, self.width) for _ in range(2))
        self.obs[..., width:] = self.obs_next[..., width:] = torch.eye(n)
        self.state, self.state_next = (torch.zeros(rows, s) for _ in range(2))
        self.act = torch.zeros(rows, n, dtype=torch.int64)
        self.reward, self.goes_on = torch.zeros(rows), torch.zeros(rows)
        self.at = self.filled = self.steps = self.done = 0
        self.mean, self.var, self.count = 0.0, 1.0, 0.0
        copies.reset(0)

    @torch.no_grad()
    def collect(self, ticks: int) -> None:
        copies, raw = self.copies, self.width - self.n
        for _ in range(ticks):
            own = slice(self.at, self.at + self.b)
            obs = self.obs[own]
            obs[:, :, :raw] = torch.from_numpy(copies.obs)
            self.state[own] = torch.from_numpy(copies.state)
            act = self.net(obs).argmax(2)
            epsilon = max(0.05, 1.0 - 0.95 * self.steps / EPSILON_STEPS)
            act = torch.where(torch.rand(self.b, self.n) < epsilon, torch.randint(self.choices, act.shape), act)
            copies.step(act.numpy()[:, :, None].astype("f8"))
            self.act[own] = act
            self.reward[own] = torch.from_numpy(copies.reward.sum(1))
            self.goes_on[own] = torch.from_numpy((copies.status != TERMINATED).astype("f4"))
            self.obs_next[own, :, :raw] = torch.from_numpy(copies.final_obs)
            self.state_next[own] = torch.from_numpy(copies.final_state)
            self.at = (self.at + self.b) % self.rows
            self.filled = min(self.filled + self.b, self.rows)
            self.steps += self.b

    def standardised(self, reward: Tensor) -> Tensor:
        mean, var, count = float(reward.mean()), float(reward.var(correction=0)), float(len(reward))
        total, off = self.count + count, mean - self.mean
        self.var = (self.var * self.count + var * count + off * off * self.count * count / total) / total
        self.mean, self.count = self.mean + off * count / total, total
        return (reward - self.mean) / (self.var + 1e-8) ** 0.5

    def update(self) -> None:
        chosen = torch.randint(self.filled, (self.batch,))
        reward = self.standardised(self.reward[chosen])
        with torch.no_grad():
            after, state = self.obs_next[chosen], self.state_next[chosen]
            best = self.net(after).argmax(2, keepdim=True)
            following = self.net_old(after).gather(2, best).squeeze(2)
            goal = reward + GAMMA * self.goes_on[chosen] * self.mixer_old(following, state)
        taken = self.net(self.obs[chosen]).gather(2, self.act[chosen].unsqueeze(2)).squeeze(2)
        loss = (goal - self.mixer(taken, self.state[chosen])).square().mean()
        for group in self.optimiser.param_groups:
            group["lr"] = LR * max(0.0, 1.0 - self.done / self.updates)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.params, 10.0)
        self.optimiser.step()
        with torch.no_grad():
            for p, q in zip(self.params, self.old):
                q.lerp_(p, TAU)
        self.done += 1
