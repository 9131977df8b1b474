"""A remedy works where it is said: the home that a command was given is named in the next one, too."""

import sys

import pytest

from moola_pipeline.cli.faults import in_this_home

TEXT = "Labels must be registered, but none are. Run: moola labels add FILE && moola run"


@pytest.mark.parametrize("given", [["--home", "/data/a b"], ["--home=/data/a b"]])
def test_a_given_home_stands_in_every_command_of_a_remedy(given: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["moola", *given, "run"])
    assert in_this_home(TEXT) == (
        "Labels must be registered, but none are. "
        "Run: moola --home '/data/a b' labels add FILE && moola --home '/data/a b' run"
    )


def test_without_one_a_remedy_stands_as_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["moola", "run"])
    assert in_this_home(TEXT) == TEXT


def test_names_that_only_look_like_commands_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["moola", "--home", "h", "predict"])
    text = "models:/moola-nq@champion of moola 1.0; see moola-run"
    assert in_this_home(text) == text
