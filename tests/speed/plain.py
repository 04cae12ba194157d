"""Plain torch loops on the same copies with the same networks: what collection, PPO and SAC cost without a framework.

Written as a single-file implementation would be: no classes between the loop and torch, tensors preallocated.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from marl.vector import VectorGame

LOG_TWO_PI = math.log(2.0 * math.pi)


def layers(inputs: int, outputs: int, activation: type[nn.Module]) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 64), activation(), nn.Linear(64, 64), activation(), nn.Linear(64, outputs))


class PlainPPO:
    """PPO on all lanes of `copies`, continuous actions in [-1, 1] mapped onto the columns; horizon ends are terminal."""

    def __init__(self, copies: VectorGame, rollout: int, epochs: int = 4, minibatches: int = 4) -> None:
        self.copies, self.rollout, self.epochs, self.minibatches = copies, rollout, epochs, minibatches
        self.shape = (copies.n_envs, copies.n_agents)
        self.lanes, self.width, self.acts = copies.n_envs * copies.n_agents, copies.obs.shape[2], copies.action.shape[2]
        self.actor, self.critic = layers(self.width, self.acts, nn.Tanh), layers(self.width, 1, nn.Tanh)
        self.log_std = nn.Parameter(torch.full((self.acts,), -0.7))
        self.params = [*self.actor.parameters(), self.log_std, *self.critic.parameters()]
        self.optimiser = torch.optim.Adam(self.params, lr=3e-4, eps=1e-5)
        t, n = rollout, self.lanes
        self.obs, self.act = torch.zeros(t, n, self.width), torch.zeros(t, n, self.acts)
        self.logp, self.value, self.reward, self.over = (torch.zeros(t, n) for _ in range(4))
        self.low, self.high = torch.from_numpy(copies._low[0]), torch.from_numpy(copies._high[0])
        copies.reset(0)
        self.now = torch.from_numpy(copies.obs.reshape(n, -1).copy())

    def log_prob(self, obs: Tensor, act: Tensor) -> Tensor:
        z = (act - self.actor(obs)) * (-self.log_std).exp()
        return (-0.5 * z.square() - self.log_std - 0.5 * LOG_TWO_PI).sum(-1)

    def collect(self) -> None:
        copies = self.copies
        with torch.no_grad():
            for t in range(self.rollout):
                obs = self.now
                mean = self.actor(obs)
                act = mean + self.log_std.exp() * torch.randn_like(mean)
                z = (act - mean) * (-self.log_std).exp()
                self.obs[t], self.act[t] = obs, act
                self.logp[t] = (-0.5 * z.square() - self.log_std - 0.5 * LOG_TWO_PI).sum(-1)
                self.value[t] = self.critic(obs).squeeze(1)
                share = (act.clamp(-1, 1) + 1) / 2
                copies.step((self.low + (self.high - self.low) * share).numpy().reshape(*self.shape, self.acts))
                self.reward[t] = torch.from_numpy(copies.reward.reshape(-1))
                self.over[t] = torch.from_numpy((copies.status != 0).repeat(self.shape[1]).astype("f4"))
                self.now = torch.from_numpy(copies.obs.reshape(self.lanes, -1).copy())

    def update(self) -> None:
        n = self.rollout * self.lanes
        with torch.no_grad():
            following, run = self.critic(self.now).squeeze(1), torch.zeros(self.lanes)
            advantage = torch.empty_like(self.reward)
            for t in range(self.rollout - 1, -1, -1):
                going = 1 - self.over[t]
                run = self.reward[t] + 0.99 * following * going - self.value[t] + 0.99 * 0.95 * going * run
                advantage[t], following = run, self.value[t]
            returns = (advantage + self.value).view(-1)
        obs, act, old, advantage = self.obs.view(n, -1), self.act.view(n, -1), self.logp.view(-1), advantage.view(-1)
        for _ in range(self.epochs):
            order = torch.randperm(n)
            for chosen in order.split(n // self.minibatches):
                gain = advantage[chosen]
                gain = (gain - gain.mean()) / (gain.std() + 1e-8)
                ratio = (self.log_prob(obs[chosen], act[chosen]) - old[chosen]).exp()
                policy = -torch.min(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()
                value = (returns[chosen] - self.critic(obs[chosen]).squeeze(1)).pow(2).mean()
                entropy = (self.log_std + 0.5 + 0.5 * LOG_TWO_PI).sum()
                self.optimiser.zero_grad()
                (policy + 0.5 * value - 0.0 * entropy).backward()
                nn.utils.clip_grad_norm_(self.params, 0.5)
                self.optimiser.step()


class PlainSAC:
    """SAC's update with a learned temperature on a replay of given rows."""

    def __init__(self, obs: Tensor, act: Tensor, reward: Tensor, following: Tensor, over: Tensor, batch: int = 256) -> None:
        self.rows, self.batch = (obs, act, reward, following, over), batch
        width, self.acts = obs.shape[1], act.shape[1]
        self.actor = layers(width, 2 * self.acts, nn.ReLU)
        self.critics = [layers(width + self.acts, 1, nn.ReLU) for _ in range(2)]
        self.targets = [layers(width + self.acts, 1, nn.ReLU) for _ in range(2)]
        for critic, target in zip(self.critics, self.targets):
            target.load_state_dict(critic.state_dict())
        self.log_alpha = nn.Parameter(torch.zeros(()))
        groups = [self.actor.parameters(), self.critics[0].parameters(), self.critics[1].parameters(), [self.log_alpha]]
        self.optimisers = [torch.optim.Adam(g, lr=3e-4, eps=1e-5) for g in groups]

    def sample(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.actor(obs).chunk(2, -1)
        log_std = log_std.clamp(-20, 2)
        noise = torch.randn_like(mean)
        drawn = mean + log_std.exp() * noise
        correction = 2 * (math.log(2) - drawn - nn.functional.softplus(-2 * drawn))
        return torch.tanh(drawn), (-0.5 * noise.square() - log_std - 0.5 * LOG_TWO_PI - correction).sum(-1)

    def step(self, which: int, loss: Tensor) -> None:
        self.optimisers[which].zero_grad()
        loss.backward()
        self.optimisers[which].step()

    def update(self) -> None:
        chosen = torch.randint(len(self.rows[0]), (self.batch,))
        obs, act, reward, following, over = (x[chosen] for x in self.rows)
        alpha = self.log_alpha.detach().exp()
        with torch.no_grad():
            after, logp = self.sample(following)
            pair = torch.cat([following, after], -1)
            best = torch.min(self.targets[0](pair), self.targets[1](pair)).squeeze(1)
            goal = reward + 0.99 * (1 - over) * (best - alpha * logp)
        pair = torch.cat([obs, act], -1)
        for i, critic in enumerate(self.critics):
            self.step(1 + i, (critic(pair).squeeze(1) - goal).pow(2).mean())
        new, logp = self.sample(obs)
        pair = torch.cat([obs, new], -1)
        self.step(0, (alpha * logp - torch.min(self.critics[0](pair), self.critics[1](pair)).squeeze(1)).mean())
        self.step(3, -(self.log_alpha * (logp.detach() - self.acts)).mean())
        with torch.no_grad():
            for critic, target in zip(self.critics, self.targets):
                for new_weight, old_weight in zip(critic.parameters(), target.parameters()):
                    old_weight.lerp_(new_weight, 0.005)
