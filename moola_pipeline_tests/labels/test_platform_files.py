"""Files of other programs, with spans in time, become the rows of a file with windows."""

import json
from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.errors import BadInput
from moola_pipeline.labels.importing import LabelFile, inspect_labels
from moola_pipeline.labels.label_options import LabelOptions
from moola_pipeline.labels.placement import place_labels
from moola_pipeline.labels.schema import NONE, expansions
from moola_pipeline.windows.window_geometry import CORE_BARS, CORE_FIRST, CORE_LAST
from moola_pipeline_tests.labels.marked_market import SPAN_BARS, marked_bars, marked_labels

MINUTE = pd.Timedelta("1min")
NEW_YORK = "America/New_York"
N_COVERED = 3 * 45 + 10


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return marked_bars()


@pytest.fixture(scope="module")
def spans(bars: pd.DataFrame) -> pd.DataFrame:
    """The moves in time, and the stretch around each that was looked at."""
    labels = marked_labels(bars)
    started = labels["window_start"] + labels["expansion_start"].astype(int) * MINUTE
    return pd.DataFrame(
        {
            "start": started,
            "end": started + (SPAN_BARS - 1) * MINUTE,
            "label": labels["label"],
            "looked_from": started - 70 * MINUTE,
            "looked_to": started + (N_COVERED - 70) * MINUTE,
        }
    )


def in_utc(moments: pd.Series) -> pd.Series:
    return moments.dt.strftime("%Y-%m-%dT%H:%M:%SZ")


def as_csv(tmp_path: Path, spans: pd.DataFrame) -> Path:
    path = tmp_path / "spans.csv"
    spans.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    return path


def marked_times(file: LabelFile) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """First and last bar of each expansion, by time."""
    assert not len(file.refused), file.refused["detail"].tolist()
    marked = expansions(file.labels)
    ends = [marked["window_start"] + marked[name].astype(int) * MINUTE for name in marked.columns[3:5]]
    return sorted(zip(*ends, strict=True))


def expected_times(spans: pd.DataFrame) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    return sorted(zip(spans["start"], spans["end"], strict=True))


