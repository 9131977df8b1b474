"""Both directions of the LSTM in training: the numbers of torch's own LSTM, in two threads."""

import threading
from typing import Any

import pytest
import torch

from moola_pipeline.models import lstm_directions
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.lstm_directions import both_directions, can_split

torch.set_num_threads(1)
LSTM = torch.nn.LSTM(5, 4, batch_first=True, bidirectional=True)


def batch(n_windows: int, n_bars: int = 30, seed: int = 0) -> torch.Tensor:
    return torch.randn(n_windows, n_bars, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("n_windows", "n_bars"), [(64, 125), (48, 76), (7, 30)])
@pytest.mark.parametrize("hides", [False, True])
def test_states_and_gradients_are_those_of_the_lstm_to_the_bit(n_windows: int, n_bars: int, hides: bool):
    encoder, found = Encoder(48, n_features=5), []
    features = batch(n_windows, n_bars)
    hidden = (
        torch.rand(n_windows, n_bars, generator=torch.Generator().manual_seed(1)) < 0.3 if hides else None
    )
    for in_turn in (True, False):
        encoder.zero_grad()
        states = encoder(features, hidden, in_turn)
        (states**2).sum().backward()
        found.append([states.detach(), *(weight.grad for weight in encoder.parameters())])

    assert "_Directions" in str(encoder(features, hidden).grad_fn.next_functions)  # pyright: ignore[reportOptionalMemberAccess]
    for one, other in zip(*found, strict=True):
        assert one is other is None or (one is not None and other is not None and torch.equal(one, other))
    assert (encoder.hidden_bar.grad is not None) == hides


def test_each_direction_runs_in_a_thread_of_its_own_forward_and_backward(monkeypatch: pytest.MonkeyPatch):
    threads: list[int] = []
    direction = lstm_directions._Direction

    class Watched(direction):  # pyright: ignore[reportGeneralTypeIssues]
        @classmethod
        def of(cls, leaves: list[torch.Tensor], reverse: bool) -> Any:
            threads.append(threading.get_ident())
            return super().of(leaves, reverse)

        def gradients(self, of_states: torch.Tensor) -> Any:
            threads.append(threading.get_ident())
            return super().gradients(of_states)

    monkeypatch.setattr(lstm_directions, "_Direction", Watched)
    both_directions(LSTM, batch(3)).sum().backward()

    assert len(threads) == 4 and len(set(threads[:2])) == len(set(threads[2:])) == 2


def test_weights_without_gradients_get_none():
    lstm = torch.nn.LSTM(5, 4, batch_first=True, bidirectional=True)
    lstm.weight_ih_l0.requires_grad_(False)
    both_directions(lstm, batch(3)).sum().backward()

    assert lstm.weight_ih_l0.grad is None and lstm.weight_hh_l0.grad is not None

    for name, weight in lstm.named_parameters():
        weight.requires_grad_(name.endswith("_reverse"))
    lstm.zero_grad()
    both_directions(lstm, batch(3)).sum().backward()
    assert lstm.weight_hh_l0.grad is None and lstm.weight_hh_l0_reverse.grad is not None


def test_a_fault_in_either_direction_is_raised():
    def fail() -> None:
        raise RuntimeError("no memory")

    for works in ((fail, lambda: None), (lambda: None, fail)):
        with pytest.raises(RuntimeError, match="no memory"):
            lstm_directions._side_by_side(*works)
    assert lstm_directions._side_by_side(lambda: 1, lambda: 2) == (1, 2)


@pytest.mark.parametrize(
    "changes", [{"num_layers": 2}, {"bidirectional": False}, {"batch_first": False}, {"bias": False}]
)
def test_other_layers_are_left_to_torch(changes: dict[str, Any]):
    kinds = {"batch_first": True, "bidirectional": True}
    assert can_split(LSTM, batch(2))
    assert not can_split(torch.nn.LSTM(5, 4, **(kinds | changes)), batch(2))
    assert not can_split(LSTM, batch(2).double())
    assert not can_split(LSTM, batch(2).to("meta"))
