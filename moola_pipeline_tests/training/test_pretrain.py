"""Pretraining: hidden bars reach no input, held-out windows train nothing, a seed decides the weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from moola_pipeline.errors import LossNotFinite
from moola_pipeline.models.encoder import Encoder, RidgeDecoder, initialize
from moola_pipeline.training import hidden_blocks as hiding
from moola_pipeline.training import pretrain as pretraining
from moola_pipeline.training.hidden_blocks import HiddenBatch, HiddenBlocks, Standardizer, hide
from moola_pipeline.training.pretrain import PretrainResult, pretrain
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.augmentation import hidden_blocks
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, WINDOW_BARS, view_rows
from moola_pipeline_tests.made_bars import made_bars, with_prices

SMALL = PretrainSettings(hidden_units=8, epochs=2, batch_windows=16)
BARS = made_bars(16)
VALUES = BARS.features
SOURCE = BARS
WINDOWS = pretraining_windows(BARS.segment, len(VALUES))


def drawn(
    encoder: Encoder, source: MarketArrays, bar0: np.ndarray, settings: PretrainSettings, seed: int
) -> HiddenBatch:
    rng = np.random.default_rng(seed)
    task = HiddenBlocks.__new__(HiddenBlocks)
    task.market, task.settings = source, settings
    task.standardizer = Standardizer.of(encoder)
    return task.draw(bar0, rng)


def small_with(**changes: object) -> PretrainSettings:
    return PretrainSettings(**{**SMALL.model_dump(), **changes})


def weights_of(result: PretrainResult) -> np.ndarray:
    return np.concatenate([tensor.numpy().ravel() for tensor in result.encoder.state_dict().values()])


def values_of(result: PretrainResult, name: str) -> list[float]:
    return [entry[name] for entry in result.history]


def pretrain_with_other_bars_from(row: int) -> PretrainResult:
    changed = with_prices(BARS, np.arange(row, len(VALUES)), np.random.default_rng(0))
    return pretrain(changed, WINDOWS, SMALL)


@pytest.fixture(scope="module")
def result() -> PretrainResult:
    return pretrain(SOURCE, WINDOWS, SMALL)


@pytest.fixture(scope="module")
def one_epoch() -> PretrainResult:
    return pretrain(SOURCE, WINDOWS, small_with(epochs=1))


@pytest.fixture(scope="module")
def networks() -> tuple[Encoder, RidgeDecoder]:
    """An encoder and a decoder with nonzero weights."""
    encoder, decoder = Encoder(8), RidgeDecoder(8, 5 * VALUES.shape[1] + 2)
    initialize(encoder, 0)
    initialize(decoder, 1)
    encoder.set_scale(torch.from_numpy(VALUES[view_rows(WINDOWS)].reshape(-1, VALUES.shape[1])))
    decoder.ridge.normal_(generator=torch.Generator().manual_seed(2))
    return encoder, decoder


def test_prices_of_hidden_bars_never_reach_the_encoder(networks: tuple[Encoder, RidgeDecoder]):
    encoder, _ = networks
    bar0 = WINDOWS[[0, 7, 13]]  # in three segments, so the changes do not overlap
    hidden = hidden_blocks(len(bar0), 0.4, 10, np.random.default_rng(0))
    changed = with_prices(BARS, view_rows(bar0)[hidden], np.random.default_rng(1))

    visible, true = hide(BARS, bar0, hidden)
    also_visible, also_true = hide(changed, bar0, hidden)

    assert not np.array_equal(true[hidden], also_true[hidden])
    assert not np.array_equal(true[~hidden], also_true[~hidden])  # later features depend on hidden bars
    assert np.array_equal(visible, also_visible)
    with torch.no_grad():
        states = encoder(torch.from_numpy(visible), torch.from_numpy(hidden))
        assert torch.equal(states, encoder(torch.from_numpy(also_visible), torch.from_numpy(hidden)))


def test_prices_of_hidden_bars_reach_no_input_of_the_decoder(
    networks: tuple[Encoder, RidgeDecoder], monkeypatch: pytest.MonkeyPatch
):
    encoder, decoder = networks
    bar0 = WINDOWS[[0, 7, 13]]
    hidden = hidden_blocks(len(bar0), 0.4, 10, np.random.default_rng(0))
    changed = with_prices(BARS, view_rows(bar0)[hidden], np.random.default_rng(1))
    monkeypatch.setattr(hiding, "hidden_blocks", lambda *_: hidden)
    guesses, targets = [], []
    for bars in (BARS, changed):
        batch = drawn(encoder, bars, bar0, SMALL, 3)
        with torch.no_grad():
            states = encoder(torch.from_numpy(batch.visible), torch.from_numpy(batch.hidden))
            guesses.append(decoder(states[torch.from_numpy(batch.hidden)], torch.from_numpy(batch.inputs)))
        targets.append(batch.targets)

    assert torch.equal(guesses[0], guesses[1])
    assert not np.array_equal(targets[0], targets[1])


def test_prices_of_visible_bars_do_reach_the_encoder(networks: tuple[Encoder, RidgeDecoder]):
    bar0 = WINDOWS[:1]
    hidden = hidden_blocks(1, 0.4, 10, np.random.default_rng(0))
    visible = np.flatnonzero(~hidden[0])[30:31]
    changed = with_prices(BARS, view_rows(bar0)[0, visible], np.random.default_rng(1))

    before, _ = hide(BARS, bar0, hidden)
    after, _ = hide(changed, bar0, hidden)

    assert not np.array_equal(before, after)


def test_hiding_gives_the_true_features_beside_the_visible_ones():
    hidden = hidden_blocks(4, 0.4, 10, np.random.default_rng(0))
    visible, true = hide(BARS, WINDOWS[:4], hidden)

    assert np.array_equal(true, VALUES[view_rows(WINDOWS[:4])])
    before_any = np.cumsum(hidden, axis=1) == 0
    assert np.array_equal(visible[before_any], true[before_any])
    assert not np.array_equal(visible, true)


def test_half_of_the_windows_are_mirrored_with_their_targets(
    networks: tuple[Encoder, RidgeDecoder],
):
    encoder, _ = networks
    bar0 = np.repeat(WINDOWS[5], 200)
    batch = drawn(encoder, SOURCE, bar0, SMALL, 0)
    straight = drawn(encoder, SOURCE, bar0, small_with(mirror=False), 0)
    flipped = (batch.visible != straight.visible).any(axis=(1, 2))

    assert 70 < flipped.sum() < 130
    rows = flipped[batch.where.window]
    assert np.array_equal(batch.targets[~rows], straight.targets[~rows])
    assert not np.array_equal(batch.targets[rows], straight.targets[rows])


def test_the_encoder_beats_every_imputation_on_windows_it_never_saw(result: PretrainResult):
    assert set(result.errors) == {"mean", "last_value", "interpolation", "ridge", "encoder"}
    assert result.errors["encoder"] < min(result.errors[name] for name in result.errors if name != "encoder")


def test_training_windows_end_more_than_an_embargo_before_the_first_held_out_one():
    for share in (0.05, 0.1, 0.3):
        train, selection, test = pretraining._split(
            WINDOWS, small_with(validation_share=share), np.random.default_rng(0)
        )
        first_read = selection[0] - CONTEXT_BARS
        next_window = WINDOWS[len(train)]
        assert first_read - (train[-1] + WINDOW_BARS - 1) > 105
        assert first_read - (next_window + WINDOW_BARS - 1) <= 105
        assert len(selection) + len(test) == int(len(WINDOWS) * share)


def test_an_embargo_of_exactly_105_bars_between_is_enough():
    # Bar 104 of a window at 0 is followed by 105 free bars when the first bar read is 210.
    train, _, _ = pretraining._split(
        np.array([-1, 0, 1, 230, 335]),
        small_with(batch_windows=2, validation_share=0.4),
        np.random.default_rng(0),
    )

    assert train.tolist() == [-1, 0]


def test_windows_that_select_the_epoch_do_not_test_it():
    for max_windows in (None, 64):
        train, selection, test = pretraining._split(
            WINDOWS, small_with(validation_share=0.2, max_windows=max_windows), np.random.default_rng(0)
        )
        assert train[-1] < selection[0] and selection[-1] < test[0]
        assert abs(len(selection) - len(test)) <= 1


def test_bars_after_the_last_window_change_nothing(result: PretrainResult):
    end = result.last_row + 1
    changed = with_prices(BARS, np.arange(end, len(VALUES)), np.random.default_rng(0))
    values, atr = VALUES.copy(), SOURCE.atr.copy()
    values[end:], atr[end:] = np.nan, np.nan

    assert end < len(VALUES)
    assert np.array_equal(
        weights_of(pretrain(replace(changed, features=values, atr=atr), WINDOWS, SMALL)), weights_of(result)
    )


def test_the_last_row_is_that_of_the_last_window(result: PretrainResult):
    assert result.last_row == WINDOWS[-1] + 104
    assert result.n_windows == len(pretraining._split(WINDOWS, SMALL, np.random.default_rng(0))[0])


def test_held_out_windows_train_nothing(result: PretrainResult):
    _, selection, _ = pretraining._split(WINDOWS, SMALL, np.random.default_rng(0))
    again = pretrain_with_other_bars_from(selection[0] - CONTEXT_BARS)

    assert values_of(again, "train_loss") == values_of(result, "train_loss")
    assert values_of(again, "val_loss") != values_of(result, "val_loss")
    assert torch.equal(again.encoder.scale, result.encoder.scale)


def test_test_windows_do_not_select_the_epoch(result: PretrainResult):
    _, selection, _ = pretraining._split(WINDOWS, SMALL, np.random.default_rng(0))
    again = pretrain_with_other_bars_from(selection[-1] + WINDOW_BARS)

    assert values_of(again, "val_loss") == values_of(result, "val_loss")
    assert np.array_equal(weights_of(again), weights_of(result))
    assert again.errors["encoder"] != result.errors["encoder"]


def test_same_seed_same_weights(result: PretrainResult):
    torch.manual_seed(123)  # any state of the process

    assert np.array_equal(weights_of(pretrain(SOURCE, WINDOWS, SMALL)), weights_of(result))


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"max_windows": 64},
        {"batch_windows": 20},
        {"learning_rate": 2e-3},
        {"weight_decay": 0.5},
        {"dropout": 0.5},
        {"hidden_ratio": 0.2},
        {"block_bars": 5},
        {"validation_share": 0.3},
        {"mirror": False},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_changed_setting_changes_the_result(one_epoch: PretrainResult, changes: dict[str, object]):
    changed = pretrain(SOURCE, WINDOWS, small_with(epochs=1, **changes))

    assert not np.allclose(weights_of(changed), weights_of(one_epoch), rtol=1e-6)


def test_hidden_units_and_epochs_are_those_of_the_settings(result: PretrainResult):
    wider = pretrain(SOURCE, WINDOWS, small_with(hidden_units=12, epochs=1))

    assert wider.encoder.hidden_units == 12
    assert len(wider.history) == 1 and len(result.history) == 2


def test_unknown_setting_is_refused():
    with pytest.raises(ValidationError, match="mask_ratio"):
        small_with(mask_ratio=0.6)


@pytest.mark.parametrize("changes", [{"hidden_ratio": 0.9}, {"epochs": 0}, {"dropout": 1.0}, {"seed": -1}])
def test_a_setting_out_of_bounds_is_refused(changes: dict[str, object]):
    with pytest.raises(ValidationError, match=next(iter(changes))):
        small_with(**changes)


def test_each_epoch_is_reported_as_it_ends(result: PretrainResult):
    entries: list[dict[str, float]] = []
    again = pretrain(SOURCE, WINDOWS, SMALL, on_epoch=entries.append)

    assert entries == again.history
    assert [set(entry) for entry in entries] == [{"epoch", "train_loss", "val_loss", "seconds"}] * 2
    assert values_of(again, "val_loss") == values_of(result, "val_loss")


def test_a_loss_that_is_not_finite_stops_and_names_the_windows():
    with pytest.raises(LossNotFinite, match=r"finite, got (nan|inf) for the windows at rows \d+, ") as stop:
        pretrain(SOURCE, WINDOWS, small_with(learning_rate=1e30))

    named = list(stop.value.rows)
    assert len(named) == SMALL.batch_windows
    assert set(named) <= set(WINDOWS.tolist())


def test_too_few_windows_are_refused_with_the_next_step():
    with pytest.raises(ValueError) as refusal:
        pretrain(SOURCE, WINDOWS[:12], SMALL)

    assert str(refusal.value) == (
        "pretraining needs at least 16 windows (one batch), got 9. Register more bars or lower batch_windows."
    )


@pytest.mark.parametrize("n_windows", [0, 1, 2])
def test_up_to_two_windows_are_refused_too(n_windows: int):
    with pytest.raises(ValueError, match=r"at least 16 windows \(one batch\), got 0"):
        pretrain(SOURCE, WINDOWS[:n_windows], SMALL)


def test_the_tables_are_not_changed(result: PretrainResult):
    assert np.array_equal(VALUES, BARS.features)
    assert np.array_equal(BARS.prices, made_bars(16).prices)


def test_initial_weights_lie_within_their_fan_in_and_depend_on_the_seed_alone():
    first, second, third = Encoder(8), Encoder(8), Encoder(8)
    for encoder, seed in ((first, 0), (second, 0), (third, 1)):
        initialize(encoder, seed)

    one, same, other = (encoder.state_dict() for encoder in (first, second, third))
    inputs = "lstm.weight_ih_l0"
    assert torch.equal(one[inputs], same[inputs])
    assert not torch.equal(one[inputs], other[inputs])
    bound = one[inputs].shape[1] ** -0.5
    assert 0.9 * bound < one[inputs].abs().max() <= bound
    assert not one["lstm.bias_ih_l0"].any() and not one["hidden_bar"].any()
