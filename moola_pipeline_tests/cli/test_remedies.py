"""Commands in remedies carry the --home that the user gave."""

import sys

import pytest

from moola_pipeline.cli.exit_codes import in_this_home
from moola_pipeline.cli.output import next_lines

TEXT = "Labels must be registered, but none are. Run: moola labels add FILE && moola run"


@pytest.mark.parametrize("given", [["--home", "/data/a b"], ["--home=/data/a b"]])
def test_a_given_home_is_added_to_every_command_of_a_remedy(
    given: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "argv", ["moola", *given, "run"])
    assert in_this_home(TEXT) == (
        "Labels must be registered, but none are. "
        "Run: moola --home '/data/a b' labels add FILE && moola --home '/data/a b' run"
    )


def test_without_a_given_home_a_remedy_is_unchanged(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["moola", "run"])
    assert in_this_home(TEXT) == TEXT


def test_names_that_only_look_like_commands_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["moola", "--home", "h", "predict"])
    text = "models:/moola-nq@champion of moola 1.0; see moola-run"
    assert in_this_home(text) == text


def test_commands_and_reasons_are_aligned_for_a_long_home(monkeypatch: pytest.MonkeyPatch):
    steps = [{"command": "moola bars rolls add FILE", "why": "a"}, {"command": "moola run", "why": "b"}]
    monkeypatch.setattr(sys, "argv", ["moola", "--home", "/a/long/way/from/here", "status"])
    assert next_lines(steps) == [
        "Next:",
        "  moola --home /a/long/way/from/here bars rolls add FILE  a",
        "  moola --home /a/long/way/from/here run                  b",
    ]
