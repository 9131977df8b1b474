"""How the scores of a report were made, as the page says it."""

from moola_pipeline.report.protocol import protocol
from moola_pipeline_tests.report.reports import full_report, minimal_report


def test_a_test_split_is_given_by_its_dates_and_its_embargo():
    report = full_report()
    splits = {
        "train_end": "2024-12-31",
        "validation_end": "2025-03-31",
        "test_end": "2025-06-30",
        "embargo_bars": 105,
    }
    run = report.run.model_copy(update={"settings": {"splits": splits, "n_parameters": 89214}})
    lines = protocol(report.model_copy(update={"run": run}))
    assert lines["scored on"] == (
        "147 expansions (type F1) and 147 windows (event F1) after 2025-03-31 and until 2025-06-30; training "
        "ends 2024-12-31, 105 bars lie between the periods"
    )
    assert lines["Moola"] == "mean over seeds 0, 1, 2; profile demo, 89,214 parameters"


def test_a_provisional_report_names_its_blocks_and_says_how_its_baseline_was_chosen():
    lines = protocol(full_report().model_copy(update={"n_folds": 5}))
    assert lines["scored on"].endswith("by cross-validation over 5 blocks of sessions")
    assert lines["best baseline"] == ("chosen by its score on the same windows, which favors the baseline")
    assert lines["looks at the test"].endswith("scored on these labels")


def test_subjects_without_anything_to_say_are_left_out():
    lines = protocol(minimal_report())
    assert not {"best baseline", "checks", "calibration"} & set(lines)
    assert lines["primary comparisons"] == "none: every comparison is exploratory"
