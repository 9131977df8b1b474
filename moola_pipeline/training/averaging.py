"""Weight averaging: a network whose weights follow those of the one that learns."""

import copy
from typing import Generic, TypeVar

import torch

Network = TypeVar("Network", bound=torch.nn.Module)


class Averaging(Generic[Network]):
    """An exponential moving average of a network's weights; without decay, the network itself.

    The average follows quickly at first: its decay is at most (1 + n) / (10 + n) after n steps, so
    that it does not hold on to where training began.

    Attributes:
        network: What is judged and kept.

    Source:
        Polyak and Juditsky (1992), SIAM J. Control Optim. 30(4); the warm-up as in TensorFlow's
        ExponentialMovingAverage.
    """

    def __init__(self, learning: Network, decay: float):
        self.learning, self.decay, self.n_steps = learning, decay, 0
        self.network = copy.deepcopy(learning) if decay else learning

    @torch.no_grad()
    def step(self) -> None:
        """Follow one step of the network that learns."""
        if not self.decay:
            return
        self.n_steps += 1
        decay = min(self.decay, (1 + self.n_steps) / (10 + self.n_steps))
        for mean, now in zip(self.network.parameters(), self.learning.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)

    def state_dict(self) -> dict[str, object]:
        """The average, where it is not the network that learns itself."""
        return {"n_steps": self.n_steps, "network": self.network.state_dict() if self.decay else {}}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Follow on from that state."""
        self.n_steps = int(str(state_dict["n_steps"]))
        if self.decay:
            self.network.load_state_dict(state_dict["network"])  # pyright: ignore[reportArgumentType]
