import gzip
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.errors import BadInput
from moola_pipeline.labels.importing import inspect_labels
from moola_pipeline.labels.label_options import LabelOptions
from moola_pipeline.labels.label_rows import read_labels
from moola_pipeline.labels.schema import LABEL_COLUMNS, LABEL_DTYPES, expansions, type_name, type_numbers
from moola_pipeline.windows.window_geometry import UNTYPED

HEADER = "window_id,window_start,label,expansion_start,expansion_end,grade"
SOUND = (
    "a,2024-05-06T14:30:00Z,consolidation,33,41,A",
    "a,2024-05-06T14:30:00Z,retracement,68,70,A",
    "b,2024-05-07T14:30:00Z,none,,,B",
)


def write(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def fault_of(tmp_path: Path, *rows: str) -> str:
    with pytest.raises(BadInput) as caught:
        read_labels(write(tmp_path, *rows))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_sound_file_comes_back_in_the_contracts_columns_and_dtypes(tmp_path):
    labels = read_labels(write(tmp_path, *SOUND))
    assert tuple(labels.columns) == LABEL_COLUMNS
    assert labels.dtypes.astype(str).to_dict() == LABEL_DTYPES
    assert labels["expansion_start"].tolist() == [33, 68, pd.NA]
    assert labels["window_start"].iloc[0] == pd.Timestamp("2024-05-06 14:30", tz="UTC")
    assert labels["pass"].tolist() == [1, 1, 1]


def test_parquet_with_typed_times_reads_like_csv(tmp_path):
    expected = read_labels(write(tmp_path, *SOUND))
    path = tmp_path / "labels.parquet"
    expected.drop(columns=["batch", "annotator"]).to_parquet(path)
    pd.testing.assert_frame_equal(read_labels(path), expected)


def test_a_time_with_an_offset_is_turned_to_utc(tmp_path):
    labels = read_labels(write(tmp_path, "a,2024-05-06T10:30:00-04:00,none,,,"))
    assert labels["window_start"].iloc[0] == pd.Timestamp("2024-05-06 14:30", tz="UTC")


def test_names_that_stand_for_all_or_for_nobody_are_no_annotators(tmp_path):
    rows = [f"{row},{name}" for row, name in zip(SOUND, ("unnamed", "unnamed", ""), strict=True)]
    assert (
        read_labels(write(tmp_path, *rows, header=f"{HEADER},annotator"))["annotator"]
        .isna()
        .to_numpy(bool)
        .all()
    )
    path = write(tmp_path, f"{SOUND[2]},consensus", header=f"{HEADER},annotator")
    with pytest.raises(BadInput, match="annotator must be a person, but consensus stands for all annotators"):
        read_labels(path)


@pytest.mark.parametrize("name", ["consensus", " ", "NA", "An\rna", "a\0"])
def test_an_annotator_must_have_a_name(name):
    with pytest.raises(BadInput, match="--annotator must name a person"):
        LabelOptions(annotator=name)


@pytest.mark.parametrize("name", ["window_id", "annotator", "batch"])
@pytest.mark.parametrize("character", ["\r", "\0"])
def test_what_a_csv_does_not_give_back_is_refused(tmp_path, name: str, character: str):
    labels = read_labels(write(tmp_path, *SOUND))
    labels[name] = pd.array([f"a{character}b", "c", "d"], "str")[: len(labels)]
    labels.to_parquet(tmp_path / "labels.parquet")
    with pytest.raises(BadInput, match=f"{name} must not hold control characters"):
        read_labels(tmp_path / "labels.parquet")


def test_a_naive_time_in_parquet_is_refused(tmp_path):
    labels = read_labels(write(tmp_path, *SOUND))
    path = tmp_path / "labels.parquet"
    labels.assign(window_start=labels["window_start"].dt.tz_localize(None)).to_parquet(path)
    with pytest.raises(BadInput, match="must have a time zone"):
        read_labels(path)


def test_an_unknown_class_is_named_with_its_row_and_the_allowed_ones(tmp_path):
    message = fault_of(tmp_path, *SOUND, "c,2024-05-08T14:30:00Z,expanion,33,41,A")
    assert 'row 5: label must be consolidation, retracement, unknown or none, got "expanion"' in message


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("c,2024-05-08T14:30:00,none,,,", "window_start must have a time zone"),
        ("c,someday,none,,,", "window_start must be an ISO time, got someday"),
        ("c,9999-05-08T14:30:00Z,none,,,", "window_start must be an ISO time"),
        ("c,2024-05-08T14:30:00Z,retracement,,,", "an expansion must have a start and an end"),
        ("c,2024-05-08T14:30:00Z,retracement,33,,", "an expansion must have a start and an end"),
        ("c,2024-05-08T14:30:00Z,none,33,41,", "a window labeled none must have no span, got 33..41"),
        ("c,2024-05-08T14:30:00Z,retracement,99,105,", "a span must lie in bars 0..104, got 99..105"),
        ("c,2024-05-08T14:30:00Z,retracement,-1,4,", "a span must lie in bars 0..104, got -1..4"),
        ("c,2024-05-08T14:30:00Z,retracement,41,33,", "a span must not end before it starts, got 41..33"),
        ("c,2024-05-08T14:30:00Z,retracement,3.5,8,", "expansion_start must be a whole number, got 3.5"),
        ("c,2024-05-08T14:30:00Z,retracement,x,8,", "expansion_start must be a whole number, got x"),
        ("c,2024-05-08T14:30:00Z,none,,,E", "grade must be A..D, got E"),
        (",2024-05-08T14:30:00Z,none,,,", "window_id is empty"),
        ("c,2024-05-08T14:30:00Z,,,,", 'label must be consolidation, retracement, unknown or none, got ""'),
    ],
)
def test_a_malformed_row_is_refused_in_one_line(tmp_path, row, expected):
    message = fault_of(tmp_path, *SOUND, row)
    assert f"row 5: {expected}" in message
    assert message.startswith("labels.csv: 1 of 4 rows")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            ["c,2024-05-08T14:30:00Z,none,,,", "c,2024-05-09T14:30:00Z,none,,,"],
            "window c has more than one window_start",
        ),
        (
            ["c,2024-05-08T14:30:00Z,none,,,", "c,2024-05-08T14:30:00Z,retracement,40,44,"],
            "window c is labeled none and has an expansion",
        ),
        (
            ["c,2024-05-08T14:30:00Z,consolidation,40,45,", "c,2024-05-08T14:30:00Z,retracement,42,48,"],
            "window c labels the same bars with both types",
        ),
        (
            ["c,2024-05-08T14:30:00Z,consolidation,40,45,", "c,2024-05-08T14:30:00Z,consolidation,44,60,"],
            "window c has two expansions that overlap by more than a border bar",
        ),
        (
            ["c,2024-05-08T14:30:00Z,retracement,40,45,A", "c,2024-05-08T14:30:00Z,retracement,40,45,B"],
            "window c has two expansions that overlap by more than a border bar",
        ),
    ],
)
def test_rows_that_cannot_both_be_true_are_refused(tmp_path, rows, expected):
    assert expected in fault_of(tmp_path, *SOUND, *rows)


