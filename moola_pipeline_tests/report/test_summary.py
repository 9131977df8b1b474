"""The report in a terminal."""

import re

from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.report.data import Check
from moola_pipeline.report.summary import summary_lines
from moola_pipeline_tests.report.reports import full_report, minimal_report, report_data, scores


def test_each_score_has_its_best_baselines_and_ablation_with_names():
    lines = summary_lines(full_report())
    assert lines[0].startswith("SIMULATED")
    assert lines[1] == (
        "Default target: type F1 0.75: NOT MET. It needs at least 0.75 with a lower bound above 0.65."
    )
    assert lines[2].startswith(
        "Verdict: Better than every trivial baseline. Beside the best baseline, it types no better"
    )
    event = next(number for number, line in enumerate(lines) if line.startswith("Event F1, macro"))
    cells = [
        "Event F1, macro",
        "0.46 [0.39, 0.53] n=147",
        "0.09",
        "0.48",
        "−0.02 [−0.10, 0.06]*",
        "0.36",
        "0.66",
    ]
    assert re.split(r"  +", lines[event]) == cells
    assert (
        lines[event + 1]
        == "  trivial baseline: position_only, baseline: rule_extra_trees_21_summaries, ablation: scratch"
    )
    assert lines[-2] == "Failed: target_f1 (0.74, limit 0.75)."
    assert lines[-1] == "The test rows have been scored by 3 model versions."


def test_the_two_primary_comparisons_are_marked():
    starred = [line.split()[0] for line in summary_lines(full_report()) if "]*" in line]
    assert starred == ["Type", "Event"]


def test_unmeasured_scores_are_reported_without_nan_or_none():
    lines = summary_lines(minimal_report())
    assert "Event F1, macro    not measured" in "\n".join(lines)
    assert not any("SIMULATED" in line or "nan" in line or "None" in line for line in lines)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=120), st.booleans(), max_size=12))
def test_it_fits_a_terminal_whatever_the_names(names: dict[str, bool]):
    checks = {
        name: Check(passed=passed, kind="score", value=0.123456, limit=1) for name, passed in names.items()
    }
    baselines = {name: scores(0.5, 0.5, 0.5) for name in names}
    assert max(map(len, summary_lines(report_data(checks=checks, baselines=baselines)))) <= 100
