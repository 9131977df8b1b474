"""Report sections: previous run, labels by month, missing parts; and the refusal of a leak."""

import operator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.assets.bootstrap_ci_report import require_unseen
from moola_pipeline.errors import IntegrityError
from moola_pipeline.evaluation.sections import (
    alarm_budget_rows,
    class_mix,
    flat_metrics,
    not_measured,
    previous_run,
)
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.bootstrap import Resampled
from moola_pipeline.report.data import DataFacts, Details, ReportData, RunFacts, Score
from moola_pipeline.staleness.records import made_in
from moola_pipeline.storage.asset_checksums import write_checksums
from moola_pipeline.storage.atomic_write import atomic_write_bytes
from moola_pipeline.storage.home import Home
from moola_pipeline.windows.spans import Spans
from moola_pipeline_tests.homes import instance_of

OTHER_DATA = DataFacts(simulated=True, sha256="another", looks_at_test=1, labels_sha256="other labels")
FINISHED, KILLED = partial(operator.ne, ""), partial(operator.eq, "")
"""Whether the run of a report finished."""


@pytest.fixture
def last(smoke_home: Home) -> Path:
    return smoke_home.reports / "simulated-smoke" / "report.json"


@pytest.fixture
def data(last: Path) -> ReportData:
    return ReportData.model_validate_json(last.read_bytes())


def facts(data: ReportData, **changes: object) -> RunFacts:
    return data.run.model_copy(update=changes)


def test_the_previous_run_and_its_changes_are_reported(last: Path, data: ReportData):
    same = previous_run(last, data.run, data.data, FINISHED)
    assert same is not None
    assert (same.run_id, same.metrics) == (data.run.run_id, data.metrics)
    assert (same.bars_changed, same.labels_changed, same.settings_changed) == (False, False, False)
    now = facts(data, settings={"report": {}})
    other = previous_run(last, now, OTHER_DATA, FINISHED)
    assert other is not None
    assert (other.bars_changed, other.labels_changed, other.settings_changed) == (True, True, True)


def test_an_unfinished_report_is_replaced_by_its_own_previous_run(
    last: Path, data: ReportData, smoke_copy: Home
):
    first = previous_run(last, data.run, data.data, FINISHED)
    second = data.model_copy(update={"details": data.details.model_copy(update={"previous": first})})
    left = smoke_copy.reports / "simulated-smoke" / "report.json"
    atomic_write_bytes(left, second.model_dump_json().encode())
    write_checksums(left.with_suffix(""))
    assert previous_run(left, data.run, data.data, KILLED) == first
    assert previous_run(last, data.run, data.data, KILLED) is None


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"run": 3}'])
def test_a_report_that_is_missing_or_of_another_version_is_none(
    content: bytes | None, tmp_path: Path, data: ReportData
):
    path = tmp_path / "report.json"
    if content is not None:
        path.write_bytes(content)
    assert previous_run(path, data.run, OTHER_DATA, FINISHED) is None


def test_missing_parts_have_reasons(data: ReportData):
    score = Score(estimate=0.5, low=0.4, high=0.6, n=9)
    missing = not_measured(Details(), {}, None, ())
    assert set(missing) == {
        "delay_curve",
        "alarm_budgets",
        "learning_curve",
        "second_pass",
        "previous",
        "scratch",
    }
    assert all(missing.values())
    filled = Details(delay_curve={0: score}, null=score)
    second_pass = {"event_f1_macro": Resampled(0.6, np.zeros(3), 9)}
    assert set(not_measured(filled, second_pass, None, ("scratch",))) == {
        "alarm_budgets",
        "learning_curve",
        "previous",
    }


def test_months_are_counted_by_split_and_class():
    rows = [
        ("a", "2024-12-30", "train", "retracement", "yes"),
        ("a", "2024-12-30", "train", "consolidation", "yes"),
        ("b", "2025-01-02", "validation", "none", "yes"),
        ("c", "2024-11-05", "train", "consolidation", "yes"),
        ("d", "2024-11-06", "train", "consolidation", "no"),
    ]
    frame = pd.DataFrame(rows, columns=["window_id", "window_start", "split", "label", "complete"])
    frame["window_start"] = pd.to_datetime(frame["window_start"], utc=True)
    got = [(m.month, m.split, m.consolidation, m.retracement, m.none) for m in class_mix(frame)]
    assert got == [
        ("2024-11", "train", 1, 0, 0),
        ("2024-12", "train", 1, 1, 0),
        ("2025-01", "validation", 0, 0, 1),
    ]


