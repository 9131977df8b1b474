"""The promotion log: champions by day, and detection of every change."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from mlflow import MlflowClient

from moola_pipeline.errors import BadInput, IntegrityError
from moola_pipeline.evaluation.promotion import Difference, PromotionDecision
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.promotion_log import (
    LOG_NAME,
    Entry,
    apply_decision,
    champion_before,
    champion_periods,
    champion_periods_on,
    read_log,
    reconcile,
    repair_log,
)
from moola_pipeline.tracking.registry import champion_version
from moola_pipeline.tracking.runs import open_store

NAME = "moola-nq"
FOUND = Difference(estimate=0.031, low=0.004, high=0.058, expansions=120, windows=110, sessions=41)


@pytest.fixture
def home(isolated_home: Path) -> Home:
    return Home(isolated_home)


@pytest.fixture
def client(home: Home) -> MlflowClient:
    """A registry with three versions and no champion."""
    client = open_store(home)
    client.create_registered_model(NAME)
    source = (home.tracking / "artifacts" / "model").as_uri()
    for number in range(3):
        client.create_model_version(NAME, source, tags={"model.sha256": f"{number}" * 64})
    return client


def by_rule(
    against: str | None, promote: bool = True, interval: Difference | None = None
) -> PromotionDecision:
    return PromotionDecision(promote, "rule", against, "the rule", "because", interval)


def by_hand(against: str | None, rolls_back: bool = False) -> PromotionDecision:
    return PromotionDecision(True, "hand", against, "by hand", "wanted", None, rolls_back)


def entry(moment: str, before: str | None, champion: str | None, verdict: str = "promoted") -> Entry:
    return Entry.model_validate(
        {
            "at": datetime.fromisoformat(moment).replace(tzinfo=UTC),
            "model": NAME,
            "version": champion or before,
            "verdict": verdict,
            "by": "rule",
            "before": before,
            "champion": champion,
            "rule": "the rule",
            "reason": f"reason of {moment}",
            "digests": {},
            "interval": None,
            "previous": "",
        }
    )


WRITTEN = [
    entry("2025-03-03T10:00", None, "1"),
    entry("2025-03-05T10:00", "1", "1", "stayed"),
    entry("2025-03-07T10:00", "1", "2"),
    entry("2025-03-07T15:00", "2", "3"),
    entry("2025-03-09T00:00", "3", None, "found"),
    entry("2025-03-11T10:00", None, "2"),
]


@pytest.mark.parametrize(
    ("day", "champions"),
    [
        (date(2025, 3, 2), []),
        (date(2025, 3, 3), ["1"]),
        (date(2025, 3, 6), ["1"]),
        (date(2025, 3, 7), ["1", "2", "3"]),
        (date(2025, 3, 8), ["3"]),
        (date(2025, 3, 9), []),
        (date(2025, 3, 11), ["2"]),
        (date(2030, 1, 1), ["2"]),
    ],
)
def test_the_log_knows_the_champion_of_each_day(day: date, champions: list[str]):
    assert [reign.version for reign in champion_periods_on(WRITTEN, day)] == champions


def test_a_champion_period_ends_where_the_next_begins_and_the_last_is_open():
    ends = [(reign.version, reign.until) for reign in champion_periods(WRITTEN)]
    times = [one.at for one in WRITTEN]
    assert ends == [("1", times[2]), ("2", times[3]), ("3", times[4]), ("2", None)]


def test_each_rollback_goes_back_one_more_champion_until_there_is_none():
    log = [
        entry(f"2025-03-0{day}T10:00", before, now)
        for day, before, now in ((1, None, "1"), (2, "1", "2"), (3, "2", "1"), (4, "1", "3"))
    ]
    restored = []
    for day in (5, 6, 7):
        restored.append(champion_before(log, NAME))
        log.append(entry(f"2025-03-0{day}T10:00", log[-1].champion, restored[-1], "rolled back"))
    assert restored == ["1", "2", "1"]
    with pytest.raises(BadInput) as fault:
        champion_before(log, NAME)
    assert str(fault.value) == (
        "moola-nq: a rollback needs an earlier champion, but the log has none. See: moola registry history"
    )


def test_a_decision_is_in_the_log_in_the_registry_and_in_its_tags(home: Home, client: MlflowClient):
    first = apply_decision(home, client, NAME, "1", by_rule(None))
    second = apply_decision(home, client, NAME, "2", by_rule("1", interval=FOUND))
    assert read_log(home) == [first, second]
    assert (second.before, second.champion, second.verdict) == ("1", "2", "promoted")
    assert second.digests == {"model.sha256": "1" * 64}
    assert champion_version(home, NAME) == "2"
    tags = client.get_model_version(NAME, "2").tags
    assert (tags["promotion.verdict"], tags["promotion.by"]) == ("promoted", "rule")
    assert (tags["promotion.rule"], tags["promotion.reason"]) == ("the rule", "because")
    assert tags["promotion.interval"] == "+0.031 [+0.004, +0.058], 120 expansions, 41 sessions"
    of_model = client.get_registered_model(NAME).tags
    assert sorted(of_model) == ["promotion.0001", "promotion.0002"]
    assert of_model["promotion.0002"].endswith("Z version 2 promoted (by rule); champion 1 -> 2; because")


def test_a_challenger_that_is_not_promoted_is_logged_and_leaves_the_champion(
    home: Home, client: MlflowClient
):
    apply_decision(home, client, NAME, "1", by_rule(None))
    stayed_entry = apply_decision(home, client, NAME, "2", by_rule("1", promote=False))
    assert (stayed_entry.verdict, stayed_entry.champion) == ("stayed", "1")
    assert champion_version(home, NAME) == "1"


def test_a_promotion_by_hand_is_logged_as_such(home: Home, client: MlflowClient):
    apply_decision(home, client, NAME, "3", by_hand(None))
    [logged] = read_log(home)
    assert (logged.by, logged.rule, logged.interval) == ("hand", "by hand", None)
    assert client.get_model_version(NAME, "3").tags["promotion.by"] == "hand"


def test_a_comparison_with_a_champion_replaced_meanwhile_promotes_nothing(home: Home, client: MlflowClient):
    apply_decision(home, client, NAME, "1", by_rule(None))
    apply_decision(home, client, NAME, "2", by_hand("1"))
    late = apply_decision(home, client, NAME, "3", by_rule("1"))
    assert (late.verdict, late.champion) == ("stayed", "2")
    assert late.reason == "version 1 was replaced by 2 meanwhile. Run again: moola run"


def test_a_champion_set_outside_moola_is_logged_once(home: Home, client: MlflowClient):
    apply_decision(home, client, NAME, "1", by_rule(None))
    client.set_registered_model_alias(NAME, "champion", "3")
    _, result = reconcile(home, client, NAME)
    assert (result.verdict, result.by, result.before, result.champion) == ("found", "outside", "1", "3")
    assert result.reason == "version 3 is champion, the log had version 1; no reason was recorded"
    assert reconcile(home, client, NAME) == read_log(home) and len(read_log(home)) == 2


def test_two_models_share_the_log_file_but_not_the_history(home: Home, client: MlflowClient):
    client.create_registered_model("moola-es")
    client.create_model_version("moola-es", (home.tracking / "artifacts").as_uri())
    apply_decision(home, client, NAME, "1", by_rule(None))
    apply_decision(home, client, "moola-es", "1", by_rule(None))
    assert [one.model for one in read_log(home)] == [NAME, "moola-es"]
    assert [one.model for one in read_log(home, "moola-es")] == ["moola-es"]
    assert sorted(client.get_registered_model("moola-es").tags) == ["promotion.0001"]


@pytest.mark.parametrize("change", ["a word", "a line"])
def test_a_log_that_was_changed_is_refused(change: str, home: Home, client: MlflowClient):
    for version, against in (("1", None), ("2", "1"), ("3", "2")):
        apply_decision(home, client, NAME, version, by_rule(against))
    path = home.tracking / LOG_NAME
    lines = path.read_text().splitlines()
    changed = [lines[0].replace("because", "for luck"), *lines[1:]] if change == "a word" else lines[1:]
    path.write_text("\n".join(changed) + "\n")
    with pytest.raises(IntegrityError) as fault:
        apply_decision(home, client, NAME, "1", by_hand("3"))
    assert str(fault.value) == (
        "promotions.jsonl line 1 must match the SHA256 of the line before it, but one of the two was "
        f"changed or lost. Restore {path} from a backup, or keep the intact lines: moola registry repair"
    )
    assert champion_version(home, NAME) == "3"


def test_a_damaged_log_is_repaired_by_the_command_in_the_error(home: Home, client: MlflowClient):
    for version, against in (("1", None), ("2", "1"), ("3", "2")):
        apply_decision(home, client, NAME, version, by_rule(against))
    path = home.tracking / LOG_NAME
    damaged = path.read_bytes().replace(b"because", b"becau\xffe", 2).replace(b"becau\xffe", b"because", 1)
    path.write_bytes(damaged)
    with pytest.raises(IntegrityError, match="line 2.*moola registry repair"):
        read_log(home)
    done = repair_log(home, client, [NAME])
    assert (done.n_kept, done.n_aside) == (1, 2)
    assert done.aside is not None and done.aside.read_bytes() == damaged
    stayed_entry, result = read_log(home)
    assert (stayed_entry.version, stayed_entry.verdict) == ("1", "promoted")
    assert (result.verdict, result.before, result.champion) == ("found", "1", "3")
    assert champion_before(read_log(home), NAME) == "1"
    assert repair_log(home, client, [NAME]) == (2, 0, None)


def test_an_empty_log_has_no_champion_period():
    assert champion_periods([]) == []