@pytest.mark.parametrize("label", ["consolidation", "retracement"])
def test_expansions_that_share_their_border_bar_are_no_contradiction(tmp_path, label):
    rows = ("c,2024-05-08T14:30:00Z,consolidation,40,45,", f"c,2024-05-08T14:30:00Z,{label},45,48,")
    assert len(read_labels(write(tmp_path, *rows))) == 2


def test_a_later_pass_may_judge_a_window_otherwise(tmp_path):
    header = HEADER + ",pass"
    rows = ("c,2024-05-08T14:30:00Z,consolidation,40,45,,1", "c,2024-05-08T14:30:00Z,none,,,,2")
    assert read_labels(write(tmp_path, *rows, header=header))["pass"].tolist() == [1, 2]


def test_exact_duplicates_are_left_out_and_counted(tmp_path):
    file = inspect_labels(write(tmp_path, *SOUND, SOUND[0]))
    assert (file.rows, len(file.labels), file.duplicates) == (4, 3, 1)


def test_a_refused_row_takes_its_whole_window_with_it(tmp_path):
    file = inspect_labels(write(tmp_path, *SOUND, "a,2024-05-06T14:30:00Z,retracement,99,200,A"))
    assert file.labels["window_id"].tolist() == ["b"]
    assert file.refused["reason"].tolist() == ["another row of its window refused"] * 2 + [
        "span outside the window"
    ]
    assert file.rows == len(file.labels) + len(file.refused) + file.duplicates


