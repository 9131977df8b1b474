"""Split dates chosen on the command line: what they make again, and that they are remembered."""

import json
from datetime import date

import pytest

from moola_pipeline.bars.store import registered_store
from moola_pipeline.cli.exit_codes import BAD_INPUT
from moola_pipeline.instrument_data import choose_instrument_data
from moola_pipeline.labels.chosen_splits import read_choice, remember_choice
from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.settings import PROFILES
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call, complaint
from moola_pipeline_tests.homes import SMOKE, moola, outcome

EARLIER = ("--train-end", "2024-12-13", "--validation-end", "2025-03-31", "--test-end", "2025-06-30")


def test_other_dates_retrain_once_and_hold_for_later_runs(registered_copy: Home, registered_home: Home):
    said = json.loads(moola(registered_copy, *SMOKE, *EARLIER, "--json"))
    assert said["made"] == [
        "labeled_expansions",
        "densified_windows",
        "pretrained_encoder",
        "finetuned_classifier",
        "bootstrap_ci_report",
        "registered_model",
        "latest_expansions",
    ]
    assert said["run"]["settings"]["splits"]["train_end"] == "2024-12-13"
    assert outcome(registered_home)["run"]["settings"]["splits"]["train_end"] == "2024-12-31"
    assert json.loads(moola(registered_copy, *SMOKE, "--json"))["made"] == []
    assert json.loads(moola(registered_copy, *SMOKE, *EARLIER, "--json"))["made"] == []
    shown = json.loads(moola(registered_copy, "labels", "check", "--json"))
    assert shown["split_settings"]["train_end"] == "2024-12-13"


@pytest.mark.parametrize("given", ["2024-13-45", "2024-02-30", "31.12.2024", "soon"])
def test_a_day_that_is_none_is_refused_showing_how_one_is_written(given: str):
    result = call("run", "--train-end", given)
    assert result.exit_code == BAD_INPUT
    assert f"a date must exist and be written as 2024-12-31, got '{given}'." in result.stderr


@pytest.mark.slow
def test_dates_that_move_no_label_make_the_report_again_and_train_nothing(registered_copy: Home):
    said = json.loads(moola(registered_copy, *SMOKE, "--test-end", "2025-06-29", "--json"))
    assert "finetuned_classifier" not in said["made"]
    assert "pretrained_encoder" not in said["made"]
    assert said["run"]["settings"]["splits"]["test_end"] == "2025-06-29"


@pytest.mark.slow
def test_the_newest_months_are_resolved_in_the_report(registered_copy: Home):
    said = json.loads(moola(registered_copy, *SMOKE, "--rolling", "1", "--json"))
    splits = said["run"]["settings"]["splits"]
    assert (splits["rule"], splits["train_end"], splits["test_end"]) == (
        "rolling",
        "2024-12-31",
        "2025-04-30",
    )
    assert "finetuned_classifier" not in said["made"]  # the same windows in the same splits


@pytest.mark.slow
def test_an_unsound_choice_is_refused_and_not_remembered_and_its_advice_works(registered_copy: Home):
    dates = ("--train-end", "2024-11-30", "--validation-end", "2025-03-31")
    result = call(*SMOKE, *dates, home=registered_copy.root)
    assert result.exit_code == 2
    said = complaint(result)
    assert said.startswith("The train split (to 2024-11-30) must hold expansions of both types")
    assert read_choice(registered_store(registered_copy).root) is None
    advice = said.partition("Nearest dates that work: moola ")[2].split()
    assert advice[0] == "run"
    assert call(*advice, "--profile", "smoke", "--json", home=registered_copy.root).exit_code == 0
    chosen = read_choice(registered_store(registered_copy).root)
    assert chosen is not None
    assert (chosen.train_end, chosen.validation_end) == (date(2024, 12, 31), date(2025, 1, 31))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--train-end", "2026-01-01"), "train_end, validation_end and test_end must follow each other"),
        (("--rolling", "1", *EARLIER), "Splits must be set by --rolling or by dates, got both"),
        (("--rolling", "5"), "A rolling split must leave a labeled month for training"),
    ],
)
def test_options_that_cannot_be_met_are_refused_before_anything_is_made(
    registered_copy: Home, words: tuple[str, ...], said: str
):
    result = call(*SMOKE, *words, home=registered_copy.root)
    assert result.exit_code == 2
    assert complaint(result).startswith(said)
    assert read_choice(registered_store(registered_copy).root) is None


def test_a_simulated_market_has_dates_of_its_own(isolated_home):
    result = call(*SMOKE, *EARLIER, home=isolated_home)
    assert result.exit_code == 2
    assert complaint(result).startswith("Splits can be chosen for registered bars only")


def test_the_market_of_a_home_has_the_dates_chosen_for_it(registered_copy: Home):
    chosen = SplitSettings(rule="rolling", rolling_test_months=1, rolling_validation_months=1)
    remember_choice(registered_store(registered_copy).root, chosen)
    assert choose_instrument_data(registered_copy, "auto", PROFILES["smoke"]).splits == chosen
    simulated = choose_instrument_data(registered_copy, "simulated", PROFILES["smoke"])
    assert simulated.splits == PROFILES["smoke"].simulated_splits


def test_a_broken_choice_stops_the_run_with_its_remedy(registered_copy: Home):
    (registered_copy.data / "nq" / "splits.json").write_text("{")
    result = call(*SMOKE, home=registered_copy.root)
    assert result.exit_code == 1
    assert complaint(result).startswith("splits.json must hold the chosen split dates, but it is truncated")


def test_help_names_the_options():
    text = call("run", "--help").stdout
    assert all(option in text for option in ("--train-end", "--validation-end", "--test-end", "--rolling"))
