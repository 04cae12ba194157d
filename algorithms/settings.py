"""Settings of the algorithms: each hyperparameter is written once, here. No torch in sight, so that a config is cheap to read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from algorithms.hyperparameters import Settings, setting
from marl.errors import UserError

LOG_STD, NOISE = -0.7, 0.1
"""How continuous columns, whose range is [-1, 1], are explored at first where neither a setting nor the column say: log deviation where
it is learned, deviation of the noise where there is noise."""
DEVIATION = f"initial log standard deviation of continuous columns, whose range is [-1, 1]; none: as each declares, else {LOG_STD}"
FALLING = "what it falls or rises to linearly; none: where log_std is none, what each declares, else it is learned"
EXPLORING = f"standard deviation of the noise that explores; the range of a column is [-1, 1]; none: as each declares, else {NOISE}"


@dataclass
class Remembering(Settings):
    """What algorithms have whose policies may have memory."""

    memory: str = field(
        default="none", metadata={"options": ("none", "gru", "lstm", "attention"), "help": "between hidden layers and heads"}
    )
    memory_width: int = setting(64, 1, 65_536, "units of the memory")
    memory_length: int = setting(16, 1, 100_000, "ticks before the present that attention looks at")


@dataclass
class Rolled(Remembering):
    """What they have where they learn from rollouts."""

    sequence: int | None = setting(None, 1, 1_000_000, "ticks that a memory is unrolled over in an update; none: the rollout")

    def check(self) -> None:
        """As its parent's; sequences fill a rollout."""
        super().check()
        if self.memory != "none" and self.rollout % (self.sequence or 1):
            raise UserError(f"algorithm.sequence = {self.sequence} ticks: legal are divisors of algorithm.rollout = {self.rollout}")


@dataclass
class Judged(Rolled):
    """What they have where a critic judges the rollouts."""

    critic_hidden: list[int] | None = setting(None, 1, 65_536, "widths of the critic's hidden layers; none: as the policy's")

    def of_critic(self) -> Self:
        """The settings as its networks read them."""
        return self if self.critic_hidden is None else replace(self, hidden=self.critic_hidden)


@dataclass
class Proximal(Judged):
    """What PPO has, whatever its critic sees."""

    epochs: int = setting(4, 1, 1_000, "passes over a rollout")
    minibatches: int = setting(4, 1, 100_000, "gradient steps a pass")
    clip: float = setting(0.2, 0.0, 10.0, "epsilon: the probability ratio is clipped to 1 +- epsilon")
    gae_lambda: float = setting(0.95, 0.0, 1.0, "of the generalised advantage estimator")
    entropy: float = setting(0.0, 0.0, 10.0, "coefficient of the entropy bonus")
    entropy_end: float | None = setting(None, 0.0, 10.0, "what the coefficient falls or rises to linearly over the run; none: it stays")
    entropy_target: float | None = setting(None, -1e6, 1e6, "nats that the coefficient is adapted toward, from algorithm.entropy on")
    entropy_pace: float = setting(0.1, 1e-9, 1e3, "change of the coefficient's logarithm an update and nat off the target")
    cvar: float = setting(1.0, 1e-6, 1.0, "worst share of episodes whose mean return, discounted by gamma, is maximised; 1: all")
    cvar_episodes: int = setting(256, 1, 10_000_000, "latest episodes that say what the worst share is")
    value: float = setting(0.5, 0.0, 100.0, "coefficient of the value loss")
    gradient_norm: float = setting(0.5, 1e-9, 1e9, "largest L2 norm of a gradient")
    log_std: float | None = setting(None, -20.0, 5.0, DEVIATION)
    log_std_end: float | None = setting(None, -20.0, 5.0, FALLING)
    log_std_share: float = setting(1.0, 1e-6, 1.0, "share of the run's updates over which it does")

    def check(self) -> None:
        """As its parent's; the entropy's coefficient has one rule, and an adapted one is moved by factors."""
        super().check()
        if self.entropy_target is None:
            return
        where = f"algorithm.entropy_target = {self.entropy_target:g} nats"
        if self.entropy_end is not None:
            raise UserError(f"{where} with algorithm.entropy_end = {self.entropy_end:g}: legal is one of them")
        if self.entropy == 0:
            raise UserError(f"{where} with algorithm.entropy = 0: legal range of the coefficient it starts from is (0, 10]")


