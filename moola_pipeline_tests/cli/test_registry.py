"""`moola registry`: output, changes and refusals of each command."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from moola_pipeline.cli.exit_codes import BAD_INPUT, FAILED
from moola_pipeline.evaluation import promotion
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.registry import champion_version, load_version
from moola_pipeline_tests.cli.calls import call, complaint, facts
from moola_pipeline_tests.homes import copied
from moola_pipeline_tests.tracking.test_registry import model_folder, registered_again

NAME = "moola-simulated"
MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
TODAY = f"{datetime.now(UTC):%Y-%m-%d}"


@pytest.fixture
def two(smoke_copy: Home) -> Home:
    """A home with the champion of its first run and a second version."""
    registered_again(smoke_copy, threshold=0.123)
    return smoke_copy


def registry(home: Home, *words: str | Path):
    return call("registry", *words, home=home.root)


def test_the_versions_are_listed_with_score_and_alias(two: Home):
    first, second = registry(two, "list").stdout.splitlines()
    assert re.fullmatch(rf"models:/{NAME}/1  {MOMENT}  type F1 0\.\d+ \[.*\]  champion", first)
    assert re.fullmatch(rf"models:/{NAME}/2  {MOMENT}  not scored here  challenger", second)
    listed = facts(registry(two, "list", "--json"))["versions"]
    assert [one["aliases"] for one in listed] == [["champion"], ["challenger"]]
    assert [one["intact"] for one in listed] == [True, True]


def test_a_version_with_missing_files_is_marked_in_the_list(two: Home):
    (model_folder(two) / "artifacts" / "expansion_model" / "weights.safetensors").unlink()
    assert registry(two, "list").stdout.splitlines()[0].endswith("champion  FILES MISSING OR CHANGED")


def test_the_history_holds_the_promotion_of_the_first_run(smoke_home: Home):
    output = facts(registry(smoke_home, "history", "--json"))
    [entry] = output["entries"]
    assert (entry["version"], entry["verdict"], entry["by"]) == ("1", "promoted", "rule")
    assert entry["reason"] == "there was no champion and every integrity check passed"
    assert len(entry["digests"]) == 5
    assert re.fullmatch(
        rf"{MOMENT}  version 1 promoted  champion 1  there was no champion and every .*\n",
        registry(smoke_home, "history").stdout,
    )


def test_promote_and_rollback_change_the_champion_and_are_logged(two: Home):
    assert registry(two, "promote", "2").stdout == f"models:/{NAME}/2 is champion; before: 1\n"
    assert load_version(two, f"models:/{NAME}@champion")[1]["model_version"] == "2"
    assert facts(registry(two, "rollback", "--json")) == {
        "model": NAME,
        "version": "1",
        "champion_before": "2",
        "changed": True,
    }
    assert champion_version(two, NAME) == "1"
    lines = registry(two, "history").stdout.splitlines()
    assert [re.sub(f"^{MOMENT}  ", "", line) for line in lines[1:]] == [
        "version 2 promoted by hand  champion 2  chosen in place of version 1",
        "version 1 rolled back by hand  champion 1  restored in place of version 2",
    ]
    on = facts(registry(two, "history", "--on", TODAY, "--json"))
    assert [one["version"] for one in on["champions"]] == ["1", "2", "1"]
    assert on["champions"][-1]["until"] is None


def test_before_the_first_version_nobody_was_champion(smoke_home: Home):
    output = registry(smoke_home, "history", "--on", "2020-01-01").stdout
    assert output == f"{NAME} had no champion on 2020-01-01\n"


def test_promoting_the_champion_changes_nothing(two: Home):
    output = registry(two, "promote", "1").stdout
    assert output == f"models:/{NAME}/1 is already champion; nothing was changed\n"
    assert len(facts(registry(two, "history", "--json"))["entries"]) == 1


def test_a_version_that_cannot_be_loaded_does_not_become_champion(two: Home):
    (model_folder(two, "2") / "artifacts" / "expansion_model" / "weights.safetensors").unlink()
    result = registry(two, "promote", "2")
    assert result.exit_code == FAILED
    assert complaint(result).startswith(
        f"models:/{NAME}/2: the files of version 2 must match their registration"
    )
    assert champion_version(two, NAME) == "1"


def test_an_imported_champion_is_promoted_by_the_printed_command(isolated_home: Path, smoke_home: Home):
    home = Home(isolated_home)
    first, compared, *after = registry(home, "import", smoke_home.root).stdout.splitlines()
    assert compared == "comparison: there is no champion to compare it with"
    assert first == f"{NAME}: version 1 of the other home is imported as version 1, challenger"
    command = ("registry", "promote", "1", "--model", NAME)
    assert after == ["Next:", f"  moola {' '.join(command)}  make it champion"]
    assert call(*command, home=home.root).exit_code == 0
    assert registry(home, "list").stdout.endswith("not scored here  champion, challenger, imported\n")
    again = facts(registry(home, "import", smoke_home.root, "--json"))
    assert (again["is_new"], again["version"], again["next"]) == (False, "1", [])


def test_an_imported_version_is_compared_and_not_promoted(
    smoke_home: Home, smoke_copy: Home, monkeypatch: pytest.MonkeyPatch
):
    """Only the thresholds differ: both versions predict the same types, so the interval has width 0."""
    monkeypatch.setattr(promotion, "MIN_SESSIONS", 5)
    monkeypatch.setattr(promotion, "MIN_OF_EACH_TYPE", 5)
    registered_again(smoke_copy, threshold=0.123)
    assert registry(smoke_copy, "promote", "2").exit_code == 0
    home = copied(smoke_home, smoke_copy.root.parent / "here")
    output = facts(registry(home, "import", smoke_copy.root, "--json"))
    assert (output["version"], output["is_new"]) == ("2", True)
    assert output["compared"].startswith(
        "version 1 stays champion: its checks ran in another home; version 2 is at most 0.02 worse "
        "than version 1; challenger minus champion +0.000 [+0.000, +0.000], "
    )
    assert champion_version(home, NAME) == "1"
    entry = facts(registry(home, "history", "--json"))["entries"][-1]
    assert (entry["version"], entry["verdict"], entry["champion"]) == ("2", "stayed", "1")
    assert entry["reason"] == output["compared"]
    assert entry["interval"]["sessions"] >= 5


def test_an_import_with_too_few_unseen_labels_gives_the_reason(smoke_home: Home, smoke_copy: Home):
    registered_again(smoke_copy, threshold=0.123)
    registry(smoke_copy, "promote", "2")
    home = copied(smoke_home, smoke_copy.root.parent / "here")
    output = facts(registry(home, "import", smoke_copy.root, "--json"))
    assert output["compared"].startswith("version 1 stays champion: after 2025-06-13 there are only ")
    assert output["compared"].endswith("at least 10 of each type in 20 sessions are needed")


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "no such version": (
        ("promote", "7"),
        f"VERSION must be a version of {NAME}, got 7. Choose one of: 1.",
    ),
    "no number": (
        ("promote", "champion"),
        f"VERSION must be a version of {NAME}, got champion. Choose one of: 1.",
    ),
    "no such model": (
        ("history", "--model", "moola-es"),
        f"--model must name a registered model, got moola-es. Did you mean {NAME!r}? Choose one of: {NAME}.",
    ),
    "no day": (
        ("history", "--on", "last week"),
        f"--on must be a date, got last week. Write it as {TODAY}.",
    ),
    "nothing before": (
        ("rollback",),
        f"{NAME}: a rollback needs an earlier champion, but the log has none. See: moola registry history",
    ),
    "no home": (
        ("import", "nowhere"),
        "HOME must be a folder, got nowhere. Name the --home folder of the training.",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_bad_input_is_refused_in_one_line(wrong: str, smoke_home: Home):
    words, text = WRONG[wrong]
    result = registry(smoke_home, *words)
    assert (result.exit_code, complaint(result)) == (BAD_INPUT, text)


@pytest.mark.parametrize("words", [("promote", "1"), ("rollback",), ("history",), ("list",)])
def test_an_empty_home_names_the_command_to_run(words: tuple[str, ...], isolated_home: Path):
    result = registry(Home(isolated_home), *words)
    assert result.exit_code == BAD_INPUT
    assert complaint(result) == "A model must be registered, but there is none. Run: moola run"
    assert not list(isolated_home.iterdir())


def test_with_two_models_one_must_be_named(smoke_copy: Home):
    registered_again(smoke_copy, "moola-nq")
    result = registry(smoke_copy, "rollback")
    assert result.exit_code == BAD_INPUT
    assert complaint(result) == (
        f"--model must name a registered model, got none. Choose one of: moola-nq, {NAME}."
    )
