"""Split dates from the command line: the assets they rebuild, and that they are saved."""

import json
from datetime import date

import pytest

from moola_pipeline.bars.store import registered_store
from moola_pipeline.cli.exit_codes import BAD_INPUT
from moola_pipeline.cli.options import choose_target
from moola_pipeline.cli.report import read_report
from moola_pipeline.instrument_data import choose_instrument_data, choose_profile
from moola_pipeline.labels.chosen_splits import read_split_choice, write_split_choice
from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.report.data import Target
from moola_pipeline.settings import PROFILES
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call, complaint
from moola_pipeline_tests.homes import SMOKE, moola, outcome

EARLIER = ("--train-end", "2024-12-13", "--validation-end", "2025-03-31", "--test-end", "2025-06-30")


def test_other_dates_retrain_once_and_hold_for_later_runs(registered_copy: Home, registered_home: Home):
    output = json.loads(moola(registered_copy, *SMOKE, *EARLIER, "--json"))
    assert output["made"] == [
        "labeled_expansions",
        "densified_windows",
        "pretrained_encoder",
        "finetuned_classifier",
        "bootstrap_ci_report",
        "registered_model",
        "latest_expansions",
    ]
    assert output["run"]["settings"]["splits"]["train_end"] == "2024-12-13"
    assert outcome(registered_home)["run"]["settings"]["splits"]["train_end"] == "2024-12-31"
    assert json.loads(moola(registered_copy, *SMOKE, "--json"))["made"] == []
    assert json.loads(moola(registered_copy, *SMOKE, *EARLIER, "--json"))["made"] == []
    shown = json.loads(moola(registered_copy, "labels", "check", "--json"))
    assert shown["split_settings"]["train_end"] == "2024-12-13"


@pytest.mark.parametrize("given", ["2024-13-45", "2024-02-30", "31.12.2024", "soon"])
def test_an_invalid_date_is_refused_with_the_format(given: str):
    result = call("run", "--train-end", given)
    assert result.exit_code == BAD_INPUT
    assert f"a date must exist and be written as 2024-12-31, got '{given}'." in result.stderr


@pytest.mark.slow
def test_dates_that_move_no_label_rebuild_the_report_and_train_nothing(registered_copy: Home):
    output = json.loads(moola(registered_copy, *SMOKE, "--test-end", "2025-06-29", "--json"))
    assert "finetuned_classifier" not in output["made"]
    assert "pretrained_encoder" not in output["made"]
    assert output["run"]["settings"]["splits"]["test_end"] == "2025-06-29"


@pytest.mark.slow
def test_the_newest_months_are_resolved_in_the_report(registered_copy: Home):
    output = json.loads(moola(registered_copy, *SMOKE, "--rolling", "1", "--json"))
    splits = output["run"]["settings"]["splits"]
    assert (splits["rule"], splits["train_end"], splits["test_end"]) == (
        "rolling",
        "2024-12-31",
        "2025-04-30",
    )
    assert "finetuned_classifier" not in output["made"]  # the same windows in the same splits


@pytest.mark.slow
def test_an_unsound_split_is_not_saved_and_the_suggested_dates_work(registered_copy: Home):
    dates = ("--train-end", "2024-11-30", "--validation-end", "2025-03-31")
    result = call(*SMOKE, *dates, home=registered_copy.root)
    assert result.exit_code == 2
    output = complaint(result)
    assert output.startswith("The train split (to 2024-11-30) must hold expansions of both types")
    assert read_split_choice(registered_store(registered_copy).root) is None
    advice = output.partition("Nearest dates that work: moola ")[2].split()
    assert advice[0] == "run"
    assert call(*advice, "--profile", "smoke", "--json", home=registered_copy.root).exit_code == 0
    chosen = read_split_choice(registered_store(registered_copy).root)
    assert chosen is not None
    assert (chosen.train_end, chosen.validation_end) == (date(2024, 12, 31), date(2025, 1, 31))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--train-end", "2026-01-01"), "train_end, validation_end and test_end must follow each other"),
        (("--rolling", "1", *EARLIER), "Splits must be set by --rolling or by dates, got both"),
        (("--rolling", "5"), "A rolling split must leave a labeled month for training"),
    ],
)
def test_invalid_split_options_are_refused_before_any_work(
    registered_copy: Home, words: tuple[str, ...], message: str
):
    result = call(*SMOKE, *words, home=registered_copy.root)
    assert result.exit_code == 2
    assert complaint(result).startswith(message)
    assert read_split_choice(registered_store(registered_copy).root) is None