@dataclass
class IPPO(Proximal):
    """Of `algorithms.ippo`."""

    return_scaling: bool = setting(False, 0, 1, "divide returns by their running standard deviation")


@dataclass
class IPPOLagrangian(IPPO):
    """Of `algorithms.ippo_lagrangian`."""

    cost: str | None = field(default=None, metadata={"help": "cost column that is limited; none: the sum of all"})
    cost_limit: float | None = setting(None, -1e12, 1e12, "cost units an episode and agent, in the mean; must be given")
    cost_gamma: float = setting(1.0, 0.0, 1.0, "discount of costs a tick; 1: the cost of an episode, which the limit is on")
    multiplier: float = setting(0.0, 0.0, 1e9, "at the beginning, reward units a cost unit")
    multiplier_lr: float = setting(0.05, 0.0, 1e9, "change of the multiplier an update and cost unit above the limit (integral gain)")
    proportional: float = setting(0.0, 0.0, 1e9, "of the multiplier, a cost unit above the limit")
    derivative: float = setting(0.0, 0.0, 1e9, "of the multiplier, a cost unit by which an episode's cost rose since the last update")


@dataclass
class Replayed(Settings):
    """What algorithms have that learn from a replay."""

    activation: str = field(default="relu", metadata={"options": ("tanh", "relu"), "help": "of hidden layers"})
    anneal: bool = setting(False, 0, 1, "learning rate falls linearly to 0 over the run")
    rollout: int = setting(1, 1, 1_000_000, "ticks of every copy between updates")
    batch: int = setting(256, 1, 1_000_000, "rows an update")
    updates: int = setting(1, 1, 100_000, "updates a rollout")
    replay: int = setting(100_000, 1, 100_000_000, "rows that a part's replay holds")
    warm_up: int = setting(1_000, 0, 100_000_000, "rows collected at random before the first update")

    def check(self) -> None:
        """As its parent's; a replay below the warm-up would never be learned from."""
        super().check()
        if self.warm_up > self.replay:
            raise UserError(f"algorithm.warm_up = {self.warm_up} rows: legal range is [0, {self.replay}], algorithm.replay")


@dataclass
class Prioritised(Replayed):
    """What they have whose rows may be drawn by their errors."""

    priority: float = setting(0.0, 0.0, 10.0, "alpha: rows are drawn in proportion to |error|^alpha; 0: uniformly")
    beta: float = setting(0.4, 0.0, 1.0, "exponent of the weights of rows drawn by priority, which rises linearly to 1 over the run")


HINDSIGHT = "k: k / (k + 1) of the drawn rows have as their goal what was reached later in their episode; 0: none"


@dataclass
class ISAC(Replayed):
    """Of `algorithms.isac`."""

    hindsight: float = setting(0.0, 0.0, 1_000.0, HINDSIGHT)

    tau: float = setting(0.005, 0.0, 1.0, "share of the new critic that enters the target critic")
    n_step: int = setting(1, 1, 1_000, "steps of reward before bootstrapping")
    alpha: float | None = setting(None, 0.0, 1_000.0, "temperature; none: learned toward the target entropy")
    target_entropy: float | None = setting(
        None, -1e6, 1e6, "nats; none: -1 a continuous column, .5 log of the legal choices a discrete one"
    )

    def check(self) -> None:
        """As its parent's; what follows a relabelled row had another goal."""
        super().check()
        check_hindsight(self.hindsight, n_step=self.n_step)


