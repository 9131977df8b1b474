"""`moola bench`: what is asked for is measured, and a page is written only where one is named."""

from pathlib import Path

from moola_pipeline_tests.cli.calls import call, complaint


def test_a_page_must_be_markdown(tmp_path: Path):
    result = call("bench", "market", "--out", tmp_path / "page.txt")
    assert result.exit_code == 2
    assert complaint(result) == "--out must end in .md, got page.txt. Name a Markdown file."
    assert list(tmp_path.iterdir()) == []
