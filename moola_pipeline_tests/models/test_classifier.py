"""The heads: their priors, their inputs, and the number of parameters."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from moola_pipeline.features.schema import N_FEATURES
from moola_pipeline.models.classifier import Classifier, Dropout, Head, Heads, SpanTensors, n_parameters
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.training.finetune import FinetuneSettings
from moola_pipeline.training.pretrain import PretrainSettings
from moola_pipeline.windows.context import BARS_BEFORE_START
from moola_pipeline.windows.span_inputs import N_BEFORE, N_INPUTS
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, WINDOW_BARS, decode_span, encode_span

torch.set_num_threads(1)


def random_classifier(dropout: float = 0.0) -> Classifier:
    torch.manual_seed(0)
    classifier = Classifier(Encoder(8), 8, dropout).eval()
    classifier.set_input_scale(torch.randn(50, N_INPUTS))
    return classifier


def random_input(n_windows: int = 3, seed: int = 1) -> torch.Tensor:
    return torch.randn(n_windows, 125, N_FEATURES, generator=torch.Generator().manual_seed(seed))


def made_spans(rows: list[tuple[int, int, int]]) -> SpanTensors:
    window, start, end = (torch.tensor(column) for column in zip(*rows, strict=True))
    return SpanTensors(window, start, end, torch.linspace(-1, 1, N_INPUTS * len(rows)).reshape(-1, N_INPUTS))


SPANS = made_spans([(0, 0, 4), (0, 30, 44), (2, 74, 104), (1, 50, 50)])


def test_parameters_of_a_small_network_counted_by_hand():
    f, h, u = N_FEATURES, 8, 4
    lstm = 2 * (4 * h * f + 4 * h * h + 2 * 4 * h)
    judge = (4 * 2 * h + 5 * 78 + f) * u + u + 2 * u + 2
    pointer = (3 * 2 * h + 78) * 2 + 2 + 2 * 2 + 2
    kind = (2 * 2 * h + 5 * 53 + f) * u + u + u + 1
    scales = 2 * f + (2 + 5) * 78

    counted = n_parameters(Classifier(Encoder(h), u, 0.5))
    assert counted == f + lstm + (2 * h + 1) + judge + pointer + kind + scales


def test_the_default_network_has_at_most_100_000_parameters():
    classifier = Classifier(Encoder(PretrainSettings().hidden_units), FinetuneSettings().head_units, 0.5)

    assert n_parameters(classifier) <= 100_000


def test_heads_start_at_the_prior_for_any_input():
    classifier = random_classifier()
    classifier.set_priors(bar=0.1, judge=0.3, retracement=0.45)
    with torch.no_grad():
        bars, heads = classifier(random_input(), SPANS)

    assert torch.sigmoid(bars).numpy() == pytest.approx(np.full((3, WINDOW_BARS), 0.1), abs=1e-6)
    assert torch.sigmoid(heads.expansion).numpy() == pytest.approx(np.full(4, 0.3), abs=1e-6)
    assert torch.sigmoid(heads.retracement).numpy() == pytest.approx(np.full(4, 0.45), abs=1e-6)


@pytest.mark.parametrize("prior", [0.0, 1.0])
def test_a_prior_of_0_or_1_gives_a_finite_logit(prior: float):
    classifier = random_classifier()
    classifier.set_priors(prior, prior, prior)
    with torch.no_grad():
        bars, heads = classifier(random_input(), SPANS)

    assert torch.isfinite(bars).all() and torch.isfinite(heads.expansion).all()


def test_the_pointer_starts_at_the_proposed_span():
    classifier = random_classifier()
    classifier.set_priors(0.5, 0.5, 0.5)
    with torch.no_grad():
        pointer = classifier(random_input(), SPANS)[1].pointer.numpy()

    assert pointer == pytest.approx(np.stack(encode_span(SPANS.start.numpy(), SPANS.end.numpy()), axis=1))
    start, end = decode_span(pointer[:, 0], pointer[:, 1])
    assert start.tolist() == SPANS.start.tolist()
    assert end.tolist() == SPANS.end.tolist()


def test_two_passes_in_training_mode_differ():
    classifier = random_classifier(dropout=0.5).train()
    with torch.no_grad():
        first, second = classifier(random_input(), SPANS), classifier(random_input(), SPANS)

    assert not torch.equal(first[0], second[0])
    for one, other in zip(first[1], second[1], strict=True):
        assert not torch.equal(one, other)


def test_two_passes_in_evaluation_mode_are_equal():
    classifier = random_classifier(dropout=0.5)
    with torch.no_grad():
        first, second = classifier(random_input(), SPANS), classifier(random_input(), SPANS)

    assert torch.equal(first[0], second[0])
    assert all(torch.equal(one, other) for one, other in zip(first[1], second[1], strict=True))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_dropout_zeroes_its_share_and_scales_up_the_rest(share: float):
    dropout = Dropout(share)
    dropout.generator = torch.Generator().manual_seed(5)
    out = dropout.train()(torch.ones(1001, 999))
    assert out.unique().tolist() == pytest.approx([0, 1 / (1 - share)])
    n = out.numel()
    assert abs(float((out == 0).sum()) - share * n) < 5 * (share * (1 - share) * n) ** 0.5
    neighbors = (out[:, 1:] == 0) & (out[:, :-1] == 0)
    assert float(neighbors.float().mean()) == pytest.approx(share**2, abs=0.003)


def test_a_head_drops_inputs_and_units():
    head = Head(200, 50, 0.5, 1).train()
    inputs = torch.ones(1, 200, requires_grad=True)
    head(inputs).backward()

    assert inputs.grad is not None
    assert 50 < int((inputs.grad == 0).sum()) < 150
    assert int((head.outer.weight.grad == 0).sum()) > 10


def test_outputs_for_a_span_equal_a_plain_loop():
    classifier, features = random_classifier(), random_input()
    with torch.no_grad():
        states = classifier.encoder(features)
        heads = classifier.read_spans(features, states, SPANS)
        for i in range(len(SPANS.window)):
            w = int(SPANS.window[i])
            first, last = int(SPANS.start[i]) + CONTEXT_BARS, int(SPANS.end[i]) + CONTEXT_BARS
            own, previous = states[w], states[w, first - 1]
            inside = torch.stack([own[t] for t in range(first, last + 1)]).mean(dim=0)
            since = max(first - BARS_BEFORE_START, 0)
            before = torch.stack([own[t] for t in range(since, first)]).mean(dim=0)
            inputs = ((SPANS.inputs[i] - classifier.input_center) / classifier.input_scale).clamp(-4, 4)
            span = torch.cat([inside, previous, own[last], inputs])
            bar = classifier.encoder.standardized(features[w, first - 1])
            given = torch.tensor(encode_span(SPANS.start[i].numpy(), SPANS.end[i].numpy()))

            edges = classifier.input_edges
            parts = [(SPANS.inputs[i] - low) / (high - low) for low, high in pairwise(edges)]
            pieces = torch.stack(parts).clamp(0, 1) - 0.5  # (4, 78)
            scores = classifier.judge_head(torch.cat([span, before, bar, pieces.flatten()]))
            typed = [previous, before, inputs[:N_BEFORE], bar, pieces[:, :N_BEFORE].flatten()]
            assert float(heads.expansion[i]) == pytest.approx(float(scores[0]), abs=1e-5)
            assert float(heads.onset[i]) == pytest.approx(float(scores[1]), abs=1e-5)
            assert float(heads.retracement[i]) == pytest.approx(
                float(classifier.type_head(torch.cat(typed))), abs=1e-5
            )
            pointed = given + 0.1 * classifier.pointer_head(span)
            assert heads.pointer[i].tolist() == pytest.approx(pointed.tolist(), abs=1e-5)


def test_bar_logits_are_those_of_the_window_without_its_context():
    classifier, features = random_classifier(), random_input()
    with torch.no_grad():
        bars, _ = classifier(features, SPANS)
        states = classifier.encoder(features)

    assert bars.shape == (3, WINDOW_BARS)
    assert bars[1, 7].item() == pytest.approx(classifier.bar_head(states[1, 27]).item(), abs=1e-6)


def test_outputs_do_not_depend_on_the_position_in_the_window():
    # Otherwise a head could learn where annotators tend to label expansions.
    classifier = random_classifier()
    same = SpanTensors(
        torch.zeros(2, dtype=torch.int64),
        torch.tensor([45, 60]),
        torch.tensor([52, 67]),
        torch.ones(2, N_INPUTS),
    )
    with torch.no_grad():
        heads = classifier.read_spans(torch.ones(1, 125, N_FEATURES), torch.ones(1, 125, 16), same)

    offsets = heads.pointer - torch.tensor([[49 / 105, 8 / 105], [64 / 105, 8 / 105]])
    assert heads.expansion[0].item() == pytest.approx(heads.expansion[1].item(), abs=1e-5)
    assert heads.retracement[0].item() == pytest.approx(heads.retracement[1].item(), abs=1e-5)
    assert offsets[0].tolist() == pytest.approx(offsets[1].tolist(), abs=1e-6)


def test_the_type_does_not_depend_on_features_of_the_move():
    classifier, features = random_classifier(), random_input()
    changed = SPANS.inputs.clone()
    changed[:, N_BEFORE:] += 1
    with torch.no_grad():
        _, one = classifier(features, SPANS)
        _, other = classifier(features, SPANS._replace(inputs=changed))

    assert torch.equal(one.retracement, other.retracement)
    assert (one.expansion != other.expansion).all()


def test_inputs_are_standardized_by_training_spans_and_clipped_at_four():
    classifier, features = random_classifier(), random_input()
    rows = 5 + 3 * torch.randn(2000, N_INPUTS, generator=torch.Generator().manual_seed(2))
    classifier.set_input_scale(rows)
    far = SPANS._replace(inputs=torch.full((4, N_INPUTS), 5 + 3 * 9.0))
    farther = SPANS._replace(inputs=torch.full((4, N_INPUTS), 1e6))
    with torch.no_grad():
        assert classifier(features, far)[1].expansion.tolist() == pytest.approx(
            classifier(features, farther)[1].expansion.tolist()
        )

    assert classifier.input_center.numpy() == pytest.approx(np.full(N_INPUTS, 5), abs=0.3)
    assert classifier.input_scale.numpy() == pytest.approx(np.full(N_INPUTS, 3), abs=0.3)


def test_hidden_inputs_change_nothing():
    classifier, features = random_classifier(), random_input()
    classifier.hide_inputs()
    with torch.no_grad():
        _, one = classifier(features, SPANS)
        _, other = classifier(features, SPANS._replace(inputs=100 * SPANS.inputs + 7))

    for name in Heads._fields:
        assert torch.allclose(getattr(one, name), getattr(other, name), atol=1e-5)


def test_a_constant_input_gives_finite_outputs():
    classifier = random_classifier()
    classifier.set_input_scale(torch.ones(3, N_INPUTS))

    assert torch.isfinite(classifier(random_input(), SPANS)[1].expansion).all()