@dataclass
class IA2C(Judged):
    """Of `algorithms.ia2c`."""

    epochs: ClassVar[int] = 1
    lr: float = setting(7e-4, 0.0, 10.0, "learning rate")
    rollout: int = setting(16, 1, 1_000_000, "ticks of every copy between updates")
    gae_lambda: float = setting(0.95, 0.0, 1.0, "of the generalised advantage estimator")
    entropy: float = setting(0.01, 0.0, 10.0, "coefficient of the entropy bonus")
    value: float = setting(0.5, 0.0, 100.0, "coefficient of the value loss")
    gradient_norm: float = setting(0.5, 1e-9, 1e9, "largest L2 norm of a gradient")
    log_std: float | None = setting(None, -20.0, 5.0, DEVIATION)
    return_scaling: bool = setting(False, 0, 1, "divide returns by their running standard deviation")


@dataclass
class Reinforce(Rolled):
    """Of `algorithms.reinforce`."""

    epochs: ClassVar[int] = 1
    lr: float = setting(1e-3, 0.0, 10.0, "learning rate")
    log_std: float | None = setting(None, -20.0, 5.0, DEVIATION)
    standardise: bool = setting(True, 0, 1, "subtract the running mean of returns and divide by their running standard deviation")


@dataclass
class Exploring(Prioritised, Remembering):
    """What algorithms have that take a random choice with probability epsilon and the best one else."""

    serves: ClassVar[str] = "choices"
    double: bool = setting(True, 0, 1, "the network that learns picks the next choice, the target network values it")
    dueling: bool = setting(False, 0, 1, "a head for the value and one for the advantages")
    epsilon: float = setting(1.0, 0.0, 1.0, "probability of a random choice at the beginning")
    epsilon_end: float = setting(0.05, 0.0, 1.0, "probability of a random choice after epsilon_steps")
    epsilon_steps: int = setting(50_000, 1, 1_000_000_000, "env steps over which epsilon falls linearly")
    sequence: int = setting(16, 1, 1_000_000, "ticks that a memory is unrolled over and learned from; `batch` counts their rows")
    burn_in: int = setting(4, 0, 1_000_000, "ticks before them that only bring the memory up to date")

    def check(self) -> None:
        """As its parent's; a memory learns from sequences, which are drawn uniformly."""
        super().check()
        if self.priority and self.memory != "none":
            raise UserError(f"algorithm.priority = {self.priority:g} with algorithm.memory = {self.memory!r}: legal is 0")


@dataclass
class IDQN(Exploring):
    """Of `algorithms.idqn`."""

    target: int = setting(200, 1, 1_000_000, "updates after which the target network is set to the one that learns")
    n_step: int = setting(1, 1, 1_000, "steps of reward before bootstrapping")
    huber: float | None = setting(None, 1e-9, 1e9, "delta of the Huber loss; none: squared error")
    tau: float = setting(1.0, 0.0, 1.0, "share of the network that enters the target network every `target` updates")
    gradient_norm: float | None = setting(None, 1e-9, 1e9, "largest L2 norm of a gradient; none: no bound")
    standardise: bool = setting(False, 0, 1, "rewards less their running mean over their running deviation")
    hindsight: float = setting(0.0, 0.0, 1_000.0, HINDSIGHT)

    def check(self) -> None:
        """As its parent's; Tianshou's Huber loss takes no weights, and what follows a relabelled row had another goal."""
        super().check()
        if self.priority and self.huber is not None:
            raise UserError(f"algorithm.huber = {self.huber:g} with algorithm.priority = {self.priority:g}: legal is none")
        check_hindsight(self.hindsight, n_step=self.n_step, priority=self.priority, memory=self.memory)


def check_hindsight(goals: float, n_step: int, priority: float = 0.0, memory: str = "none") -> None:
    """Raise UserError where rows that are relabelled cannot be used so."""
    if goals and n_step > 1:
        raise UserError(f"algorithm.n_step = {n_step} with algorithm.hindsight = {goals:g}: legal is 1")
    if goals and (priority or memory != "none"):
        what = f"priority = {priority:g}" if priority else f"memory = {memory!r}"
        raise UserError(f"algorithm.hindsight = {goals:g} with algorithm.{what}: legal is 0")