def test_undefined_numbers_are_not_logged(data: ReportData):
    undefined = Score(estimate=None, low=None, high=None, n=0)
    logged = flat_metrics(data.model_copy(update={"second_pass": {"x": undefined}}))
    assert "second_pass.x" not in logged
    assert logged["type_f1_macro"] == data.metrics["type_f1_macro"].estimate
    assert logged["majority.type_f1_macro"] == data.trivial_baselines["majority"]["type_f1_macro"].estimate


def test_every_detail_is_filled_or_listed_as_missing(data: ReportData):
    details = data.details
    for name in Details.model_fields:
        assert getattr(details, name) or name in details.not_measured, name
    assert set(details.breakdowns) == {"type", "hour", "session", "direction"}
    of_whole_sessions = {"alarms_per_session", "precision_top5"}  # scored for the served seed only
    assert set(details.by_seed) == set(data.metrics) - of_whole_sessions
    assert all(len(values) == len(data.seeds) for values in details.by_seed.values())
    n = data.metrics["type_f1_macro"].n
    assert sum(map(sum, details.confusion)) == n
    assert details.calibration is not None
    assert sum(it.n for it in details.calibration.bins) == n


def test_a_simulated_market_has_a_second_pass(data: ReportData):
    assert data.second_pass["event_f1_macro"].n == data.metrics["event_f1_macro"].n
    model, second = (scores["event_f1_macro"].estimate for scores in (data.metrics, data.second_pass))
    assert model is not None
    assert second is not None
    assert model < second


def windows_at(*bar0: int) -> LabeledWindows:
    none = np.empty(0, np.int64)
    ids = np.array([f"w{row}" for row in bar0], dtype=object)
    days = np.full(len(bar0), np.datetime64("2025-04-01", "ns"))
    return LabeledWindows(
        ids, np.array(bar0), days, np.ones(len(bar0), bool), Spans(none, none, none, none, none)
    )


def test_a_model_trained_on_a_bar_of_the_test_windows_is_refused():
    times = pd.date_range("2025-04-01", periods=500, freq="min", tz="UTC")
    test = windows_at(300, 450)
    require_unseen(str(times[279]), test, times)  # the first window reads from bar 280
    with pytest.raises(IntegrityError, match=r"fitted on, 2025-04-01 04:40.*reads from 2025-04-01 04:40"):
        require_unseen(str(times[280]), test, times)


def test_dagster_records_which_run_finished_its_report(smoke_home: Home, data: ReportData):
    with instance_of(smoke_home) as instance:
        assert made_in(instance, "bootstrap_ci_report", "simulated", data.run.run_id)
        assert not made_in(instance, "no_such_asset", "simulated", data.run.run_id)
        assert not made_in(instance, "bootstrap_ci_report", "another", data.run.run_id)
        assert not made_in(instance, "bootstrap_ci_report", "simulated", "a run that was killed before it")


def test_five_right_of_five_alarms_have_the_exact_interval():
    all_right = {name: Resampled(1.0, np.ones(100), 5) for name in ("precision", "alarms_per_session")}
    alarms = alarm_budget_rows({1: (0.7, all_right | {"delay_bars": all_right["precision"]})})[0]
    assert (alarms.precision.estimate, alarms.precision.high) == (1.0, 1.0)
    assert alarms.precision.low == pytest.approx(0.478, abs=1e-3)
    assert (alarms.alarms_per_session.low, alarms.delay_bars.low) == (1.0, 1.0)  # no shares


def test_an_undefined_score_of_one_seed_is_kept_and_read_again():
    details = Details(by_seed={"onset_rmse_bars": [float("nan"), 2.0]})
    assert details.by_seed["onset_rmse_bars"] == [None, 2.0]
    assert Details.model_validate_json(details.model_dump_json()) == details