def test_a_missing_column_is_named(tmp_path):
    path = write(tmp_path, "a,2024-05-06T14:30:00Z", header="window_id,window_start")
    with pytest.raises(BadInput, match=r"but label, expansion_start, expansion_end are missing .* them\.$"):
        read_labels(path)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"PAR1 and no more", b"a\0b", b"PK\x03\x04\0\0", b"\xff\xfe\xfa"]
)
def test_a_file_that_is_no_table_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        read_labels(path)
    assert str(caught.value).startswith("labels.csv: a")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"window_id,label\na,none\nb,none,x\n", "Expected 2 fields in line 3, saw 3"),
        (b"PAR1 and no more", "Parquet magic bytes not found"),
    ],
)
def test_a_file_that_is_no_table_says_where_and_what_to_do(tmp_path, content, why):
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        read_labels(path)
    assert f"cannot be read as one: {why}" in str(caught.value)
    assert str(caught.value).endswith("Correct it, or export it again.")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "an Excel workbook. Save it as csv."),
        (b"{}", "JSON. Save it as csv."),
    ],
)
def test_what_a_spreadsheet_saved_instead_is_named_with_the_way_out(tmp_path, content, kind):
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        read_labels(path)
    wanted = "labels.csv: a label file must be a csv in UTF-8 or parquet, got "
    assert str(caught.value).startswith(wanted + kind)


LENIENT: dict[str, Callable[[str], bytes]] = {
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "capitals": lambda text: text.upper().encode(),
    "a comment line": lambda text: f"# my labels\n{text}".encode(),
    "a title with commas": lambda text: f"labels, by me, of May, 2024, all\n\n{text}".encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "gzip": lambda text: gzip.compress(text.encode()),
    "Windows line ends": lambda text: text.replace("\n", "\r\n").encode(),
}


@pytest.mark.parametrize("way", LENIENT)
def test_a_csv_is_read_as_leniently_as_one_of_bars(tmp_path, way):
    text = "\n".join([HEADER, *SOUND, ""])
    (tmp_path / "plain.csv").write_text(text)
    (tmp_path / "labels.csv").write_bytes(LENIENT[way](text))
    expected, read = read_labels(tmp_path / "plain.csv"), read_labels(tmp_path / "labels.csv")
    if way == "capitals":
        expected = expected.assign(window_id=expected["window_id"].str.upper())
    pd.testing.assert_frame_equal(read, expected)


def test_rows_are_numbered_as_lines_of_the_file(tmp_path):
    (tmp_path / "labels.csv").write_text("\n".join(["# mine", "", HEADER, *SOUND, "x,never,none,,,", ""]))
    with pytest.raises(BadInput, match=f"row {len(SOUND) + 4}: window_start must be"):
        read_labels(tmp_path / "labels.csv")


def test_an_endless_cell_is_cut_in_the_error(tmp_path):
    message = fault_of(tmp_path, f"a,2024-05-08T14:30:00Z,{'what' * 10_000},1,2,")
    assert len(message) < 500


def test_rows_longer_than_the_header_are_refused_and_not_shifted(tmp_path):
    path = write(tmp_path, *(row + ",left over" for row in SOUND))
    with pytest.raises(BadInput, match="cannot be read as one"):
        read_labels(path)


def test_a_header_without_rows_is_refused(tmp_path):
    with pytest.raises(BadInput, match="must hold at least one row"):
        read_labels(write(tmp_path))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadInput, match="must be readable"):
        read_labels(tmp_path / "nowhere.csv")


def test_many_faults_are_summarised(tmp_path):
    rows = [f"c{n},2024-05-08T14:30:00Z,what,1,2," for n in range(9)]
    message = fault_of(tmp_path, *rows)
    assert message.startswith("labels.csv: 9 of 9 rows cannot be used (row 2: ")
    assert "and 6 more" in message


