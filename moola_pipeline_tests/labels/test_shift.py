import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from moola_pipeline.labels.shift import DRIFT, LEVEL, NEIGHBORS, Comparison, LabelShift, find_shift

PERMUTATIONS = 199


def drawn(
    rng: np.random.Generator,
    shares: tuple[float, ...] = (0.4, 0.4),
    lengths: tuple[float, ...] = (5.0, 5.0),
    empty: float = 0.3,
    n_windows: int = 100,
) -> pd.DataFrame:
    """A placed frame: one batch after another, two windows a session, each with 0-2 expansions."""
    rows = []
    for batch, (share, length) in enumerate(zip(shares, lengths, strict=True)):
        for number in range(n_windows):
            place = batch * n_windows + number
            marked = 0 if rng.random() < empty else rng.integers(1, 3)
            for start in (40, 60)[:marked] or (None,):
                end = None if start is None else start + rng.poisson(length - 1)
                label = (
                    "none" if start is None else "retracement" if rng.random() < share else "consolidation"
                )
                rows.append((f"w{place:04}", f"b{batch}", place, label, start, end))
    frame = pd.DataFrame(rows, columns=["window_id", "batch", "place", "label", "start", "end"])
    moment = pd.Timestamp("2024-01-02T15:00Z") + pd.to_timedelta(frame["place"].to_numpy() * 12, unit="h")
    moment = pd.Series(moment, frame.index)
    return pd.DataFrame(
        {
            "window_id": frame["window_id"],
            "batch": frame["batch"],
            "label": frame["label"],
            "expansion_start": frame["start"].astype("Int64"),
            "expansion_end": frame["end"].astype("Int64"),
            "window_start": moment,
            "session": moment.dt.tz_localize(None).dt.normalize(),
            "bar0": frame["place"] * 720,
            "in_core": frame["label"] != "none",
            "row": np.nan,
        }
    )


def shift_of(frame: pd.DataFrame, seed: int = 0) -> LabelShift:
    return find_shift(frame, np.random.default_rng(seed), PERMUTATIONS)


def alarms(shift: LabelShift, family: str) -> dict[tuple[str, str], Comparison]:
    return {(one.name, one.measure): one for one in shift.alarms if one.family == family}


def test_a_batch_is_counted_with_its_intervals():
    frame = drawn(np.random.default_rng(0), n_windows=30)
    first = shift_of(frame).batches[0]
    own = frame.loc[frame["batch"] == "b0"]
    marked = own.loc[own["in_core"]]
    n_retracements = int((marked["label"] == "retracement").sum())
    assert (first.name, first.windows, first.expansions) == ("b0", 30, len(marked))
    wilson = binomtest(n_retracements, len(marked)).proportion_ci(method="wilson")
    measured = first.retracement_share
    assert (measured.low, measured.high) == pytest.approx((wilson.low, wilson.high))
    assert first.empty_share.estimate == pytest.approx((own["label"] == "none").sum() / 30)
    length = (marked["expansion_end"] - marked["expansion_start"] + 1).mean()
    assert first.mean_span_bars.estimate == pytest.approx(float(length))


def test_the_interval_of_a_mean_is_students_where_each_session_has_one_expansion():
    frame = drawn(np.random.default_rng(0), empty=0.0, n_windows=30).drop_duplicates("window_id")
    frame = frame.assign(session=pd.date_range("2024-01-01", periods=len(frame), freq="D"))
    measured = shift_of(frame).batches[0].mean_span_bars
    own = frame.loc[frame["batch"] == "b0"]
    length = (own["expansion_end"] - own["expansion_start"] + 1).to_numpy(float)
    half = 2.045230 * length.std(ddof=1) / np.sqrt(30)  # t quantile at 29 degrees of freedom
    assert (measured.low, measured.high) == pytest.approx((length.mean() - half, length.mean() + half))


def test_a_batch_with_another_class_mix_raises_that_alarm_only():
    shift = shift_of(drawn(np.random.default_rng(0), shares=(0.35, 0.35, 0.75), lengths=(5, 5, 5)))
    found = alarms(shift, "batch")
    assert ("b2", "retracement_share") in found
    assert {measure for _, measure in found} == {"retracement_share"}
    one = found["b2", "retracement_share"]
    assert one.value > 0.65 and one.rest < 0.45 and one.p_value <= LEVEL
    assert shift.alarms[0].p_value == shift.p_value


def test_a_batch_with_longer_spans_is_found():
    shift = shift_of(drawn(np.random.default_rng(0), lengths=(5.0, 7.0)))
    assert ("b1", "mean_span_bars") in alarms(shift, "batch")


def test_a_batch_with_more_empty_windows_is_found():
    frame = drawn(np.random.default_rng(0))
    other = drawn(np.random.default_rng(1), empty=0.7).query("batch == 'b1'")
    shift = shift_of(pd.concat([frame.query("batch == 'b0'"), other], ignore_index=True))
    assert ("b1", "empty_share") in alarms(shift, "batch")


