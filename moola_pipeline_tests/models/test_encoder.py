"""The encoder: width from the feature list, scale from training rows, hidden bars replaced."""

import numpy as np
import pytest
import torch

from moola_pipeline.features.schema import N_FEATURES
from moola_pipeline.models.encoder import Encoder, RidgeDecoder

torch.set_num_threads(1)


def random_features(n_windows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n_windows, 125, N_FEATURES, generator=torch.Generator().manual_seed(seed))


def test_the_width_derives_from_the_list_of_features():
    encoder = Encoder(8)

    assert encoder.lstm.input_size == len(encoder.center) == len(encoder.hidden_bar) == N_FEATURES


def test_every_bar_has_one_state_of_two_directions():
    with torch.no_grad():
        states = Encoder(8)(random_features(3))

    assert states.shape == (3, 125, 16)


def test_the_first_half_of_a_state_depends_on_past_bars_and_the_second_on_later_ones():
    encoder, features = Encoder(8), random_features(1)
    changed = features.clone()
    changed[0, 60] += 1
    with torch.no_grad():
        moved = (encoder(features) != encoder(changed))[0]

    assert not moved[:60, :8].any() and moved[60:70, :8].any()
    assert not moved[61:, 8:].any() and moved[50:61, 8:].any()


def test_scale_and_standardized_values_worked_by_hand():
    encoder = Encoder(8, n_features=2)
    encoder.set_scale(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))

    assert encoder.center.tolist() == [2, 5]
    assert encoder.scale.tolist() == pytest.approx([np.sqrt(2), 1e-3])  # a constant feature stays finite
    assert encoder.standardized(torch.tensor([4.0, 5.0])).tolist() == pytest.approx([np.sqrt(2), 0])


def test_a_hidden_bar_is_replaced_by_the_learned_vector():
    encoder, features = Encoder(8), random_features(2)
    hidden = torch.zeros(2, 125, dtype=torch.bool)
    hidden[0, 30:40] = True
    changed = features.clone()
    changed[hidden] = 99
    with torch.no_grad():
        encoder.hidden_bar.fill_(0.5)
        states = encoder(features, hidden)
        assert torch.equal(states, encoder(changed, hidden))
        assert not torch.equal(states, encoder(changed))
        encoder.hidden_bar.fill_(-0.5)
        assert not torch.equal(states, encoder(features, hidden))


def test_the_decoder_starts_as_the_ridge():
    decoder = RidgeDecoder(8, n_inputs=5, n_features=3)
    ridge = torch.arange(15.0).reshape(5, 3)
    decoder.ridge.copy_(ridge)
    states, edges = torch.randn(7, 16), torch.randn(7, 5)

    assert torch.allclose(decoder(states, edges), edges @ ridge)


def test_the_decoder_depends_on_states_and_its_ridge_is_fixed():
    decoder = RidgeDecoder(8, n_inputs=5, n_features=3)
    with torch.no_grad():
        decoder.outer.weight.fill_(0.1)
    states, edges = torch.randn(7, 16), torch.randn(7, 5)
    with torch.no_grad():
        assert not torch.equal(decoder(states, edges), decoder(states + 1, edges))

    assert "ridge" not in dict(decoder.named_parameters())
    assert "ridge" in decoder.state_dict()


def test_a_frozen_encoder_keeps_nothing_for_gradients():
    encoder, features, keeping = Encoder(8), random_features(64), []
    encoder.lstm.register_forward_pre_hook(lambda *_: keeping.append(torch.is_grad_enabled()))
    trained = encoder(features, None, True)
    encoder.requires_grad_(False)
    states = encoder(features)

    assert keeping == [True, False]
    assert trained.requires_grad and not states.requires_grad
    assert torch.allclose(states, trained, atol=1e-6)
    moving = features.clone().requires_grad_()
    encoder(moving).sum().backward()
    assert moving.grad is not None and moving.grad.any()
