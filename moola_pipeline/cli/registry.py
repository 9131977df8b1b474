"""`moola registry`: which versions there are, which one serves, since when and why."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moola_pipeline.cli.output import emit, iso_time, json_option, next_lines, shown_time
from moola_pipeline.errors import BadInput, IntegrityError
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    from moola_pipeline.tracking.promotion_log import ChampionPeriod, Entry
    from moola_pipeline.tracking.runs import MlflowClient

model_option = click.option("--model", metavar="NAME", help="Registered model; needed where there are more.")


@click.group()
def registry() -> None:
    """List the versions of the model, and say which one serves."""


@registry.command("list")
@model_option
@json_option
@click.pass_obj
def list_versions(home: Home, model: str | None, as_json: bool) -> None:
    """List all versions, oldest first."""
    from moola_pipeline.tracking.registry import versions

    client = _store(home)
    names = [_chosen(client, model)] if model else _names(client)
    found = [_listed(home, client, one) for name in names for one in versions(client, name)]
    lines = [_listed_line(one) for one in found] or ["No version is registered. Run: moola run"]
    emit({"versions": found}, lines, as_json)


@registry.command()
@click.argument("version")
@model_option
@json_option
@click.pass_obj
def promote(home: Home, version: str, model: str | None, as_json: bool) -> None:
    """Make VERSION champion by hand; the log says so."""
    client = _store(home)
    name = _chosen(client, model)
    _require_version(client, name, version)
    _decide(home, client, name, version, rolls_back=False, as_json=as_json)


@registry.command()
@model_option
@json_option
@click.pass_obj
def rollback(home: Home, model: str | None, as_json: bool) -> None:
    """Make the champion before the present one champion again."""
    from moola_pipeline.tracking.promotion_log import champion_before, reconcile

    client = _store(home)
    name = _chosen(client, model)
    version = champion_before(reconcile(home, client, name), name)
    _decide(home, client, name, version, rolls_back=True, as_json=as_json)


@registry.command()
@click.option("--on", "day", metavar="DATE", help="Who was champion on that day (UTC), as 2025-06-30.")
@model_option
@json_option
@click.pass_obj
def history(home: Home, day: str | None, model: str | None, as_json: bool) -> None:
    """Show who was champion when, and why, from the log of promotions."""
    from moola_pipeline.tracking.promotion_log import champion_periods_on, reconcile

    asked = _day(day) if day is not None else None
    client = _store(home)
    name = _chosen(client, model)
    entries = reconcile(home, client, name)
    if asked is None:
        facts = {"model": name, "entries": [one.model_dump(mode="json") for one in entries]}
        emit(facts, [_entry_line(one) for one in entries] or [f"{name}: nothing was decided yet"], as_json)
        return
    found = champion_periods_on(entries, asked)
    facts = {"model": name, "on": str(asked), "champions": [_champion_period(one) for one in found]}
    lines = [_champion_period_line(name, asked, one) for one in found] or [
        f"{name} had no champion on {asked}"
    ]
    emit(facts, lines, as_json)


@registry.command()
@json_option
@click.pass_obj
def repair(home: Home, as_json: bool) -> None:
    """Mend a damaged log of promotions: what is proven stays, the file is set aside."""
    from moola_pipeline.tracking.promotion_log import repair_log

    client = _store(home)
    done = repair_log(home, client, _names(client))
    facts = {"kept": done.n_kept, "set_aside": done.n_aside, "file": str(done.aside) if done.aside else None}
    lines = [f"the log is whole: {done.n_kept} lines; nothing was changed"]
    if done.aside:
        lines = [
            f"{done.n_kept} lines kept, {done.n_aside} set aside with the whole file in {done.aside}; "
            "the champions that stand now are noted as found"
        ]
    emit(facts, lines, as_json)


@registry.command("import")
@click.argument("other", metavar="HOME", type=click.Path(path_type=Path))
@model_option
@json_option
@click.pass_obj
def import_version(home: Home, other: Path, model: str | None, as_json: bool) -> None:
    """Bring the champion of another HOME in, as challenger, its digests checked.

    It is compared with the champion on labels here that neither has seen; "promote" lets it serve.
    """
    from moola_pipeline.tracking.registry import DIGEST_TAGS, champion_version
    from moola_pipeline.tracking.version_import import import_champion

    if not other.is_dir():
        raise BadInput(
            f"HOME must be a folder, got {other}. Name the folder that was --home in the training."
        )
    done = import_champion(home, Home(other.expanduser().absolute()), model)
    name, version, origin = done.model, done.registered.version, done.foreign.version
    steps = [{"command": f"moola registry promote {version} --model {name}", "why": "let it serve"}]
    if version == champion_version(home, name):
        steps = []
    compared = _compared(home, name, version)
    facts = {
        "model": name,
        "version": version,
        "compared": compared,
        "is_new": done.registered.is_new,
        "imported_version": origin,
        "digests": {tag: done.foreign.tags[tag] for tag in DIGEST_TAGS},
        "next": steps,
    }
    came = "imported as" if done.registered.is_new else "the same weights as"
    lines = [f"{name}: version {origin} of the other home is {came} version {version}, challenger"]
    lines.append(f"compared on arrival: {compared}")
    emit(facts, [*lines, *(next_lines(steps) if steps else ())], as_json)


def _compared(home: Home, name: str, version: str) -> str:
    """How an imported version stands beside the champion, as the log now says."""
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
            [f"models:/{name}/{version} is champion already; nothing was changed"],
            as_json,
        )
        return
    load_version(home, f"models:/{name}/{version}")
    reason = "restored in place of version " if rolls_back else "chosen in place of version "
    said = reason + before if before else "chosen: there was no champion"
    entry = apply_decision(
        home, client, name, version, PromotionDecision(True, "hand", before, BY_HAND, said, None, rolls_back)
    )
    facts = {"model": name, "version": version, "champion_before": entry.before, "changed": True}
    emit(facts, [f"models:/{name}/{version} is champion, before it was {entry.before or 'none'}"], as_json)


def _store(home: Home) -> "MlflowClient":
    from moola_pipeline.tracking.runs import has_store, open_store

    if not has_store(home):
        raise BadInput("A model must be registered, but there is none. Run: moola run")
    return open_store(home)


def _names(client: "MlflowClient") -> list[str]:
    return sorted(one.name for one in client.search_registered_models())


def _chosen(client: "MlflowClient", model: str | None) -> str:
    names = _names(client)
    if not names:
        raise BadInput("A model must be registered, but there is none. Run: moola run")
    if model in names:
        return str(model)
    if model is None and len(names) == 1:
        return names[0]
    came = f"got {model}" if model else "but there are more than one"
    raise BadInput(f"--model must name a registered model, {came}. Choose one of: {', '.join(names)}.")


def _require_version(client: "MlflowClient", name: str, version: str) -> None:
    from moola_pipeline.tracking.registry import versions

    known = [str(one.version) for one in versions(client, name)]
    if version not in known:
        choice = ", ".join(known) or "none"
        raise BadInput(f"VERSION must be a version of {name}, got {version}. Choose one of: {choice}.")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadInput(f"--on must be a day, got {text}. Write it as {datetime.now(UTC):%Y-%m-%d}.") from None


def _listed(home: Home, client: "MlflowClient", found: Any) -> dict[str, Any]:
    from moola_pipeline.tracking.registry import CHALLENGER, CHAMPION, load_version, version_of

    version = str(found.version)
    aliases = [alias for alias in (CHAMPION, CHALLENGER) if version_of(client, found.name, alias) == version]
    try:
        load_version(home, f"models:/{found.name}/{version}")
        intact = True
    except IntegrityError:
        intact = False
    made = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)
    return {
        "model": found.name,
        "version": version,
        "aliases": aliases,
        "registered_at": iso_time(made),
        "type_f1_macro": found.tags.get("type_f1_macro"),
        "imported": found.tags.get("imported") == "True",
        "intact": intact,
        "digests": {name: text for name, text in found.tags.items() if name.endswith(".sha256")},
    }


def _listed_line(one: dict[str, Any]) -> str:
    moment = shown_time(datetime.fromisoformat(one["registered_at"]))
    marks = [*one["aliases"], *(["imported"] if one["imported"] else [])]
    score = f"type F1 {one['type_f1_macro']}" if one["type_f1_macro"] else "not scored here"
    lost = "" if one["intact"] else "  FILES GONE OR CHANGED"
    return (
        f"models:/{one['model']}/{one['version']}  {moment} UTC  {score}  {', '.join(marks)}{lost}".rstrip()
    )


def _entry_line(entry: "Entry") -> str:
    by = {"rule": "", "hand": " by hand", "outside": " outside moola"}[entry.by]
    return (
        f"{shown_time(entry.at)} UTC  version {entry.version} {entry.verdict}{by}  "
        f"champion {entry.champion or 'none'}  {entry.reason}"
    )


def _champion_period(one: "ChampionPeriod") -> dict[str, Any]:
    until = iso_time(one.until) if one.until else None
    return {"version": one.version, "since": iso_time(one.since), "until": until, "reason": one.reason}


def _champion_period_line(name: str, day: date, one: "ChampionPeriod") -> str:
    until = f"until {shown_time(one.until)} UTC" if one.until else "and still is"
    return (
        f"models:/{name}/{one.version} was champion on {day}: since {shown_time(one.since)} UTC, {until}; "
        f"{one.reason}"
    )