def test_a_change_over_time_is_found_without_batches_and_located():
    frame = drawn(np.random.default_rng(0), shares=(0.25, 0.75)).assign(batch="one")
    shift = shift_of(frame)
    drifts = [one for one in shift.alarms if one.measure == DRIFT]
    assert drifts[0].family == "time order"
    assert abs(int(drifts[0].name[1:]) - 100) < 15
    assert drifts[0].value > 0.6 > 0.4 > drifts[0].rest
    assert alarms(shift, "batch") == {}


def test_windows_sorted_by_type_are_found_in_the_order_of_the_file_and_not_in_time():
    frame = drawn(np.random.default_rng(0))
    kinds = frame.groupby("window_id")["label"].transform("max")
    order = np.lexsort([frame["window_id"], kinds])
    row = pd.Series(np.arange(len(frame)), frame.index[order])
    shift = shift_of(frame.assign(row=row))
    assert {measure for _, measure in alarms(shift, "file order")} == {DRIFT, NEIGHBORS}
    assert alarms(shift, "time order") == {}


def test_a_file_in_time_order_is_tested_once():
    frame = drawn(np.random.default_rng(0), shares=(0.2, 0.8))
    assert alarms(shift_of(frame.assign(row=np.arange(len(frame)))), "file order") == {}


def test_labels_without_a_shift_raise_alarms_at_about_the_stated_level():
    draws = [drawn(np.random.default_rng(seed), n_windows=40) for seed in range(60)]
    raised = [bool(shift_of(frame, seed).alarms) for seed, frame in enumerate(draws)]
    assert sum(raised) <= 8  # binomial(60, 0.05) exceeds 8 in 0.3 % of cases


@pytest.mark.slow
def test_the_rate_of_false_alarms_is_near_its_level_with_correlated_sessions_too():
    def correlated(rng: np.random.Generator) -> pd.DataFrame:
        frame = drawn(rng, shares=(0.4,) * 4, lengths=(5,) * 4, n_windows=40)
        mood = {session: rng.beta(4, 6) for session in frame["session"].unique()}
        draw = rng.random(len(frame)) < [mood[session] for session in frame["session"]]
        kinds = np.where(draw, "retracement", "consolidation")
        return frame.assign(label=np.where(frame["in_core"], kinds, "none"))

    found = [shift_of(correlated(np.random.default_rng(seed)), seed) for seed in range(300)]
    of_groups = [any(one.family in ("batch", "month") for one in shift.alarms) for shift in found]
    assert np.mean(of_groups) <= 0.07
    assert 0.02 <= np.mean([bool(shift.alarms) for shift in found]) <= 0.13


def test_labels_too_few_to_compare_raise_nothing():
    frame = drawn(np.random.default_rng(0), n_windows=5)
    none = frame.loc[frame["label"] == "none"]
    for few in (frame.head(1), frame.head(0), none):
        shift = shift_of(few.assign(batch="one"))
        assert shift.alarms == []


def test_expansions_outside_the_core_are_not_counted():
    frame = drawn(np.random.default_rng(0), n_windows=10)
    assert shift_of(frame.assign(in_core=False)).batches[0].expansions == 0
    assert shift_of(frame.assign(in_core=False)).batches[0].mean_span_bars.estimate is None


def test_the_same_labels_raise_the_same_alarms():
    frame = drawn(np.random.default_rng(0), shares=(0.3, 0.6))
    assert shift_of(frame, 5) == shift_of(frame, 5)


def test_the_share_of_retracements_is_that_of_the_known_types():
    frame = drawn(np.random.default_rng(0), shares=(0.35, 0.35, 0.75), lengths=(5, 5, 5))
    extra = frame.loc[frame["in_core"] & (frame["batch"] == "b0")].assign(label="unknown")
    extra = extra.assign(window_id="u" + extra["window_id"])
    plain, unsure = shift_of(frame), shift_of(pd.concat([frame, extra], ignore_index=True))
    for before, after in zip(plain.batches, unsure.batches, strict=True):
        assert (after.typed, after.retracement_share) == (before.typed, before.retracement_share)
    assert unsure.batches[0].expansions == 2 * plain.batches[0].expansions
    assert ("b2", "retracement_share") in alarms(unsure, "batch")


def test_unknown_types_alone_are_no_order_and_have_no_share():
    frame = drawn(np.random.default_rng(0), n_windows=30)
    frame = frame.assign(label=frame["label"].where(~frame["in_core"], "unknown"))
    shift = shift_of(frame)
    assert [(one.typed, one.retracement_share.estimate) for one in shift.batches] == [(0, None)] * 2
    assert not any(one.measure in (DRIFT, NEIGHBORS, "retracement_share") for one in shift.alarms)