@dataclass
class Rainbow(Prioritised):
    """Of `algorithms.rainbow`."""

    serves: ClassVar[str] = "choices"
    priority: float = setting(0.5, 0.0, 10.0, "alpha: rows are drawn in proportion to |error|^alpha; 0: uniformly")
    n_step: int = setting(3, 1, 1_000, "steps of reward before bootstrapping")
    target: int = setting(200, 1, 1_000_000, "updates after which the target network is set to the one that learns")
    atoms: int = setting(51, 2, 10_001, "values that a return's distribution is spread over")
    lowest: float = setting(-10.0, -1e9, 1e9, "the lowest of them, in the units of the discounted return")
    highest: float = setting(10.0, -1e9, 1e9, "the highest of them")
    noise: float = setting(0.5, 0.0, 10.0, "sigma_0: how noisy the weights of the heads begin, in place of epsilon")

    def check(self) -> None:
        """As its parent's; the atoms lie between two different values."""
        super().check()
        if not self.lowest < self.highest:
            raise UserError(f"algorithm.lowest = {self.lowest:g} of the atoms: legal is below algorithm.highest = {self.highest:g}")


@dataclass
class ITD3(Replayed):
    """Of `algorithms.itd3`."""

    serves: ClassVar[str] = "continuous"
    tau: float = setting(0.005, 0.0, 1.0, "share of the new networks that enters the target networks")
    noise: float | None = setting(None, 0.0, 10.0, EXPLORING)
    target_noise: float = setting(0.2, 0.0, 10.0, "standard deviation of the noise on target actions")
    noise_clip: float = setting(0.5, 0.0, 10.0, "largest noise on a target action; 0: no bound")
    delay: int = setting(2, 1, 1_000, "updates of the critics for one of the actor")
    n_step: int = setting(1, 1, 1_000, "steps of reward before bootstrapping")


@dataclass
class MAPPO(Proximal):
    """Of `algorithms.mappo`."""

    critic: str = field(
        default="state",
        metadata={
            "options": ("state", "pooled", "attention"),
            "help": "of the global state, or of the members' observations whatever their number",
        },
    )
    heads: int = setting(4, 1, 1_024, "of the critic's attention; they share the last hidden layer's units")
    normalise_values: bool = setting(True, 0, 1, "the critic learns returns less their running mean over their running deviation")
    huber: float | None = setting(1.0, 1e-9, 1e9, "delta of the critic's Huber loss; none: half the squared error")
    value: float = setting(1.0, 0.0, 100.0, "coefficient of the value loss")

    def check(self) -> None:
        """As its parent's; a critic of members embeds them in the last hidden layer."""
        super().check()
        name, widths = ("hidden", self.hidden) if self.critic_hidden is None else ("critic_hidden", self.critic_hidden)
        where = f"algorithm.critic = {self.critic!r} with algorithm.{name} = {widths}"
        if self.critic != "state" and not widths:
            raise UserError(f"{where}: at least one layer is needed")
        if self.critic == "attention" and widths[-1] % self.heads:
            raise UserError(f"{where}: algorithm.heads = {self.heads} must divide the last layer's units")


@dataclass
class VDN(Exploring):
    """Of `algorithms.vdn`."""

    joint: ClassVar[bool] = True
    replay: int = setting(200_000, 1, 100_000_000, "agent rows that a part's replay holds")
    batch: int = setting(64, 1, 1_000_000, "team rows an update")
    standardise: bool = setting(False, 0, 1, "rewards less their running mean over their running deviation")
    target: int = setting(1, 1, 1_000_000, "updates after which a share of the networks enters the target networks")
    tau: float = setting(0.01, 0.0, 1.0, "that share; 1: the target networks are set to those that learn")
    gradient_norm: float = setting(10.0, 1e-9, 1e9, "largest L2 norm of a gradient")
    n_step: int = setting(1, 1, 1_000, "steps of reward before bootstrapping")

    def check(self) -> None:
        """As its parent's; what follows a row of a sequence is one tick on."""
        super().check()
        if self.n_step > 1 and self.memory != "none":
            raise UserError(f"algorithm.n_step = {self.n_step} with algorithm.memory = {self.memory!r}: legal is 1")