def test_split_dates_of_a_simulated_market_are_fixed(isolated_home):
    result = call(*SMOKE, *EARLIER, home=isolated_home)
    assert result.exit_code == 2
    assert complaint(result).startswith("Splits can be chosen for registered bars only")


def test_registered_bars_use_the_saved_splits(registered_copy: Home):
    chosen = SplitSettings(rule="rolling", rolling_test_months=1, rolling_validation_months=1)
    write_split_choice(registered_store(registered_copy).root, chosen)
    assert choose_instrument_data(registered_copy, "auto", PROFILES["smoke"]).splits == chosen
    simulated = choose_instrument_data(registered_copy, "simulated", PROFILES["smoke"])
    assert simulated.splits == PROFILES["smoke"].simulated_splits


def test_a_broken_splits_file_stops_the_run_with_its_remedy(registered_copy: Home):
    (registered_copy.data / "nq" / "splits.json").write_text("{")
    result = call(*SMOKE, home=registered_copy.root)
    assert result.exit_code == 1
    assert complaint(result).startswith("splits.json must hold the chosen split dates, but it is truncated")


@pytest.mark.parametrize(
    ("given", "saved"),
    [
        (("--target", "0.8"), Target(estimate=0.8, low=0.7)),
        (("--target", "0.05"), Target(estimate=0.05, low=0.0)),
        (("--target-low", "0.6"), Target(estimate=0.75, low=0.6)),
        (("--target", "0.7", "--target-low", "0.7"), Target(estimate=0.7, low=0.7)),
    ],
)
def test_a_target_is_saved_for_the_home_and_every_profile_has_it(tmp_path, given, saved):
    wanted = dict(zip(given[::2], map(float, given[1::2]), strict=True))
    home = Home(tmp_path)
    assert choose_target(home, wanted.get("--target"), wanted.get("--target-low")) == saved
    for name in ("smoke", "full"):
        report = choose_profile(home, name, "simulated").report
        assert (report.target_f1, report.target_low) == (saved.estimate, saved.low)


def test_without_a_target_option_nothing_is_saved(tmp_path):
    assert choose_target(Home(tmp_path), None, None) is None
    assert not list(tmp_path.rglob("*"))
    assert choose_profile(Home(tmp_path), "smoke", "simulated") is PROFILES["smoke"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (("--target", "0.6", "--target-low", "0.7"), "--target-low must be at most --target"),
        (("--target", "nan"), "--target-low must be at most --target"),
        (("--target", "1.2"), "Invalid value for '--target'"),
        (("--target-low", "high"), "Invalid value for '--target-low'"),
    ],
)
def test_a_target_that_cannot_be_is_refused_and_not_saved(isolated_home, given, why):
    result = call(*SMOKE, *given, home=isolated_home)
    assert result.exit_code == 2 and why in complaint(result)
    assert not (isolated_home / "data" / "target.json").exists()


def test_a_new_target_rebuilds_the_report_and_trains_nothing(smoke_copy: Home):
    output = json.loads(moola(smoke_copy, *SMOKE, "--target", "0.9", "--json"))
    assert "bootstrap_ci_report" in output["made"] and "finetuned_classifier" not in output["made"]
    target = read_report(smoke_copy.reports / "simulated-smoke").target
    assert target == Target(estimate=0.9, low=0.8) and not target.is_default


def test_help_names_the_options():
    text = call("run", "--help").stdout
    assert all(
        option in text
        for option in ("--train-end", "--validation-end", "--test-end", "--rolling", "--target")
    )
