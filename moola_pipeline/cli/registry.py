"""`moola registry`: model versions, the champion, and the history of promotions."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moola_pipeline.cli.output import emit, iso_time, json_option, next_lines, shown_time
from moola_pipeline.errors import BadInput, IntegrityError, did_you_mean
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    from moola_pipeline.tracking.promotion_log import ChampionPeriod, Entry
    from moola_pipeline.tracking.runs import MlflowClient

model_option = click.option("--model", metavar="NAME", help="Registered model; needed if there are several.")


@click.group()
def registry() -> None:
    """List model versions, and choose the champion."""


@registry.command("list")
@model_option
@json_option
@click.pass_obj
def list_versions(home: Home, model: str | None, as_json: bool) -> None:
    """List all versions, oldest first."""
    from moola_pipeline.tracking.registry import versions

    client = _store(home)
    names = [_chosen(client, model)] if model else _names(client)
    listed = [_listed(home, client, version) for name in names for version in versions(client, name)]
    lines = [_listed_line(entry) for entry in listed] or ["No version is registered. Run: moola run"]
    emit({"versions": listed}, lines, as_json)


@registry.command()
@click.argument("version")
@model_option
@json_option
@click.pass_obj
def promote(home: Home, version: str, model: str | None, as_json: bool) -> None:
    """Make VERSION the champion; the log records a decision by hand."""
    client = _store(home)
    name = _chosen(client, model)
    _require_version(client, name, version)
    _decide(home, client, name, version, rolls_back=False, as_json=as_json)


@registry.command()
@model_option
@json_option
@click.pass_obj
def rollback(home: Home, model: str | None, as_json: bool) -> None:
    """Make the previous champion the champion again."""
    from moola_pipeline.tracking.promotion_log import champion_before, reconcile

    client = _store(home)
    name = _chosen(client, model)
    version = champion_before(reconcile(home, client, name), name)
    _decide(home, client, name, version, rolls_back=True, as_json=as_json)


@registry.command()
@click.option("--on", "day", metavar="DATE", help="Show the champion of a day (UTC), as 2025-06-30.")
@model_option
@json_option
@click.pass_obj
def history(home: Home, day: str | None, model: str | None, as_json: bool) -> None:
    """Show when and why the champion changed."""
    from moola_pipeline.tracking.promotion_log import champion_periods_on, reconcile

    date_shown = _day(day) if day is not None else None
    client = _store(home)
    name = _chosen(client, model)
    entries = reconcile(home, client, name)
    if date_shown is None:
        facts = {"model": name, "entries": [entry.model_dump(mode="json") for entry in entries]}
        emit(facts, [_entry_line(entry) for entry in entries] or [f"{name}: no decisions yet"], as_json)
        return
    periods = champion_periods_on(entries, date_shown)
    facts = {"model": name, "on": str(date_shown), "champions": [_champion_period(it) for it in periods]}
    lines = [_champion_period_line(name, date_shown, it) for it in periods] or [
        f"{name} had no champion on {date_shown}"
    ]
    emit(facts, lines, as_json)


@registry.command()
@json_option
@click.pass_obj
def repair(home: Home, as_json: bool) -> None:
    """Repair a damaged promotion log.

    Keeps the verified lines and moves the damaged file aside.
    """
    from moola_pipeline.tracking.promotion_log import repair_log

    client = _store(home)
    repaired = repair_log(home, client, _names(client))
    facts = {
        "kept": repaired.n_kept,
        "set_aside": repaired.n_aside,
        "file": str(repaired.aside) if repaired.aside else None,
    }
    lines = [f"the log is intact: {repaired.n_kept} lines; nothing was changed"]
    if repaired.aside:
        lines = [
            f"{repaired.n_kept} lines kept, {repaired.n_aside} removed; "
            f"the damaged log is now {repaired.aside}; the present champions are added to the log"
        ]
    emit(facts, lines, as_json)


@registry.command("import")
@click.argument("other", metavar="HOME", type=click.Path(path_type=Path))
@model_option
@json_option
@click.pass_obj
def import_version(home: Home, other: Path, model: str | None, as_json: bool) -> None:
    """Import the champion of another HOME.

    Its digests are checked. It becomes the challenger and is compared with the champion on labels
    that neither has seen. "promote" makes it champion.
    """
    from moola_pipeline.tracking.registry import DIGEST_TAGS, champion_version
    from moola_pipeline.tracking.version_import import import_champion

    if not other.is_dir():
        raise BadInput(f"HOME must be a folder, got {other}. Name the --home folder of the training.")
    imported = import_champion(home, Home(other.expanduser().absolute()), model)
    name, version, origin = imported.model, imported.registered.version, imported.foreign.version
    steps = [{"command": f"moola registry promote {version} --model {name}", "why": "make it champion"}]
    if version == champion_version(home, name):
        steps = []
    compared = _compared(home, name, version)
    facts = {
        "model": name,
        "version": version,
        "compared": compared,
        "is_new": imported.registered.is_new,
        "imported_version": origin,
        "digests": {tag: imported.foreign.tags[tag] for tag in DIGEST_TAGS},
        "next": steps,
    }
    relation = "is imported as" if imported.registered.is_new else "has the same weights as"
    lines = [f"{name}: version {origin} of the other home {relation} version {version}, challenger"]
    lines.append(f"comparison: {compared}")
    emit(facts, [*lines, *(next_lines(steps) if steps else ())], as_json)


def _compared(home: Home, name: str, version: str) -> str:
    """Compare an imported version with the champion; return the reason that is logged."""
    import numpy as np

    from moola_pipeline.cli.run import quiet_libraries
    from moola_pipeline.tracking.imported_promotion import decide_imported_version
    from moola_pipeline.tracking.promotion_log import apply_decision

    quiet_libraries()
    decision = decide_imported_version(home, name, version, np.random.default_rng(0))
    return apply_decision(home, _store(home), name, version, decision).reason


def _decide(
    home: Home, client: "MlflowClient", name: str, version: str, rolls_back: bool, as_json: bool
) -> None:
    from moola_pipeline.evaluation.promotion import PromotionDecision
    from moola_pipeline.tracking.promotion_log import BY_HAND, apply_decision
    from moola_pipeline.tracking.registry import champion_version, load_version

    before = champion_version(home, name)
    if version == before:
        emit(
            {"model": name, "version": version, "champion_before": before, "changed": False},
            [f"models:/{name}/{version} is already champion; nothing was changed"],
            as_json,
        )
        return
    load_version(home, f"models:/{name}/{version}")
    reason = "restored in place of version " if rolls_back else "chosen in place of version "
    reason = reason + before if before else "chosen: there was no champion"
    entry = apply_decision(
        home,
        client,
        name,
        version,
        PromotionDecision(True, "hand", before, BY_HAND, reason, None, rolls_back),
    )
    facts = {"model": name, "version": version, "champion_before": entry.before, "changed": True}
    emit(facts, [f"models:/{name}/{version} is champion; before: {entry.before or 'none'}"], as_json)


def _store(home: Home) -> "MlflowClient":
    from moola_pipeline.tracking.runs import has_store, open_store

    if not has_store(home):
        raise BadInput("A model must be registered, but there is none. Run: moola run")
    return open_store(home)


def _names(client: "MlflowClient") -> list[str]:
    return sorted(model.name for model in client.search_registered_models())


def _chosen(client: "MlflowClient", model: str | None) -> str:
    names = _names(client)
    if not names:
        raise BadInput("A model must be registered, but there is none. Run: moola run")
    if model in names:
        return str(model)
    if model is None and len(names) == 1:
        return names[0]
    raise BadInput(
        f"--model must name a registered model, got {model or 'none'}.{did_you_mean(model or '', names)} "
        f"Choose one of: {', '.join(names)}."
    )


def _require_version(client: "MlflowClient", name: str, version: str) -> None:
    from moola_pipeline.tracking.registry import versions

    numbers = [str(known.version) for known in versions(client, name)]
    if version not in numbers:
        choice = ", ".join(numbers) or "none"
        raise BadInput(f"VERSION must be a version of {name}, got {version}. Choose one of: {choice}.")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadInput(
            f"--on must be a date, got {text}. Write it as {datetime.now(UTC):%Y-%m-%d}."
        ) from None


def _listed(home: Home, client: "MlflowClient", registered: Any) -> dict[str, Any]:
    from moola_pipeline.tracking.registry import CHALLENGER, CHAMPION, load_version, version_of

    version = str(registered.version)
    aliases = [
        alias for alias in (CHAMPION, CHALLENGER) if version_of(client, registered.name, alias) == version
    ]
    try:
        load_version(home, f"models:/{registered.name}/{version}")
        intact = True
    except IntegrityError:
        intact = False
    created = datetime.fromtimestamp(registered.creation_timestamp / 1000, UTC)
    return {
        "model": registered.name,
        "version": version,
        "aliases": aliases,
        "registered_at": iso_time(created),
        "type_f1_macro": registered.tags.get("type_f1_macro"),
        "imported": registered.tags.get("imported") == "True",
        "intact": intact,
        "digests": {name: text for name, text in registered.tags.items() if name.endswith(".sha256")},
    }


def _listed_line(entry: dict[str, Any]) -> str:
    moment = shown_time(datetime.fromisoformat(entry["registered_at"]))
    marks = [*entry["aliases"], *(["imported"] if entry["imported"] else [])]
    score = f"type F1 {entry['type_f1_macro']}" if entry["type_f1_macro"] else "not scored here"
    lost = "" if entry["intact"] else "  FILES MISSING OR CHANGED"
    uri = f"models:/{entry['model']}/{entry['version']}"
    return f"{uri}  {moment} UTC  {score}  {', '.join(marks)}{lost}".rstrip()


def _entry_line(entry: "Entry") -> str:
    by = {"rule": "", "hand": " by hand", "outside": " outside moola"}[entry.by]
    return (
        f"{shown_time(entry.at)} UTC  version {entry.version} {entry.verdict}{by}  "
        f"champion {entry.champion or 'none'}  {entry.reason}"
    )


def _champion_period(period: "ChampionPeriod") -> dict[str, Any]:
    until = iso_time(period.until) if period.until else None
    return {
        "version": period.version,
        "since": iso_time(period.since),
        "until": until,
        "reason": period.reason,
    }


def _champion_period_line(name: str, day: date, period: "ChampionPeriod") -> str:
    until = f"until {shown_time(period.until)} UTC" if period.until else "and still is"
    return (
        f"models:/{name}/{period.version} was champion on {day}: "
        f"since {shown_time(period.since)} UTC, {until}; {period.reason}"
    )