@dataclass
class QMIX(VDN):
    """Of `algorithms.qmix`."""

    embed: int = setting(32, 1, 65_536, "units of the mixing network")
    hypernet: int = setting(64, 1, 65_536, "hidden units of the networks that give its weights")


@dataclass
class MADDPG(Replayed):
    """Of `algorithms.maddpg`."""

    replay: int = setting(200_000, 1, 100_000_000, "agent rows that a part's replay holds")
    standardise: bool = setting(False, 0, 1, "rewards less their running mean over their running deviation")
    tau: float = setting(0.01, 0.0, 1.0, "share of the new networks that enters the target networks")
    noise: float | None = setting(None, 0.0, 10.0, EXPLORING)
    target_noise: float = setting(0.0, 0.0, 10.0, "standard deviation of the noise on target actions")
    noise_clip: float = setting(0.5, 0.0, 10.0, "largest noise on a target action")
    temperature: float = setting(1.0, 1e-3, 100.0, "T of the softmax whose gradient a drawn choice has")
    logit_penalty: float = setting(1e-3, 0.0, 100.0, "coefficient of the mean square of a Discrete column's logits")
    delay: int = setting(1, 1, 1_000, "updates of the critics for one of the actor")
    gradient_norm: float = setting(10.0, 1e-9, 1e9, "largest L2 norm of a gradient")


@dataclass
class MATD3(MADDPG):
    """Of `algorithms.matd3`."""

    target_noise: float = setting(0.2, 0.0, 10.0, "standard deviation of the noise on target actions")
    delay: int = setting(2, 1, 1_000, "updates of the critics for one of the actor")


@dataclass
class Hybrid(IPPO):
    """Of `algorithms.hybrid`."""

    serves: ClassVar[str] = "mixed"
    column: str | None = field(default=None, metadata={"help": "continuous column that values choose; none: the game's only one"})
    levels: int = setting(15, 2, 10_000, "levels of that column, spread evenly over its scale")
    learner: str = field(default="both", metadata={"options": ("both", "values", "policy"), "help": "what learns, for ablations"})
    route: str = field(
        default="both", metadata={"options": ("both", "values", "policy"), "help": "whose losses' gradients move the shared encoder"}
    )
    replay: int = setting(50_000, 1, 100_000_000, "rows that the values learn from")
    batch: int = setting(256, 1, 1_000_000, "rows an update of the values")
    value_updates: int = setting(16, 1, 100_000, "updates of the values a rollout")
    double: bool = setting(True, 0, 1, "the network that learns picks the next level, the target network values it")
    target: int = setting(100, 1, 1_000_000, "updates of the values after which the target network is set to the one that learns")
    epsilon: float = setting(1.0, 0.0, 1.0, "probability of a random level at the beginning")
    epsilon_end: float = setting(0.05, 0.0, 1.0, "probability of a random level after epsilon_steps")
    epsilon_steps: int = setting(50_000, 1, 1_000_000_000, "env steps over which epsilon falls linearly")

    def check(self) -> None:
        """As its parent's; the encoder is the hidden layers, and a memory."""
        super().check()
        if not self.hidden:
            raise UserError("algorithm.hidden = []: at least one layer is needed, the encoder")
        if self.critic_hidden is not None:
            raise UserError(f"algorithm.critic_hidden = {self.critic_hidden}: legal is none, the critic stands on the shared encoder")
        if "both" not in (self.learner, self.route) and self.learner != self.route:
            raise UserError(f"algorithm.route = {self.route!r} with algorithm.learner = {self.learner!r}: legal are both, {self.learner}")
