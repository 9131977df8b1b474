from pathlib import Path

import pytest

from moola_pipeline.errors import BadInput, IntegrityError
from moola_pipeline.labels.definitions import add_definition, definition_texts


def test_definitions_are_numbered_and_stay(tmp_path: Path):
    assert definition_texts(tmp_path) == {1: ""}
    assert [add_definition(tmp_path, text) for text in ("A move.", "A larger move.")] == [1, 2]
    assert definition_texts(tmp_path) == {1: "A move.", 2: "A larger move."}


@pytest.mark.parametrize("text", ["", "  \n", "x" * 100_001])
def test_a_definition_must_have_a_text(tmp_path: Path, text: str):
    with pytest.raises(BadInput, match="must be a text of at most 100,000 characters"):
        add_definition(tmp_path, text)


def test_the_newest_definition_is_not_added_twice(tmp_path: Path):
    add_definition(tmp_path, "A move.")
    with pytest.raises(BadInput, match="must differ from the newest one"):
        add_definition(tmp_path, "A move.\n")


def test_a_changed_definition_is_refused(tmp_path: Path):
    add_definition(tmp_path, "A move.")
    path = tmp_path / "definitions" / "1.json"
    path.write_bytes(path.read_bytes().replace(b"move", b"moth"))
    with pytest.raises(IntegrityError):
        definition_texts(tmp_path)
