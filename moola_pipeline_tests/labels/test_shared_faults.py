"""One fault of a whole file is one line that names its option; the option mends it."""

from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.errors import BadInput
from moola_pipeline.labels.importing import LabelFile, inspect_labels
from moola_pipeline.labels.label_options import LabelOptions
from moola_pipeline_tests.labels.marked_market import marked_bars, marked_labels

PLACE = ["window_start", "expansion_start", "expansion_end"]
NEW_YORK = "America/New_York"


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return marked_bars()


@pytest.fixture(scope="module")
def labels(bars: pd.DataFrame) -> pd.DataFrame:
    return marked_labels(bars)


def saved(tmp_path: Path, labels: pd.DataFrame, times: str = "%Y-%m-%dT%H:%M:%SZ") -> Path:
    path = tmp_path / "mine.csv"
    labels.to_csv(path, index=False, date_format=times)
    return path


def refusal(path: Path, bars: pd.DataFrame, options: LabelOptions | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        inspect_labels(path, bars, options=options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def places(file: LabelFile) -> pd.DataFrame:
    assert not len(file.refused)
    return file.labels.loc[:, PLACE].reset_index(drop=True)


def moved(labels: pd.DataFrame, start: int = 0, end: int = 0) -> pd.DataFrame:
    return labels.assign(
        expansion_start=labels["expansion_start"] + start, expansion_end=labels["expansion_end"] + end
    )


def in_new_york(labels: pd.DataFrame) -> pd.DataFrame:
    return labels.assign(window_start=labels["window_start"].dt.tz_convert(NEW_YORK).dt.tz_localize(None))


def test_a_sound_file_is_read_as_before(tmp_path, bars, labels):
    file = inspect_labels(saved(tmp_path, labels), bars)
    pd.testing.assert_frame_equal(places(file), labels[PLACE])
    assert file.notes == []


def test_windows_a_bar_late_are_refused_once_and_moved_on_request(tmp_path, bars, labels):
    late = labels.assign(window_start=labels["window_start"] + pd.Timedelta("1min"))
    path = saved(tmp_path, late)
    assert refusal(path, bars) == (
        "mine.csv: spans must lie on moves of the registered bars, but all spans look one bar late: "
        "give --shift-bars -1, or keep them with --as-is."
    )
    file = inspect_labels(path, bars, options=LabelOptions(shift_bars=-1))
    pd.testing.assert_frame_equal(places(file), labels[PLACE])
    assert file.notes == ["windows are moved by -1 bar"]


def test_bars_counted_from_one_are_moved_inside_their_windows(tmp_path, bars, labels):
    labels = labels.assign(expansion_end=labels["expansion_end"])
    path = saved(tmp_path, moved(labels, 1, 1).replace({"expansion_end": {46: 105}}))
    whole = path.read_text().splitlines()
    last = whole[-1].split(",")
    whole.append(",".join(["extra", whole[1].split(",")[1], "retracement", "100", "105", *last[5:]]))
    path.write_text("\n".join(whole) + "\n")
    assert "give --shift-bars -1" in refusal(path, bars)
    file = inspect_labels(path, bars, options=LabelOptions(shift_bars=-1))
    assert file.notes == ["spans are moved inside their windows by -1 bar"]
    pd.testing.assert_frame_equal(places(file).iloc[:-1], labels[PLACE])
    assert file.labels["expansion_end"].iloc[-1] == 104


def test_new_york_times_called_utc_are_refused_once_and_read_on_request(tmp_path, bars, labels):
    path = saved(tmp_path, in_new_york(labels))
    assert "the times look like New York times: give --timezone America/New_York" in refusal(path, bars)
    file = inspect_labels(path, bars, options=LabelOptions(timezone=NEW_YORK))
    pd.testing.assert_frame_equal(places(file), labels[PLACE])
    assert file.notes == [f"times are read as {NEW_YORK} times; {len(labels)} of them name another"]


def test_times_without_a_zone_are_one_question_and_the_fitting_zone_is_named(tmp_path, bars, labels):
    path = saved(tmp_path, in_new_york(labels), "%Y-%m-%d %H:%M:%S")
    assert refusal(path, bars) == (
        "mine.csv: window_start must have a time zone (like 2024-05-06T14:30:00Z), but 40 of 40 rows have "
        "none; the spans fit America/New_York: give --timezone America/New_York."
    )
    file = inspect_labels(path, bars, options=LabelOptions(timezone=NEW_YORK))
    pd.testing.assert_frame_equal(places(file), labels[PLACE])
    assert file.notes == [f"times are read as {NEW_YORK} times"]


def test_a_zone_given_beside_right_ones_is_found_wrong(tmp_path, bars, labels):
    message = refusal(saved(tmp_path, labels), bars, LabelOptions(timezone="Asia/Tokyo"))
    assert "the times look like UTC times: give --timezone UTC" in message


def test_exchanged_ends_are_refused_once_and_swapped_on_request(tmp_path, bars, labels):
    other = labels.rename(columns={"expansion_start": "expansion_end", "expansion_end": "expansion_start"})
    path = saved(tmp_path, other)
    assert refusal(path, bars) == (
        "mine.csv: a span must not end before it starts, but 40 of 40 do: "
        "start and end look exchanged: give --ends swapped."
    )
    file = inspect_labels(path, bars, options=LabelOptions(ends="swapped"))
    pd.testing.assert_frame_equal(places(file), labels[PLACE])


def test_ends_that_are_exclusive_are_read_on_request(tmp_path, bars, labels):
    path = saved(tmp_path, moved(labels, 0, 1))
    assert "give --ends exclusive" in refusal(path, bars)
    file = inspect_labels(path, bars, options=LabelOptions(ends="exclusive"))
    pd.testing.assert_frame_equal(places(file), labels[PLACE])


def test_as_is_accepts_what_does_not_fit(tmp_path, bars, labels):
    path = saved(tmp_path, moved(labels, 2, 2))
    file = inspect_labels(path, bars, options=LabelOptions(as_is=True))
    pd.testing.assert_frame_equal(places(file), moved(labels, 2, 2).loc[:, PLACE])


def test_labels_of_other_years_are_one_line(tmp_path, bars, labels):
    other = labels.assign(window_start=labels["window_start"] + pd.Timedelta("3650D"))
    assert refusal(saved(tmp_path, other), bars) == (
        "mine.csv: windows must lie on the registered bars, but they start 2034-01-05 to 2034-12-22 and the "
        "bars cover 2024-01-08 to 2024-12-24: register the bars that were labeled."
    )


def test_times_between_the_minutes_are_one_line(tmp_path, bars, labels):
    other = labels.assign(window_start=labels["window_start"] - pd.Timedelta("1s"))
    assert "but 40 of 40 do not lie on a minute: round them down to it." in refusal(
        saved(tmp_path, other), bars
    )


def test_parquet_with_typed_times_takes_the_same_options(tmp_path, bars, labels):
    path = tmp_path / "mine.parquet"
    moved(in_new_york(labels), 0, 1).to_parquet(path)
    assert "the spans fit America/New_York" in refusal(path, bars)
    options = LabelOptions(timezone=NEW_YORK, ends="exclusive")
    pd.testing.assert_frame_equal(places(inspect_labels(path, bars, options=options)), labels[PLACE])
    late = labels.assign(window_start=labels["window_start"] + pd.Timedelta("2min"))
    late.to_parquet(path)
    file = inspect_labels(path, bars, options=LabelOptions(shift_bars=-2))
    pd.testing.assert_frame_equal(places(file), labels[PLACE])


def test_one_faulty_row_is_still_named_with_its_row(tmp_path, bars, labels):
    path = saved(tmp_path, labels)
    text = path.read_text().replace("45,49", "49,45", 1)
    path.write_text(text)
    file = inspect_labels(path, bars)
    assert file.refused["detail"].tolist() == ["a span must not end before it starts, got 49..45"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shift_bars": 60}, "--shift-bars must lie in -5..5, got 60. For hours, name the zone"),
        ({"timezone": "Mars/Base"}, "--timezone must name a zone of the IANA database, got 'Mars/Base'"),
        ({"ends": "odd"}, "--ends must be inclusive, exclusive or swapped, got 'odd'"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(BadInput) as caught:
        LabelOptions(**options)
    assert message in str(caught.value)
