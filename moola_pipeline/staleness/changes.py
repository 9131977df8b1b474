"""Reasons why an asset is stale, as short phrases."""

from collections.abc import Iterator, Mapping
from typing import Any

from moola_pipeline.labels.splits import SPLITS
from moola_pipeline.staleness.data_digests import DataDigests
from moola_pipeline.staleness.fingerprints import PIPELINE_LABEL, Ingredients

SHOWN_SETTINGS = 3
SHOWN_FILES = 3
"""Beyond this number of changed files, only their folders are listed."""
STUDY = "study"


def changes(before: Ingredients, now: Ingredients, renewed: tuple[str, ...] = ()) -> list[str]:
    """Reasons why a rebuilt asset would differ, one short phrase each; empty if there is none.

    Args:
        before: Ingredients of the last build.
        now: Ingredients of a build now.
        renewed: Assets that will be rebuilt anyway; they are left out.
    """
    if other_pipeline := made_for_another_pipeline(before, now.settings[PIPELINE_LABEL]):
        return [other_pipeline]
    return [
        *_data_changes(before, now),
        *_settings_changes(before.settings, now.settings),
        *_code_changes(before.code, now.code),
        *_library_changes(before.libraries, now.libraries),
        *_upstream_changes(before.upstream, now.upstream, renewed),
    ]


def made_for_another_pipeline(before: Ingredients, pipeline_label: str) -> str | None:
    """A phrase with the market and profile of the last build; None if they are the current ones."""
    last = before.settings.get(PIPELINE_LABEL)
    return f"last built for {last}" if last != pipeline_label else None


def _data_changes(before: Ingredients, now: Ingredients) -> Iterator[str]:
    for name, digest in now.data_digests.items():
        if before.data_digests.get(name) != digest:
            yield _data_change(name, before.market, now.market)


def _data_change(name: str, before: DataDigests, now: DataDigests) -> str:
    if name == STUDY:
        return "the pretraining study changed, or does not match these bars and labels"
    kind, _, split = name.partition(".")
    had, have = before.rows.get(name, 0), now.rows.get(name, 0)
    if split:
        subject = f"{kind} up to the end of the {_period(split)}" if kind == "bars" else f"{split} labels"
        return f"{subject} changed" + (f": {had:,} -> {have:,} rows" if had != have else "")
    if had == have:
        return f"{kind} changed, same number of rows"
    verb, n_rows = ("added", have - had) if have > had else ("removed", had - have)
    return f"{kind} were {verb}: {n_rows:,} row{'s'[: n_rows != 1]}{_beyond(kind, before, now)}"


def _beyond(kind: str, before: DataDigests, now: DataDigests) -> str:
    """The last split before all changed rows, as a phrase; empty if there is none."""
    last = None
    for split in SPLITS:
        name = f"{kind}.{split}"
        if before.digests.get(name) != now.digests.get(name):
            break
        last = split
    return f" after the {_period(last)}" if last else ""


def _period(split: str) -> str:
    return "training period" if split == SPLITS[0] else f"{split} period"


def _settings_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    old, new = dict(_leaves(before)), dict(_leaves(now))
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if changed:
        listed = [f"{name} {old.get(name)} -> {new.get(name)}" for name in changed[:SHOWN_SETTINGS]]
        more = [f"{len(changed) - len(listed)} more"] if len(changed) > len(listed) else []
        yield "settings: " + ", ".join(listed + more)


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _code_changes(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    changed = [path for path in {**before, **now} if before.get(path) != now.get(path)]
    if len(changed) > SHOWN_FILES:
        changed = list(dict.fromkeys(f"{path.partition('/')[0]}/" for path in changed))
    if changed:
        yield "code changed in " + ", ".join(changed)


def _library_changes(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            yield f"{name} {before.get(name, 'not used')} -> {now.get(name, 'not used')}"


def _upstream_changes(
    before: Mapping[str, str | None], now: Mapping[str, str | None], renewed: tuple[str, ...]
) -> Iterator[str]:
    for name, made in now.items():
        old = before.get(name)
        if old == made or name in renewed:
            continue
        if name != "champion":
            yield f"{name} was rebuilt since"
        elif made is None:
            yield f"version {old} is no longer champion"
        else:
            yield f"champion: version {old} -> {made}" if old else f"version {made} is now champion"
