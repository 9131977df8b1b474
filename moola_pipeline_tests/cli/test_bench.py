"""`moola bench`: what is asked for is measured, and a page is written only where one is named."""

from pathlib import Path

import pytest

import moola_pipeline.bench.speed as speed
from moola_pipeline_tests.cli.calls import call, complaint, facts


@pytest.mark.parametrize("words", [("bench",), ("bench", "market"), ("bench", "features")])
def test_a_page_must_be_markdown(words: tuple[str, ...], tmp_path: Path):
    result = call(*words, "--out", tmp_path / "page.txt")
    assert result.exit_code == 2
    assert complaint(result) == "--out must end in .md, got page.txt. Name a Markdown file."
    assert list(tmp_path.iterdir()) == []


def test_a_run_prints_every_figure_with_its_floor_and_writes_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    report = speed.measure_speed(n_bars=3000, streamed_bars=300)
    monkeypatch.setattr(speed, "measure_speed", lambda: report)
    page = tmp_path / "benchmarks.md"
    shown = facts(call("bench", "--out", page, "--json"))
    assert shown["timings"]["csv_import"]["floor"] == 5
    assert shown["timings"]["rehash"]["seconds"] == report.timings["rehash"].seconds
    assert shown["ratios"] == report.ratios and shown["gpu"] is None
    assert shown["memory"]["rise"] == report.memory.peak - report.memory.before > 0
    assert (shown["memory"]["floor"], shown["memory"]["goal"]) == (1000, 500)
    assert shown["windows_a_second"] == report.windows_a_second
    assert page.read_text() == speed.speed_page(report)
