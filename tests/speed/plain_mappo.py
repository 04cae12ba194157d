"""A plain torch loop of MAPPO on a game of one Discrete column with a team's reward: what it costs without a framework.

The recipe is the published row's: shared parameters with the agents' identities, a critic on the global state once a team
row, values normalised by running moments, Huber's loss, time limits bootstrapped, the learning rate falling linearly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from marl.game import TERMINATED, TRUNCATED
from marl.vector import VectorGame

EPOCHS, MINIBATCHES, GAMMA, LAMBDA, ENTROPY, CLIP, LR = 5, 4, 0.9, 0.95, 0.003, 0.2, 7e-4


def layers(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, outputs))


class PlainMAPPO:
    """`rollouts` of `ticks` of all `copies` are the whole run; tensors are preallocated, [T, B, ...]."""

    def __init__(self, copies: VectorGame, ticks: int, choices: int, rollouts: int) -> None:
        self.copies, self.ticks, self.rollouts, self.done = copies, ticks, rollouts, 0
        b, n, width = copies.obs.shape
        self.b, self.n, self.width = b, n, width + n
        self.actor, self.critic = layers(self.width, choices), layers(copies.state.shape[1], 1)
        self.params = [*self.actor.parameters(), *self.critic.parameters()]
        self.optimiser = torch.optim.Adam(self.params, lr=LR, eps=1e-5)
        self.obs = torch.zeros(ticks, b, n, self.width)
        self.obs[..., width:] = torch.eye(n)
        self.state = torch.zeros(ticks, b, copies.state.shape[1])
        self.act, self.logp = torch.zeros(ticks, b, n, dtype=torch.int64), torch.zeros(ticks, b, n)
        self.reward, self.value, self.following = (torch.zeros(ticks, b) for _ in range(3))
        self.terminated, self.over = (torch.zeros(ticks, b, dtype=torch.bool) for _ in range(2))
        self.mean, self.var = 0.0, 1.0
        copies.reset(0)

    def values(self, state: Tensor) -> Tensor:
        """V in the units of returns."""
        out: Tensor = self.critic(state).squeeze(-1)
        return out * self.var**0.5 + self.mean

    @torch.no_grad()
    def collect(self) -> None:
        copies, cuts = self.copies, []
        for t in range(self.ticks):
            self.obs[t, :, :, : self.width - self.n] = torch.from_numpy(copies.obs)
            self.state[t] = torch.from_numpy(copies.state)
            log_probs = torch.log_softmax(self.actor(self.obs[t].view(self.b * self.n, -1)), -1)
            act = torch.multinomial(log_probs.exp(), 1)
            self.logp[t] = log_probs.gather(1, act).view(self.b, self.n)
            self.act[t] = act.view(self.b, self.n)
            copies.step(self.act[t].numpy()[:, :, None].astype("f8"))
            self.reward[t] = torch.from_numpy(copies.reward.sum(1))
            self.over[t] = torch.from_numpy(copies.status != 0)
            self.terminated[t] = torch.from_numpy(copies.status == TERMINATED)
            if (copies.status == TRUNCATED).any():
                cuts.append((t, torch.from_numpy(copies.status == TRUNCATED), torch.from_numpy(copies.final_state.copy())))
        self.value = self.values(self.state.view(self.ticks * self.b, -1)).view(self.ticks, self.b)
        self.following[:-1], self.following[-1] = self.value[1:], self.values(torch.from_numpy(copies.state))
        for t, cut, final in cuts:
            self.following[t, cut] = self.values(final[cut])

    def returns(self) -> tuple[Tensor, Tensor]:
        """(returns, advantages), [T, B]."""
        run, advantage = torch.zeros(self.b), torch.empty_like(self.value)
        for t in range(self.ticks - 1, -1, -1):
            error = self.reward[t] + GAMMA * self.following[t] * ~self.terminated[t] - self.value[t]
            run = error + GAMMA * LAMBDA * run * ~self.over[t]
            advantage[t] = run
        return advantage + self.value, advantage

    def update(self) -> None:
        rows = self.ticks * self.b
        returns, advantage = self.returns()
        share = 0.02 if self.done else 1.0
        off, spread = float(returns.mean()) - self.mean, float(returns.var())
        self.mean += share * off
        self.var = (1 - share) * self.var + share * spread + share * (1 - share) * off * off
        returns = ((returns - self.mean) / self.var**0.5).view(-1)
        advantage = ((advantage - advantage.mean()) / (advantage.std() + 1e-8)).view(-1)
        obs, state = self.obs.view(rows, self.n, -1), self.state.view(rows, -1)
        act, logp = self.act.view(rows, self.n), self.logp.view(rows, self.n)
        for group in self.optimiser.param_groups:
            group["lr"] = LR * max(0.0, 1.0 - self.done / self.rollouts)
        for _ in range(EPOCHS):
            for chosen in torch.randperm(rows).chunk(MINIBATCHES):
                self.descend(obs[chosen], state[chosen], act[chosen], logp[chosen], returns[chosen], advantage[chosen])
        self.done += 1

    def descend(self, obs: Tensor, state: Tensor, act: Tensor, old: Tensor, returns: Tensor, advantage: Tensor) -> None:
        """One gradient step on a minibatch of team rows."""
        log_probs = torch.log_softmax(self.actor(obs), -1)
        ratio = (log_probs.gather(2, act.unsqueeze(2)).squeeze(2) - old).exp()
        gain = advantage.unsqueeze(1)
        policy = -torch.min(ratio * gain, ratio.clamp(1 - CLIP, 1 + CLIP) * gain).mean()
        entropy = -(log_probs.exp() * log_probs).sum(-1).mean()
        value = nn.functional.huber_loss(self.critic(state).squeeze(1), returns)
        self.optimiser.zero_grad()
        (policy + value - ENTROPY * entropy).backward()
        nn.utils.clip_grad_norm_(self.params, 0.5)
        self.optimiser.step()
