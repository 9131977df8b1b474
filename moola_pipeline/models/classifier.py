"""The classifier: encoder and heads that score a span, refine its ends and predict its type."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from moola_pipeline.features.schema import N_FEATURES
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.windows.context import BARS_BEFORE_START
from moola_pipeline.windows.span_inputs import N_BEFORE, N_INPUTS
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, WINDOW_BARS

MAX_INPUT = 4.0
"""Standard deviations at which inputs of the heads are clipped, so that outliers do not dominate."""
UNSEEN_SCALE = 1e9
"""Divisor that hides a number from the network."""
QUANTILE_ROWS = 5_000
"""Most training spans from which quantiles are computed."""
N_PIECES, MAX_PIECES = 4, 16
"""Pieces of the piecewise linear encoding of each input (Gorishniy et al., 2022)."""


class SpanTensors(NamedTuple):
    """Spans in a batch of windows, which are mirrored if they point down; every tensor is (N,).

    Attributes:
        window: Index of the window in the batch.
        start, end: First and last bar, 0..104.
        inputs: (N, 78) features of `windows.span_inputs`.
    """

    window: Tensor
    start: Tensor
    end: Tensor
    inputs: Tensor


class Heads(NamedTuple):
    """Outputs of the classifier for spans.

    Attributes:
        expansion: (N,) logit that the span is an expansion.
        retracement: (N,) logit that a retracement, not a consolidation, came before it.
        pointer: (N, 2) center and length, shares of 105 bars.
        onset: (N,) logit that an expansion began at the span's start, finished or not.
    """

    expansion: Tensor
    retracement: Tensor
    pointer: Tensor
    onset: Tensor


class Dropout(nn.Module):
    """Dropout with its own random generator, so that parallel trainings do not share one.

    Attributes:
        share: Share of values set to 0 in training; the others are scaled up.
        generator: Random generator; None: torch's global one.

    Raises:
        ValueError: If the share is not in [0, 1).
    """

    def __init__(self, share: float):
        super().__init__()
        if not 0 <= share < 1:
            raise ValueError(f"dropout must be >= 0 and < 1, got {share}")
        self.share = share
        self.generator: torch.Generator | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Any shape; unchanged in evaluation mode."""
        if not self.training or not self.share:
            return inputs
        return inputs * self._is_kept(inputs).to(inputs.dtype).div_(1 - self.share)

    def _is_kept(self, inputs: Tensor) -> Tensor:
        if inputs.device.type != "cpu":
            return torch.empty_like(inputs).bernoulli_(1 - self.share, generator=self.generator)
        # four 16-bit numbers from each 64-bit one: a third of the time of bernoulli_
        wide = torch.empty(-(-inputs.numel() // 4), dtype=torch.int64)
        drawn = wide.random_(-(2**63), None, generator=self.generator).view(torch.int16)
        return drawn[: inputs.numel()].view(inputs.shape) >= round(self.share * 2**16) - 2**15


class Head(nn.Module):
    """Two layers with dropout before each; (..., n_inputs) to (..., n_outputs)."""

    def __init__(self, n_inputs: int, n_units: int, dropout: float, n_outputs: int):
        super().__init__()
        self.dropout = Dropout(dropout)
        self.inner = nn.Linear(n_inputs, n_units)
        self.outer = nn.Linear(n_units, n_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Linear outputs."""
        return self.outer(self.dropout(torch.relu(self.inner(self.dropout(inputs)))))


class Classifier(nn.Module):
    """Encoder with four heads: bar logits, judge, pointer and type of a span.

    The heads of a span take encoder states and span features. The type head takes only those of the bars
    before the span; in a whole window these states look ahead, too. The judge head has two outputs: is the
    span an expansion (expansion), and did one begin at its start (onset). A view may end before its window,
    and the states depend only on the bars of the view. Judge and type head read each span feature a second
    time, as the share of each of its ranges that lies below it: so they find a threshold as trees do.

    Args:
        encoder: Encodes the windows.
        head_units: Units of judge and type head.
        dropout: Share of the heads' inputs and units that training sets to 0.
        pieces: Number of ranges of a span feature, at most MAX_PIECES; 0 for models of earlier versions.

    Raises:
        ValueError: If `dropout` or `pieces` is out of bounds.
    """

    input_center: Tensor
    input_scale: Tensor
    input_edges: Tensor

    def __init__(self, encoder: Encoder, head_units: int, dropout: float, pieces: int = N_PIECES):
        super().__init__()
        if pieces not in range(MAX_PIECES + 1):
            raise ValueError(f"pieces must be 0 to {MAX_PIECES}, got {pieces}")
        states = 2 * encoder.hidden_units
        self.encoder = encoder
        self.head_units, self.dropout_share, self.pieces = head_units, dropout, pieces
        self.register_buffer("input_center", torch.zeros(N_INPUTS))
        self.register_buffer("input_scale", torch.ones(N_INPUTS))
        if pieces:
            edges = torch.linspace(-MAX_INPUT, MAX_INPUT, pieces + 1)
            self.register_buffer("input_edges", edges[:, None].repeat(1, N_INPUTS))
        self.dropout = Dropout(dropout)
        self.bar_head = nn.Linear(states, 1)
        self.judge_head = Head(4 * states + (1 + pieces) * N_INPUTS + N_FEATURES, head_units, dropout, 2)
        self.pointer_head = Head(3 * states + N_INPUTS, head_units // 2, dropout, 2)
        self.type_head = Head(2 * states + (1 + pieces) * N_BEFORE + N_FEATURES, head_units, dropout, 1)

    def set_input_scale(self, inputs: Tensor) -> None:
        """Set center, scale and pieces of the span features from training spans, (n, 78)."""
        self.input_center.copy_(inputs.mean(dim=0))
        self.input_scale.copy_(inputs.std(dim=0, correction=0).clamp_min(1e-3))
        if self.pieces:
            some = inputs[:: -(-len(inputs) // QUANTILE_ROWS)]
            self.input_edges.copy_(torch.quantile(some, torch.linspace(0, 1, self.pieces + 1), dim=0))

    def hide_inputs(self) -> None:
        """Let the heads see none of the span features, whatever their values."""
        self.input_scale.fill_(UNSEEN_SCALE)
        if self.pieces:
            self.input_edges.fill_(UNSEEN_SCALE)

    def set_dropout(self, share: float) -> None:
        """Set the dropout of the heads."""
        for module in self.modules():
            if isinstance(module, Dropout):
                module.share = share

    def draw_from(self, generator: torch.Generator | None) -> None:
        """Set the generator of dropout, which must be on the device of the weights."""
        for module in self.modules():
            if isinstance(module, Dropout):
                module.generator = generator

    def set_priors(self, bar: float, judge: float, retracement: float, onset: float = 0.5) -> None:
        """Initialize each classification head to predict its prior, the share of positive targets."""
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
        """Encode windows and score spans in them.

        Args:
            features: (B, V, F) raw features, mirrored if the spans point down; V is 125, or less if
                the windows are cut off.
            spans: N spans in these windows.

        Returns:
            Bar logits (B, V - 20), and the outputs for each span.
        """
        states = self.encoder(features)  # (B, V, 2H)
        return self.bar_logits(states), self.read_spans(features, states, spans)

    def read_spans(self, features: Tensor, states: Tensor, spans: SpanTensors) -> Heads:
        """Score spans, given the states; shapes as in `forward`."""
        first, last = spans.start + CONTEXT_BARS, spans.end + CONTEXT_BARS
        sums = torch.cat([torch.zeros_like(states[:, :1]), states.cumsum(dim=1)], dim=1)  # (B, V + 1, 2H)
        row = spans.window
        inside = (sums[row, last + 1] - sums[row, first]) / (spans.end - spans.start + 1)[:, None]
        since = (first - BARS_BEFORE_START).clamp_min(0)
        before = (sums[row, first] - sums[row, since]) / (first - since)[:, None]
        previous = states[row, first - 1]
        inputs = (spans.inputs - self.input_center) / self.input_scale
        inputs = inputs.clamp(-MAX_INPUT, MAX_INPUT)
        previous_features = self.encoder.standardized(features[row, first - 1])
        span = torch.cat([inside, previous, states[row, last], inputs], dim=1)
        pieces = self._in_pieces(spans.inputs)
        scores = self.judge_head(torch.cat([span, before, previous_features, pieces.flatten(1)], dim=1))
        pieces_before = pieces[..., :N_BEFORE].flatten(1)
        type_inputs = [previous, before, inputs[:, :N_BEFORE], previous_features, pieces_before]
        retracement = self.type_head(torch.cat(type_inputs, dim=1))[:, 0]
        shift = 0.1 * self.pointer_head(span)
        center = (spans.start + spans.end + 1) / (2 * WINDOW_BARS) + shift[:, 0]
        length = (spans.end - spans.start + 1) / WINDOW_BARS + shift[:, 1]
        return Heads(scores[:, 0], retracement, torch.stack([center, length], dim=1), scores[:, 1])

    def _in_pieces(self, inputs: Tensor) -> Tensor:
        """Share of each piece that lies below each input, less one half: (N, 78) to (N, pieces, 78)."""
        if not self.pieces:
            return inputs[:, None][:, :0]
        low, width = self.input_edges[:-1], self.input_edges.diff(dim=0).clamp_min(1e-3)
        return ((inputs[:, None] - low) / width).clamp(0, 1) - 0.5


def n_parameters(module: nn.Module) -> int:
    """Number of weights of a network, including the fitted scales of its inputs."""
    return sum(tensor.numel() for tensor in module.state_dict().values())
