"""Memory: what a network keeps of the observations before, as one interface for every kind.

State rows [n, S] are flat numbers, 0 where an episode begins, so that buffers and checkpoints hold them as they are.
`step` is one tick, `unroll` is many; the two are the same function, gradients through the unrolled ticks included
(truncated backpropagation through time, Williams and Peng 1990).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Memory(nn.Module):
    """Features [n, F] and state [n, S] -> output [n, W] and the next state. `W` is `width`, `S` is `state_width`."""

    width: int
    state_width: int
    anchor: Tensor

    def __init__(self, width: int, state_width: int) -> None:
        super().__init__()
        self.width, self.state_width = width, state_width
        self.register_buffer("anchor", torch.zeros(0), persistent=False)

    def initial(self, n: int) -> Tensor:
        """States of n lanes whose episode begins, [n, S]."""
        return self.anchor.new_zeros(n, self.state_width)

    def step(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(output [n, W], next state [n, S])."""
        raise NotImplementedError

    def unroll(self, features: Tensor, state: Tensor, reset: Tensor, every: bool = False) -> tuple[Tensor, Tensor]:
        """(outputs [T, n, W], state after the last tick [n, S]; with `every`, after each [T, n, S]).

        `features` [T, n, F], `state` [n, S] before the first; where reset [T, n] an episode begins, and the state is initial.
        """
        outputs, states = [], []
        for row, begins in zip(features, reset.unsqueeze(2)):
            out, state = self.step(row, state.masked_fill(begins, 0.0))
            outputs.append(out)
            states.append(state)
        return torch.stack(outputs), torch.stack(states) if every else state


class GRU(Memory):
    """A gated recurrent unit (Cho et al. 2014): the state is its output."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(width, width)
        self.cell = nn.GRUCell(inputs, width)
        _orthogonal(self.cell)

    def step(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(h', h')."""
        out: Tensor = self.cell(features, state)
        return out, out


class LSTM(Memory):
    """A long short-term memory (Hochreiter and Schmidhuber 1997): the state is [output | cell].

    Forget gates begin open, at a bias of 1 (Gers, Schmidhuber and Cummins 2000).
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(width, 2 * width)
        self.cell = nn.LSTMCell(inputs, width)
        _orthogonal(self.cell)
        with torch.no_grad():
            self.cell.bias_ih[width : 2 * width] = 1.0

    def step(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(h', [h' | c'])."""
        h, c = state.split(self.width, 1)
        pair = self.cell(features, (h.contiguous(), c.contiguous()))
        return pair[0], torch.cat(pair, 1)


class Attention(Memory):
    """Attention over the present row and the `length` rows before it: e_t = E x_t,

    w_a = softmax_a(q(e_t) . k(e_{t-a}) / sqrt(W) + b_a),  out = tanh(M [e_t | sum_a w_a v(e_{t-a})]),  a = 0 .. length,
    the scaled dot product of Vaswani et al. (2017) with a learned bias for every age, joined as by Luong et al. (2015).
    Only rows of the same episode are attended to. The state is [e_{t-length} | ... | e_{t-1} | how many of them there are].
    """

    def __init__(self, inputs: int, width: int, length: int) -> None:
        super().__init__(width, length * width + 1)
        self.length = length
        self.embed, self.mix = nn.Linear(inputs, width), nn.Linear(2 * width, width)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.age = nn.Parameter(torch.zeros(length + 1))
        for layer in (self.embed, self.mix):
            nn.init.orthogonal_(layer.weight, math.sqrt(2.0))
            nn.init.zeros_(layer.bias)

    def step(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One tick of `unroll`."""
        reset = torch.zeros(1, len(features), dtype=torch.bool, device=features.device)
        out, state = self.unroll(features.unsqueeze(0), state, reset)
        return out.squeeze(0), state

    def unroll(self, features: Tensor, state: Tensor, reset: Tensor, every: bool = False) -> tuple[Tensor, Tensor]:
        """As its parent's, all ticks at once: tick t attends to a window of the rows."""
        ticks, n = features.shape[:2]
        present = self.embed(features)
        past = state[:, :-1].view(n, self.length, self.width).transpose(0, 1)
        rows = torch.cat([past, present])
        held = self._held(state[:, -1], reset)
        window = torch.arange(self.length, -1, -1, device=held.device)  # oldest first
        known = window <= held.unsqueeze(2)
        keys, values = (layer(rows).unfold(0, self.length + 1, 1) for layer in (self.key, self.value))  # [T, n, W, H + 1]
        score = torch.einsum("tnw,tnwa->tna", self.query(present), keys) / math.sqrt(self.width) + self.age[window]
        weight = score.masked_fill(~known, -torch.inf).softmax(2)
        found = torch.einsum("tna,tnwa->tnw", weight, values)
        out = torch.tanh(self.mix(torch.cat([present, found], 2)))
        begin = 0 if every else ticks - 1
        kept = rows.unfold(0, self.length + 1, 1)[begin:, :, :, 1:].masked_fill(~known[begin:, :, None, 1:], 0.0)
        states = torch.cat([kept.transpose(2, 3).flatten(2), (held[begin:] + 1.0).clamp_max(self.length).unsqueeze(2)], 2)
        return out, states if every else states[0]

    def _held(self, count: Tensor, reset: Tensor) -> Tensor:
        """Rows of the episode before each tick, at most `length`, [T, n]."""
        tick = torch.arange(len(reset), device=reset.device).unsqueeze(1)
        began = torch.where(reset, tick, -1).cummax(0).values
        return torch.where(began < 0, count + tick, (tick - began).to(count.dtype)).clamp_max(float(self.length))


def memory_of(kind: str, inputs: int, width: int, length: int) -> Memory:
    """A memory of one of the kinds that `algorithms.settings` names."""
    if kind == "attention":
        return Attention(inputs, width, length)
    return {"gru": GRU, "lstm": LSTM}[kind](inputs, width)


def _orthogonal(cell: nn.RNNCellBase) -> None:
    """Orthogonal weights, zero biases (Saxe et al. 2014): of each gate's recurrent matrix, of the inputs' as a whole."""
    nn.init.orthogonal_(cell.weight_ih)
    for gate in cell.weight_hh.detach().chunk(cell.weight_hh.shape[0] // cell.hidden_size):
        nn.init.orthogonal_(gate)
    nn.init.zeros_(cell.bias_ih)
    nn.init.zeros_(cell.bias_hh)
