"""Reasons why an asset is stale, as text."""

from typing import Any

import pytest

from moola_pipeline.staleness.changes import changes
from moola_pipeline.staleness.data_digests import DataDigests
from moola_pipeline.staleness.fingerprints import Ingredients

SPLIT_DIGESTS = {
    f"{kind}.{split}": f"{kind} {split}"
    for kind in ("bars", "labels")
    for split in ("train", "validation", "test")
}


def data_digests(rows: dict[str, int] | None = None, **digests: str) -> DataDigests:
    known = {"bars": "b", "labels": "l", **SPLIT_DIGESTS}
    changed = {name.replace("_", "."): digest for name, digest in digests.items()}
    return DataDigests(digests=known | changed, rows={"bars": 10_000, "labels": 174} | (rows or {}))


def made_from(
    market: DataDigests | None = None, uses: tuple[str, ...] = ("bars",), **parts: Any
) -> Ingredients:
    market = market or data_digests()
    defaults = {
        "asset": "an_asset",
        "code": {f"training/{name}.py": "c1" for name in "abcd"} | {"assets/an_asset.py": "c2"},
        "libraries": {"torch": "2.0"},
        "settings": {"pipeline": "nq-full", "finetune": {"epochs": 10, "seeds": [0, 1]}},
        "upstream": {"raw_nq_bars": "u1"},
    }
    return Ingredients(
        data_digests={name: market.digests[name] for name in uses}, market=market, **(defaults | parts)
    )


def test_unchanged_ingredients_give_no_reason():
    assert changes(made_from(), made_from()) == []
    assert made_from().fingerprint == made_from().fingerprint


@pytest.mark.parametrize(
    ("now", "uses", "reason"),
    [
        (
            data_digests({"bars": 11_380}, bars="new"),
            "bars",
            "bars were added: 1,380 rows after the test period",
        ),
        (
            data_digests({"bars": 11_380}, bars="new", bars_test="new"),
            "bars",
            "bars were added: 1,380 rows after the validation period",
        ),
        (
            data_digests({"bars": 11_380}, bars="new", bars_test="new", bars_validation="new"),
            "bars",
            "bars were added: 1,380 rows after the training period",
        ),
        (
            data_digests({"bars": 10_001}, bars="new", bars_train="new"),
            "bars",
            "bars were added: 1 row",
        ),
        (
            data_digests({"bars": 9_000}, bars="new", bars_train="new"),
            "bars",
            "bars were removed: 1,000 rows",
        ),
        (data_digests(bars="new"), "bars", "bars changed, same number of rows"),
        (
            data_digests({"labels": 180}, labels="new"),
            "labels",
            "labels were added: 6 rows after the test period",
        ),
        (data_digests(labels_train="new"), "labels.train", "train labels changed"),
        (
            data_digests({"bars.train": 8_000}, bars_train="new"),
            "bars.train",
            "bars up to the end of the training period changed: 0 -> 8,000 rows",
        ),
    ],
)
def test_a_change_of_data_is_named_with_its_rows_and_period(now: DataDigests, uses: str, reason: str):
    assert changes(made_from(uses=(uses,)), made_from(now, uses=(uses,))) == [reason]


def test_data_that_an_asset_does_not_use_is_no_reason():
    later = data_digests({"bars": 11_380}, bars="new")
    before, now = made_from(uses=("bars.train",)), made_from(later, uses=("bars.train",))
    assert changes(before, now) == []
    assert before.fingerprint == now.fingerprint


def test_a_changed_setting_is_named_with_both_values():
    now = made_from(settings={"pipeline": "nq-full", "finetune": {"epochs": 15, "seeds": [0, 1]}})
    assert changes(made_from(), now) == ["settings: finetune.epochs 10 -> 15"]


def test_at_most_three_changed_settings_are_named():
    before = made_from(settings={"pipeline": "p", "report": dict.fromkeys("abcde", 0)})
    now = made_from(settings={"pipeline": "p", "report": dict.fromkeys("abcde", 1)})
    assert changes(before, now) == ["settings: report.a 0 -> 1, report.b 0 -> 1, report.c 0 -> 1, 2 more"]


def test_changed_code_is_named_by_file_or_for_many_files_by_folder():
    code = made_from().code
    few = {"training/a.py": "c3", "assets/an_asset.py": "c4"}
    assert changes(made_from(), made_from(code=code | few)) == [
        "code changed in training/a.py, assets/an_asset.py"
    ]
    assert changes(made_from(), made_from(code=dict.fromkeys(code, "c5"))) == [
        "code changed in training/, assets/"
    ]


def test_a_removed_or_added_file_is_changed_code():
    code = dict(made_from().code)
    del code["training/a.py"]
    now = made_from(code=code | {"training/new.py": "c1"})
    assert changes(made_from(), now) == ["code changed in training/a.py, training/new.py"]


def test_another_version_of_a_library_is_named_with_both():
    assert changes(made_from(), made_from(libraries={"torch": "2.1"})) == ["torch 2.0 -> 2.1"]


def test_a_rebuilt_upstream_asset_is_named_unless_it_will_be_rebuilt_anyway():
    now = made_from(upstream={"raw_nq_bars": "u2"})
    assert changes(made_from(), now) == ["raw_nq_bars was rebuilt since"]
    assert changes(made_from(), now, renewed=("raw_nq_bars",)) == []


@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [
        ("1", "2", "champion: version 1 -> 2"),
        (None, "1", "version 1 is now champion"),
        ("1", None, "version 1 is no longer champion"),
    ],
)
def test_another_champion_is_named(before: str | None, now: str | None, reason: str):
    reasons = changes(made_from(upstream={"champion": before}), made_from(upstream={"champion": now}))
    assert reasons == [reason]


def test_another_profile_is_the_only_reason_given():
    before = made_from(settings={"pipeline": "simulated-smoke"}, code={})
    assert changes(before, made_from()) == ["last built for simulated-smoke"]


@pytest.mark.parametrize(
    "part",
    [
        {"asset": "another"},
        {"code": {"training/a.py": "c9"}},
        {"libraries": {"torch": "2.1"}},
        {"settings": {"pipeline": "nq-full"}},
        {"upstream": {}},
        {"uses": ("labels",)},
    ],
)
def test_each_part_decides_the_fingerprint(part: dict[str, Any]):
    assert made_from(**part).fingerprint != made_from().fingerprint