def refusal(path: Path, bars: pd.DataFrame, **options) -> str:
    with pytest.raises(BadInput) as caught:
        inspect_labels(path, bars, options=LabelOptions(**options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_covered_time_becomes_windows_and_those_without_a_span_are_none(tmp_path, bars, spans):
    file = inspect_labels(as_csv(tmp_path, spans), bars)
    assert marked_times(file) == expected_times(spans)
    assert file.notes == [
        f"{3 * len(spans)} windows are cut from the covered time, {2 * len(spans)} of them empty"
    ]
    assert file.labels["label"].tolist().count(NONE) == 2 * len(spans)
    placed = place_labels(file.labels, bars)
    assert not len(placed.refused)
    assert placed.frame.loc[placed.frame["label"] != NONE, "in_core"].to_numpy().all()
    starts = placed.frame.loc[:, ["session", "bar0"]].drop_duplicates().sort_values("bar0")
    assert set(starts.groupby("session")["bar0"].diff().dropna()) == {
        45
    }  # no bar is in bars 30-74 of two windows
    opened = bars["timestamp"].to_numpy()
    first, last = opened[placed.frame["bar0"] + 30], opened[placed.frame["bar0"] + 74]
    for row, (low, high) in enumerate(zip(first, last, strict=True)):
        inside = (spans["looked_from"] <= low).to_numpy() & (high < spans["looked_to"]).to_numpy()
        assert inside.sum() == 1, row  # what was not looked at is in no window's bars 30-74


def test_covers_may_be_given_as_options_in_the_clock_of_the_file(tmp_path, bars, spans):
    local = spans.assign(
        **{name: spans[name].dt.tz_convert(NEW_YORK).dt.tz_localize(None) for name in ("start", "end")}
    )
    path = tmp_path / "spans.csv"
    local[["start", "end", "label"]].to_csv(path, index=False)
    assert "the times in start must name their time zone, got none" in refusal(path, bars)
    stretches = tuple(
        "/".join(f"{moment.tz_convert(NEW_YORK):%Y-%m-%d %H:%M}" for moment in pair)
        for pair in zip(spans["looked_from"], spans["looked_to"], strict=True)
    )
    file = inspect_labels(path, bars, options=LabelOptions(timezone=NEW_YORK, covers=stretches))
    assert marked_times(file) == expected_times(spans)


def test_a_row_labeled_none_covers_its_own_time(tmp_path, bars, spans):
    looked = spans.assign(start=spans["looked_from"], end=spans["looked_to"] - MINUTE, label="none")
    rows = pd.concat([spans, looked]).loc[:, ["start", "end", "label"]]
    file = inspect_labels(as_csv(tmp_path, rows), bars)
    assert marked_times(file) == expected_times(spans)
    assert file.labels["label"].tolist().count(NONE) == 2 * len(spans)


def studio_task(row, number: int, form) -> dict:
    value = {
        "start": form(row.start),
        "end": form(row.end),
        "instant": False,
        "timeserieslabels": [row.label],
    }
    region = {"value": value, "from_name": "label", "to_name": "ts", "type": "timeserieslabels"}
    canceled = {
        "completed_by": 1,
        "was_cancelled": True,
        "result": [region | {"value": value | {"start": 0}}],
    }
    looked = {"looked_from": str(row.looked_from), "looked_to": str(row.looked_to)}
    annotation = {"completed_by": {"id": 1, "email": "me@example.org"}, "result": [region]}
    return {"id": number, "data": {"csv": "bars.csv", **looked}, "annotations": [annotation, canceled]}


@pytest.mark.parametrize("form", [str, lambda moment: moment.value // 10**6], ids=["text", "milliseconds"])
def test_label_studio_json_reads_like_csv(tmp_path, bars, spans, form):
    tasks = [studio_task(row, number, form) for number, row in enumerate(spans.itertuples())]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    file = inspect_labels(path, bars)
    assert marked_times(file) == expected_times(spans)
    assert set(file.labels["annotator"]) == {"me@example.org"}


def test_label_studio_minimal_json_and_csv_read_the_same(tmp_path, bars, spans):
    tasks = []
    for row in spans.itertuples():
        region = studio_task(row, 1, str)["annotations"][0]["result"][0]["value"]
        looked = {"looked_from": str(row.looked_from), "looked_to": str(row.looked_to)}
        tasks.append({"csv": "bars.csv", **looked, "label": [region], "annotator": 1})
    (tmp_path / "min.json").write_text(json.dumps(tasks))
    table = pd.DataFrame(tasks)
    table.assign(label=[json.dumps(cell) for cell in table["label"]]).to_csv(tmp_path / "e.csv", index=False)
    for name in ("min.json", "e.csv"):
        assert marked_times(inspect_labels(tmp_path / name, bars)) == expected_times(spans)


def test_two_annotators_in_one_file_are_refused(tmp_path, bars, spans):
    path = as_csv(tmp_path, spans.assign(annotator=["a", "b"] * (len(spans) // 2)))
    assert "must hold the labels of one annotator, got 2 (a, b)" in refusal(path, bars)


def label_track(path: Path, spans: pd.DataFrame, origin: object) -> Path:
    seconds = [(spans[name] - pd.Timestamp(str(origin))).dt.total_seconds() for name in ("start", "end")]
    lines = [
        f"{first:.6f}\t{last:.6f}\t{label}\n\\\t100.000000\t200.000000\n"
        for first, last, label in zip(*seconds, spans["label"], strict=True)
    ]
    path.write_text("".join(lines))
    return path


def test_a_label_track_counts_from_1970_or_from_the_stretch_it_covers(tmp_path, bars, spans):
    stretches = tuple(
        "/".join(in_utc(pd.Series(pair)))
        for pair in zip(spans["looked_from"], spans["looked_to"], strict=True)
    )
    path = label_track(tmp_path / "track.txt", spans, pd.Timestamp("1970-01-01T00:00Z"))
    file = inspect_labels(path, bars, options=LabelOptions(covers=stretches, timezone="UTC"))
    assert marked_times(file) == expected_times(spans)
    one = label_track(tmp_path / "one.txt", spans.iloc[:1], spans["looked_from"].iloc[0])
    file = inspect_labels(one, bars, options=LabelOptions(covers=stretches[:1], timezone="UTC"))
    assert marked_times(file) == expected_times(spans.iloc[:1])
    assert "must count from 1970, or from the start of one --covers" in refusal(one, bars)


def test_marks_on_five_minute_bars_are_read_as_their_minutes(tmp_path, bars, spans):
    coarse = spans.assign(start=spans["start"].dt.floor("5min"), end=spans["end"].dt.floor("5min"))
    file = inspect_labels(as_csv(tmp_path, coarse), bars)
    assert file.notes[0] == (
        "marks lie on 5-minute bars and are read as their minutes: a start may be 4 bars early, "
        "an end 4 bars late; scores match starts within 3 bars"
    )
    assert marked_times(file) == [(first, last + 4 * MINUTE) for first, last in expected_times(coarse)]


@pytest.mark.parametrize(
    ("change", "option", "mended"),
    [
        (
            lambda it: {"start": it.start + MINUTE, "end": it.end + MINUTE},
            "--shift-bars -1",
            {"shift_bars": -1},
        ),
        (lambda it: {"end": it.end + MINUTE}, "--ends exclusive", {"ends": "exclusive"}),
        (lambda it: {"start": it.end, "end": it.start}, "--ends swapped", {"ends": "swapped"}),
    ],
)
def test_spans_in_time_are_judged_before_they_are_cut(tmp_path, bars, spans, change, option, mended):
    path = as_csv(tmp_path, spans.assign(**change(spans)))
    assert option in refusal(path, bars)
    assert marked_times(inspect_labels(path, bars, options=LabelOptions(**mended))) == expected_times(spans)


def test_new_york_times_called_utc_are_found(tmp_path, bars, spans):
    wall = spans.assign(
        **{
            name: spans[name].dt.tz_convert(NEW_YORK).dt.tz_localize(None)
            for name in ("start", "end", "looked_from", "looked_to")
        }
    )
    path = as_csv(tmp_path, wall)
    assert "the times look like New York times: give --timezone America/New_York" in refusal(path, bars)
    file = inspect_labels(path, bars, options=LabelOptions(timezone=NEW_YORK))
    assert marked_times(file) == expected_times(spans)


def test_a_span_that_was_not_covered_is_a_faulty_row(tmp_path, bars, spans):
    stray = spans.iloc[:1].assign(start=bars["timestamp"].iloc[5], end=bars["timestamp"].iloc[8])
    rows = pd.concat([spans, stray], ignore_index=True)
    file = inspect_labels(as_csv(tmp_path, rows), bars)
    assert file.refused["reason"].tolist() == ["span outside the covered windows"]
    assert file.refused.index.tolist() == [len(spans) + 2]
    assert file.rows == len(file.labels) + len(file.refused)


WITHOUT_COVER = "40 windows are placed around spans without covered time; name the time that was looked at"


def known_spans_only(file: LabelFile, bars: pd.DataFrame) -> pd.DataFrame:
    """The rows of a file placed on the bars, each an expansion in bars 30-74 of an incomplete window."""
    placed = place_labels(file.labels, bars)
    assert not len(placed.refused)
    assert placed.frame["in_core"].to_numpy(bool).all()
    assert set(placed.frame["complete"]) == {"no"}
    assert placed.frame["window_id"].str.endswith("-spans").to_numpy().all()
    return placed.frame


def test_without_covered_time_the_spans_are_known_and_the_rest_is_not(tmp_path, bars, spans):
    file = inspect_labels(as_csv(tmp_path, spans[["start", "end", "label"]]), bars)
    assert marked_times(file) == expected_times(spans)
    assert len(known_spans_only(file, bars)) == len(spans)
    (note,) = file.notes
    assert note.startswith(WITHOUT_COVER)
    assert "--covers" in note


def test_a_label_studio_task_without_looked_from_is_incomplete(tmp_path, bars, spans):
    tasks = [studio_task(row, number, str) for number, row in enumerate(spans.itertuples())]
    for task in tasks:
        del task["data"]["looked_from"], task["data"]["looked_to"]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    minimal = [
        {"csv": "bars.csv", "annotator": 1, "label": [task["annotations"][0]["result"][0]["value"]]}
        for task in tasks
    ]
    (tmp_path / "min.json").write_text(json.dumps(minimal))
    table = pd.DataFrame(minimal)
    table.assign(label=[json.dumps(cell) for cell in table["label"]]).to_csv(tmp_path / "e.csv", index=False)
    for name in ("export.json", "min.json", "e.csv"):
        file = inspect_labels(tmp_path / name, bars)
        assert marked_times(file) == expected_times(spans)
        assert len(known_spans_only(file, bars)) == len(spans)


def test_a_label_track_without_covers_is_incomplete(tmp_path, bars, spans):
    path = label_track(tmp_path / "track.txt", spans, pd.Timestamp("1970-01-01T00:00Z"))
    file = inspect_labels(path, bars, options=LabelOptions(timezone="UTC"))
    assert marked_times(file) == expected_times(spans)
    assert len(known_spans_only(file, bars)) == len(spans)


def test_a_label_studio_task_that_was_looked_at_and_has_no_span_is_empty(tmp_path, bars, spans):
    tasks = [studio_task(row, number, str) for number, row in enumerate(spans.itertuples())]
    for task in tasks[::2]:
        task["annotations"][0]["result"] = []
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    file = inspect_labels(tmp_path / "export.json", bars)
    assert marked_times(file) == expected_times(spans.iloc[1::2])
    assert file.labels["label"].tolist().count(NONE) == 20 * 3 + 20 * 2


def test_covered_and_uncovered_spans_of_a_file_are_told_apart(tmp_path, bars, spans):
    half = spans.assign(
        looked_from=spans["looked_from"].where(spans.index < 20),
        looked_to=spans["looked_to"].where(spans.index < 20),
    )
    file = inspect_labels(as_csv(tmp_path, half), bars)
    assert marked_times(file) == expected_times(spans)
    assert file.labels["complete"].tolist().count("yes") == 3 * 20
    assert file.labels["complete"].tolist().count("no") == 20


def test_a_span_of_covered_time_is_in_a_complete_window_though_its_row_names_none(tmp_path, bars, spans):
    looked = spans.iloc[:1].assign(start=spans["looked_from"], end=spans["looked_to"] - MINUTE, label="none")
    rows = pd.concat([spans, looked]).loc[:, ["start", "end", "label"]]
    file = inspect_labels(as_csv(tmp_path, rows), bars)
    assert file.labels["complete"].tolist().count("yes") == 3
    assert file.labels["complete"].tolist().count("no") == len(spans) - 1


def test_a_span_that_fits_no_window_is_a_faulty_row(tmp_path, bars, spans):
    early = spans.iloc[:1].assign(start=bars["timestamp"].iloc[69], end=bars["timestamp"].iloc[72])
    rows = pd.concat([spans, early], ignore_index=True).loc[:, ["start", "end", "label"]]
    file = inspect_labels(as_csv(tmp_path, rows), bars)
    assert file.refused["reason"].tolist() == ["span fits no window"]
    assert file.refused["detail"].tolist() == [
        "the span at 2024-01-08T01:09:00Z must have 70 bars of its segment before it, 30 after its first "
        "bar, and at most 75 in all"
    ]
    fits = early.assign(start=bars["timestamp"].iloc[70], end=bars["timestamp"].iloc[144])
    rows = pd.concat([spans, fits], ignore_index=True).loc[:, ["start", "end", "label"]]
    assert not len(inspect_labels(as_csv(tmp_path, rows), bars).refused)


@pytest.mark.parametrize(
    ("covers", "message"),
    [
        ("2024-05-06", "--covers must be START/END, got '2024-05-06'"),
        ("2024-05-06T10:00Z/2024-05-06T09:00Z", "--covers must end after it starts"),
        ("2024-05-06T10:00/2024-05-06T19:00", "--covers must name their time zone"),
        ("2031-05-06T10:00Z/2031-05-06T19:00Z", "covered time must hold 45 bars"),
    ],
)
def test_covered_time_that_cannot_be_is_refused(tmp_path, bars, spans, covers, message):
    assert message in refusal(
        as_csv(tmp_path, spans.loc[:, ["start", "end", "label"]]), bars, covers=(covers,)
    )


def test_a_window_whose_span_leaves_it_is_refused_and_not_empty(tmp_path, bars, spans):
    window = inspect_labels(as_csv(tmp_path, spans), bars).labels.iloc[0]
    opened = bars["timestamp"].tolist()
    core = opened.index(window["window_start"]) + CORE_LAST
    long = pd.DataFrame({"start": [opened[core]], "end": [opened[core + 40]], "label": ["retracement"]})
    stretch = f"{opened[core + 1 - CORE_BARS].isoformat()}/{opened[core + 1 + CORE_BARS].isoformat()}"
    file = inspect_labels(as_csv(tmp_path, long), bars, options=LabelOptions(covers=(stretch,)))
    assert file.refused["reason"].tolist() == ["span outside the window"]
    assert file.labels["label"].tolist() == ["none"]
    assert file.labels["window_start"].tolist() == [opened[core + 1 - CORE_FIRST]]


def test_a_file_with_windows_takes_no_covers(tmp_path, bars):
    path = tmp_path / "mine.csv"
    marked_labels(bars).to_csv(path, index=False)
    assert "--covers is for files with spans in time" in refusal(path, bars, covers=("a/b",))


def test_half_of_a_character_in_label_studio_json_is_refused_in_one_line(tmp_path, bars):
    value = {"start": "2025-05-12 14:00", "end": "2025-05-12 14:05", "timeserieslabels": ["consolidation"]}
    task = {"data": {}, "annotations": [{"completed_by": "\ud800 me", "result": [{"value": value}]}]}
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task]))
    with pytest.raises(
        BadInput, match="labels must be text, got .* half of a character. Correct it"
    ) as caught:
        inspect_labels(path, bars, options=LabelOptions(timezone="UTC"))
    assert "\n" not in str(caught.value)
