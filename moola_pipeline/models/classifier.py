"""The classifier: is this span an expansion, exactly where, and which type came before it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from moola_pipeline.features.schema import N_FEATURES
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.windows.context import BARS_BEFORE_START
from moola_pipeline.windows.span_inputs import N_BEFORE, N_INPUTS
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, WINDOW_BARS

MAX_INPUT = 4.0
"""Spreads beyond which an input of the heads is cut: a rare bar must not shout all others down."""


class SpanTensors(NamedTuple):
    """Spans in a batch of windows, all turned so that they point up; every tensor is (N,).

    Attributes:
        window: Index of the window in the batch.
        start, end: First and last bar, 0..104.
        inputs: (N, 78) what `windows.span_inputs` measures of them.
    """

    window: Tensor
    start: Tensor
    end: Tensor
    inputs: Tensor


class Heads(NamedTuple):
    """What the classifier says of spans.

    Attributes:
        expansion: (N,) logit that the span is an expansion.
        retracement: (N,) logit that a retracement, not a consolidation, came before it.
        pointer: (N, 2) center and length, shares of 105 bars.
        onset: (N,) logit that an expansion began where the span begins, whether it is over or not.
    """

    expansion: Tensor
    retracement: Tensor
    pointer: Tensor
    onset: Tensor


class Dropout(nn.Module):
    """Dropout that draws from a generator of its own, so that trainings side by side stay apart.

    Attributes:
        share: Of numbers that are set to 0 while training; the others are scaled up.
        generator: Where the draws come from; torch's own if None.

    Raises:
        ValueError: If the share does not lie in [0, 1).
    """

    def __init__(self, share: float):
        super().__init__()
        if not 0 <= share < 1:
            raise ValueError(f"dropout must be a share of 0 to below 1, got {share}")
        self.share = share
        self.generator: torch.Generator | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Any shape; unchanged in evaluation."""
        if not self.training or not self.share:
            return inputs
        kept = torch.empty_like(inputs).bernoulli_(1 - self.share, generator=self.generator)
        return inputs * kept.div_(1 - self.share)


class Head(nn.Module):
    """Two layers with dropout before each; (..., n_inputs) to (..., n_outputs)."""

    def __init__(self, n_inputs: int, n_units: int, dropout: float, n_outputs: int):
        super().__init__()
        self.dropout = Dropout(dropout)
        self.inner = nn.Linear(n_inputs, n_units)
        self.outer = nn.Linear(n_units, n_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits or shares, before any squashing."""
        return self.outer(self.dropout(torch.relu(self.inner(self.dropout(inputs)))))


class Classifier(nn.Module):
    """Encoder with four heads: per-bar logits, the span's judge, its pointer, its type.

    The heads of a span read the encoder's states and what is measured of the span directly. The
    type is read from what lies before the span, whatever the span is like. The judge answers twice:
    is this span a whole expansion, and is it the beginning of one. A view may end before its window
    does: the states then know nothing of the bars that were cut off.
    """

    input_center: Tensor
    input_scale: Tensor

    def __init__(self, encoder: Encoder, head_units: int, dropout: float):
        super().__init__()
        states = 2 * encoder.hidden_units
        self.encoder = encoder
        self.head_units, self.dropout_share = head_units, dropout
        self.register_buffer("input_center", torch.zeros(N_INPUTS))
        self.register_buffer("input_scale", torch.ones(N_INPUTS))
        self.dropout = Dropout(dropout)
        self.bar_head = nn.Linear(states, 1)
        self.judge_head = Head(4 * states + N_INPUTS + N_FEATURES, head_units, dropout, 2)
        self.pointer_head = Head(3 * states + N_INPUTS, head_units // 2, dropout, 2)
        self.type_head = Head(2 * states + N_BEFORE + N_FEATURES, head_units, dropout, 1)

    def set_input_scale(self, inputs: Tensor) -> None:
        """Take center and scale of what is measured of spans from training spans, (n, 78)."""
        self.input_center.copy_(inputs.mean(dim=0))
        self.input_scale.copy_(inputs.std(dim=0, correction=0).clamp_min(1e-3))

    def set_dropout(self, share: float) -> None:
        """Share of states, inputs and units that the heads drop while they learn."""
        for module in self.modules():
            if isinstance(module, Dropout):
                module.share = share

    def draw_from(self, generator: torch.Generator | None) -> None:
        """Let dropout draw from a generator, which must be on the device of the weights."""
        for module in self.modules():
            if isinstance(module, Dropout):
                module.generator = generator

    def set_priors(self, bar: float, judge: float, retracement: float, onset: float = 0.5) -> None:
        """Start each classification head at the prior of the batches that the loss will see."""
        for layer, priors in (
            (self.bar_head, [bar]),
            (self.judge_head.outer, [judge, onset]),
            (self.type_head.outer, [retracement]),
        ):
            nn.init.zeros_(layer.weight)
            with torch.no_grad():
                layer.bias.copy_(torch.logit(torch.tensor(priors), eps=1e-4))
        nn.init.zeros_(self.pointer_head.outer.weight)
        nn.init.zeros_(self.pointer_head.outer.bias)

    def bar_logits(self, states: Tensor) -> Tensor:
        """Logit that each bar of the window belongs to an expansion that points up: (B, T)."""
        return self.bar_head(self.dropout(states[:, CONTEXT_BARS:]))[..., 0]

    def forward(self, features: Tensor, spans: SpanTensors) -> tuple[Tensor, Heads]:
        """Read windows and judge spans in them.

        Args:
            features: (B, V, F) raw features, mirrored where the span points down; V is 125, or less
                where the windows are cut off.
            spans: N spans in these windows.

        Returns:
            Per-bar logits (B, V - 20), and what is said of each span.
        """
        states = self.encoder(features)  # (B, V, 2H)
        return self.bar_logits(states), self.read_spans(features, states, spans)

    def read_spans(self, features: Tensor, states: Tensor, spans: SpanTensors) -> Heads:
        """Judge spans from states already computed; shapes as in `forward`."""
        first, last = spans.start + CONTEXT_BARS, spans.end + CONTEXT_BARS
        sums = torch.cat([torch.zeros_like(states[:, :1]), states.cumsum(dim=1)], dim=1)  # (B, V + 1, 2H)
        row = spans.window
        inside = (sums[row, last + 1] - sums[row, first]) / (spans.end - spans.start + 1)[:, None]
        since = (first - BARS_BEFORE_START).clamp_min(0)
        before = (sums[row, first] - sums[row, since]) / (first - since)[:, None]
        eve = states[row, first - 1]
        inputs = (spans.inputs - self.input_center) / self.input_scale
        inputs = inputs.clamp(-MAX_INPUT, MAX_INPUT)
        eve_features = self.encoder.standardized(features[row, first - 1])
        span = torch.cat([inside, eve, states[row, last], inputs], dim=1)
        judged = self.judge_head(torch.cat([span, before, eve_features], dim=1))
        kind = self.type_head(torch.cat([eve, before, inputs[:, :N_BEFORE], eve_features], dim=1))[:, 0]
        shift = 0.1 * self.pointer_head(span)
        center = (spans.start + spans.end + 1) / (2 * WINDOW_BARS) + shift[:, 0]
        length = (spans.end - spans.start + 1) / WINDOW_BARS + shift[:, 1]
        return Heads(judged[:, 0], kind, torch.stack([center, length], dim=1), judged[:, 1])


def n_parameters(module: nn.Module) -> int:
    """Numbers that a network holds: its weights, and the scales fitted for its inputs."""
    return sum(tensor.numel() for tensor in module.state_dict().values())
