"""The report in a terminal: the same verdict and table as the first screen of the page."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.report.data import Check, ReportData
from moola_pipeline.report.html import LossCurves, render_html
from moola_pipeline.report.summary import LINE_WIDTH, summary_lines
from moola_pipeline.report.tables import front_table
from moola_pipeline_tests.report.reports import full_report, minimal_report, report_data, scores


def test_each_kind_of_method_has_its_own_row_with_name_and_interval():
    lines = summary_lines(full_report())
    assert lines[0].startswith("SIMULATED")
    first = lines.index(next(line for line in lines if line.split() == ["Type", "F1", "Event", "F1"]))
    assert [re.split(r"  +", line.strip()) for line in lines[first + 1 : first + 12]] == [
        ["names a given expansion", "finds and names expansions"],
        ["Moola", "0.74 [0.67, 0.81]", "0.46 [0.39, 0.53]"],
        ["n 147 expansions", "n 147 windows"],
        ["best baseline", "0.80 [0.73, 0.87]", "0.48 [0.41, 0.55]"],
        ["logistic regression on 21", "rule + ExtraTrees on 21"],
        ["price summaries", "price summaries"],
        ["Moola minus baseline", "−0.06 [−0.14, 0.02]", "−0.02 [−0.10, 0.06]"],
        ["no difference shown, p 0.31", "no difference shown, p 0.64"],
        ["smallest difference", "0.08", "0.08"],
        ["best trivial baseline", "0.47 [0.40, 0.54]", "0.09 [0.02, 0.16]"],
        ["position in the window only", "position in the window only"],
    ]
    assert lines[-3:] == [
        "Failed: target_f1 (0.74, lower bound 0.67; limit 0.75 and lower bound above",
        "  0.65). It asks that type F1 reaches the target.",
        "The test rows have been scored by 3 model versions.",
    ]


def test_adjusted_p_values_are_explained_where_there_are_any():
    for data, explained in ((full_report(), True), (minimal_report(), False)):
        page, terminal = render_html(data, [], LossCurves()), " ".join(" ".join(summary_lines(data)).split())
        for text in (page, terminal):
            assert ("p is adjusted for both comparisons, intervals are not" in text) == explained


@pytest.mark.parametrize("made", [full_report, minimal_report, report_data])
def test_page_and_terminal_have_the_same_verdict_and_table(made):
    data: ReportData = made()
    front = html.unescape(render_html(data, [], LossCurves()).partition("<main>")[0])
    page = " ".join(re.sub(r"<[^>]+>", " ", front).split())
    terminal = " ".join(" ".join(summary_lines(data)).split())
    for text in _sentences(terminal):
        assert text in page
    for _, cells in front_table(data).rows:
        for cell in cells:
            assert f"{cell.text} {cell.bounds} {cell.note}".replace("  ", " ").strip() in page
            assert f"{cell.text} {cell.bounds}".strip() in terminal


def _sentences(terminal: str) -> list[str]:
    """What stands after the headings of the verdict."""
    between = r"Verdict: (.*?) (?:Default target|Target)"
    found = re.search(between, terminal)
    assert found is not None
    sure = re.search(r"How sure\? (.*?) Trust the numbers\? (.*?\.)", terminal)
    assert sure is not None
    return [found[1], *sure.groups()]


def test_unmeasured_scores_are_reported_without_nan_or_none():
    lines = summary_lines(minimal_report())
    assert lines.count(f"{'':23}{'not measured':29}not measured") == 1
    assert not any("SIMULATED" in line or "nan" in line or "None" in line for line in lines)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=120), st.booleans(), max_size=12))
def test_it_fits_a_terminal_whatever_the_names(names: dict[str, bool]):
    checks = {
        name: Check(passed=passed, kind="score", value=0.123456, limit=1) for name, passed in names.items()
    }
    baselines = {name: scores(0.5, 0.5, 0.5) for name in names}
    assert max(map(len, summary_lines(report_data(checks=checks, baselines=baselines)))) <= LINE_WIDTH