def test_the_pass_may_be_given_with_the_file(tmp_path):
    assert inspect_labels(write(tmp_path, *SOUND), pass_number=2).labels["pass"].tolist() == [2, 2, 2]


def test_a_pass_that_the_file_denies_is_refused(tmp_path):
    path = write(tmp_path, "c,2024-05-08T14:30:00Z,none,,,,1", header=HEADER + ",pass")
    assert len(inspect_labels(path, pass_number=1).labels) == 1
    with pytest.raises(
        BadInput, match='column "pass" must be 2 in every row, because --pass is 2.* Leave --pass out'
    ):
        inspect_labels(path, pass_number=2)


def test_a_window_with_more_rows_than_bars_is_refused_without_comparing_each_with_each(tmp_path):
    rows = [f"a,2024-05-06T14:30:00Z,consolidation,33,41,A,batch-{i}" for i in range(200)]
    file = inspect_labels(write(tmp_path, *rows, SOUND[2], header=f"{HEADER},batch"))
    assert file.labels["window_id"].tolist() == ["b"]
    assert set(file.refused["detail"]) == {"window a has more expansions than bars"}


def test_columns_of_one_name_and_too_many_columns_are_refused(tmp_path):
    path = write(tmp_path, "a,1,1", header='window_id,pass,"pass "')
    with pytest.raises(BadInput, match="it has more than one column 'pass'"):
        read_labels(path)
    path = write(tmp_path, "a,1,1", header=",".join(f"c{i}" for i in range(1_001)))
    with pytest.raises(BadInput, match="at most 1,000,000 rows and 1,000 columns, got 2 and 1,001"):
        read_labels(path)


def test_an_expansion_of_unknown_type_is_a_row_with_a_span(tmp_path):
    labels = read_labels(write(tmp_path, *SOUND, "c,2024-05-08T14:30:00Z,Unknown,40,45,"))
    assert labels["label"].tolist() == ["consolidation", "retracement", "none", "unknown"]
    assert expansions(labels)["label"].tolist() == ["consolidation", "retracement", "unknown"]
    assert type_numbers(labels).tolist() == [0, 1, UNTYPED, UNTYPED]
    assert [type_name(number) for number in (0, 1, UNTYPED)] == ["consolidation", "retracement", "unknown"]
    assert "must have a start and an end" in fault_of(tmp_path, "c,2024-05-08T14:30:00Z,unknown,,,")


def test_an_unknown_type_and_a_type_on_the_same_bars_of_a_window_overlap_but_are_not_two_types(tmp_path):
    rows = ("a,2024-05-06T14:30:00Z,unknown,33,41,", "a,2024-05-06T14:30:00Z,retracement,33,41,")
    refused = inspect_labels(write(tmp_path, *rows)).refused
    assert refused["reason"].tolist() == ["expansions overlap"] * 2


@pytest.mark.parametrize("cells", [["no", "no", ""], [" No ", "NO", "yes"], [None, "no", "yes"]])
def test_a_window_is_complete_unless_the_file_says_no(tmp_path, cells):
    rows = [f"{row},{cell}" if cell is not None else row for row, cell in zip(SOUND, cells, strict=True)]
    path = write(tmp_path, *rows, header=HEADER + ",complete")
    if cells[0] is None:
        with pytest.raises(BadInput, match="window a is complete in one row and not in another"):
            read_labels(path)
    else:
        assert read_labels(path)["complete"].tolist() == ["no", "no", "yes"]
    assert read_labels(write(tmp_path, *SOUND))["complete"].tolist() == ["yes"] * 3


def test_other_words_for_complete_and_an_incomplete_empty_window_are_refused(tmp_path):
    path = write(tmp_path, SOUND[0] + ",maybe", header=HEADER + ",complete")
    with pytest.raises(BadInput, match="complete must be yes or no, got maybe"):
        read_labels(path)
    path = write(tmp_path, SOUND[2] + ",no", header=HEADER + ",complete")
    with pytest.raises(BadInput, match="is labeled none, which says that it was looked at whole, but is not"):
        read_labels(path)
