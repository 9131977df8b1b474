"""The counts of the suites, and the page written from them."""

from pathlib import Path

import pytest

from moola_pipeline_tests import counts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(counts, "FOLDER", tmp_path / "counts")
    return tmp_path


def test_the_parts_of_a_suite_are_summed_to_one_row(folder: Path):
    counts.record("bytes flipped: bars", flips=3, missed=0, seconds=1.25)
    counts.record("bytes flipped: labels", flips=1004, missed=1, seconds=1.0)
    counts.record("kills", kills=6, seconds=0.04)
    flips, kills = counts.table(counts.recorded()).splitlines()[2:]
    assert flips.startswith("| bytes flipped | 2 kinds, 1,007 flips, 1 missed | 2.2 | ")
    assert kills.startswith("| kills | 6 kills | 0.0 | ")


def test_a_later_run_of_a_suite_replaces_the_earlier(folder: Path):
    counts.record("kills", kills=6, seconds=1)
    counts.record("kills", kills=7, seconds=1)
    assert [one["counts"] for one in counts.recorded()] == [{"kills": 7}]


def test_a_deleted_page_is_written_again_unchanged(folder: Path):
    counts.record("kills", kills=6, seconds=1)
    page = folder / "page.md"
    counts.write_page(page)
    written = page.read_text()
    assert "| kills | 6 kills | 1.0 |" in written
    page.unlink()
    counts.write_page(page)
    assert page.read_text() == written


def test_every_command_on_the_page_exists():
    for command in counts.COMMANDS:
        name = command.split()[0].replace(".", "/")
        assert (Path(counts.__file__).parent / f"{name}.py").exists() or (
            Path(counts.__file__).parent / name / "__main__.py"
        ).exists(), command
