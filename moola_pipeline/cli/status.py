"""`moola status`: which assets are stale, what `moola run` would rebuild, and why."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from moola_pipeline.cli.options import chosen_pipeline, market_options
from moola_pipeline.cli.output import emit, iso_time, json_option, next_lines, shown_time
from moola_pipeline.errors import BadInput
from moola_pipeline.staleness.stages import STAGES
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    from moola_pipeline.resources.pipeline import Pipeline
    from moola_pipeline.staleness.plan import Step

LINE_WIDTH = 100
SIMULATED = "simulated"
"""Name of the simulated market; that of a scenario follows after a hyphen."""
COLUMNS = (("asset", 20), ("state", 12), ("last built, UTC", 16))
"""Headings and widths in characters; the reason takes the rest of the line."""


@click.command()
@market_options
@json_option
def status(profile: str, market: str, scenario: str | None, as_json: bool) -> None:
    """Show which assets of the last run are stale, and why. Changes nothing.

    With --profile, --market or --scenario it shows what `moola run` with these options would rebuild.
    Otherwise it judges the market and profile that ran last, and adds what a plain `moola run` would do.
    """
    from moola_pipeline.cli.run import quiet_libraries
    from moola_pipeline.resources.pipeline import Pipeline

    quiet_libraries()
    home = Home.resolve()
    chosen = (profile, market, scenario) != ("auto", "auto", None)
    last = None if chosen else _last_pipeline(home)
    pipeline = last or Pipeline(**chosen_pipeline(profile, market, scenario))
    if last is None and (missing := _missing_data(home, market, scenario)):
        emit(
            {"home": str(home.root), "lacks": missing["lacks"], "next": missing["next"]},
            missing["lines"],
            as_json,
        )
        return
    steps = planned_steps(home, pipeline)
    facts = {**_facts(home, pipeline, steps), "command": f"moola run{_options_for(pipeline, chosen)}"}
    plain = _plain_run(home, pipeline) if last else None
    emit({**facts, "plain_run": plain}, [*_lines(facts, steps), *_plain_lines(plain)], as_json)


def _last_pipeline(home: Home) -> "Pipeline | None":
    """Market and profile that were built last in a home; None if nothing was."""
    from moola_pipeline.resources.instance import open_instance, prepare_instance
    from moola_pipeline.resources.pipeline import Pipeline
    from moola_pipeline.staleness.records import last_built
    from moola_pipeline.storage.atomic_write import files_below

    if not any(files_below(home.dagster, "*.db")):
        return None
    prepare_instance(home)
    with open_instance(home) as instance:
        built = last_built(instance)
    if built is None:
        return None
    simulated, _, scenario = built.market.partition("-")
    kind = "simulated" if simulated == SIMULATED else "registered"
    try:
        return Pipeline(**chosen_pipeline(built.profile, kind, scenario or None))
    except ValidationError:  # a profile or scenario of another version
        return None


def _options_for(pipeline: "Pipeline", as_given: bool) -> str:
    """The options of `moola run` for a market and profile, those that a plain run takes left out."""
    profile, market, scenario = pipeline.profile, pipeline.market, pipeline.scenario
    if not as_given:
        plain = _plain_pipeline()
        market = "auto" if scenario != "none" or _takes(plain, pipeline) else market
        same = market == "auto" and scenario == "none"
        profile = "auto" if same and plain.chosen_profile().name == profile else profile
    choices = {"--profile": profile, "--market": market, "--scenario": scenario}
    return "".join(f" {name} {choice}" for name, choice in choices.items() if choice not in ("auto", "none"))


def _plain_pipeline() -> "Pipeline":
    """Market and profile of a run without options."""
    from moola_pipeline.resources.pipeline import Pipeline

    return Pipeline(**chosen_pipeline("auto", "auto", None))


def _takes(plain: "Pipeline", pipeline: "Pipeline") -> bool:
    """Whether a plain run has the market of another choice."""
    try:
        return plain.chosen_market().name == pipeline.chosen_market().name
    except BadInput:  # bars without labels, or labels without bars
        return False


def _plain_run(home: Home, judged: "Pipeline") -> dict[str, Any] | None:
    """What `moola run` without options would do, if that is another market or profile than the judged one."""
    if missing := _missing_data(home, "auto", None):
        return {"lacks": missing["lacks"], "next": missing["next"]}
    plain = _plain_pipeline()
    if plain.label == judged.label:
        return None
    steps = planned_steps(home, plain)
    return {
        "market": plain.chosen_market().name,
        "simulated": plain.chosen_market().simulated,
        "profile": plain.chosen_profile().name,
        "would_make": [step.asset for step in steps if step.stale],
        "reason": steps[0].reason if len({step.reason for step in steps}) == 1 else None,
    }


def _plain_lines(plain: dict[str, Any] | None) -> list[str]:
    if plain is None:
        return []
    if "lacks" in plain:
        return [f"moola run without options: no {plain['lacks']} are registered.", *next_lines(plain["next"])]
    stale = plain["would_make"]
    work = f"build {len(stale)} of {len(STAGES)} assets" if stale else "change nothing"
    reason = f": {plain['reason']}" if stale and plain["reason"] else ""
    line = f"moola run without options takes {_bars_shown(plain)} and would {work}{reason}."
    return textwrap.wrap(line, LINE_WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _missing_data(home: Home, market: str, scenario: str | None) -> dict[str, Any] | None:
    """Missing bars or labels with the next commands; None if a run is possible."""
    from moola_pipeline.bars.store import registered_store
    from moola_pipeline.cli.next_steps import next_steps
    from moola_pipeline.instrument_data import has_bars
    from moola_pipeline.labels.registry import has_labels

    bars, labels = has_bars(home), has_labels(registered_store(home).labels)
    if market == "simulated" or scenario is not None or bars == labels:
        return None
    lacks = "labels" if bars else "bars"
    steps = [step for step in next_steps(home) if "rolls" not in step["command"]]
    state = f"{'bars' if bars else 'labels'} are registered, {lacks} are not: nothing can be built yet"
    lines = [f"home      {home.root}", f"market    {state}", *next_lines(steps)]
    return {"lacks": lacks, "next": steps, "lines": lines}


def planned_steps(home: Home, pipeline: "Pipeline") -> list["Step"]:
    """The plan of `moola run`; creates no Dagster database."""
    from moola_pipeline.resources.instance import open_instance, prepare_instance
    from moola_pipeline.staleness.plan import nothing_made, plan
    from moola_pipeline.storage.atomic_write import files_below

    if not any(files_below(home.dagster, "*.db")):
        pipeline.chosen_market()  # refuses bars without labels, as the run does
        return nothing_made()
    prepare_instance(home)
    with open_instance(home) as instance:
        return plan(instance, pipeline.planned())


def _facts(home: Home, pipeline: "Pipeline", steps: Sequence["Step"]) -> dict[str, Any]:
    from moola_pipeline.tracking.registry import champion_version
    from moola_pipeline.tracking.runs import has_store

    market = pipeline.chosen_market()
    return {
        "home": str(home.root),
        "market": market.name,
        "simulated": market.simulated,
        "profile": pipeline.chosen_profile().name,
        "model": market.model_name,
        "champion": champion_version(home, market.model_name) if has_store(home) else None,
        "running": _is_running(home),
        "would_make": [step.asset for step in steps if step.stale],
        "assets": [
            {
                "asset": step.asset,
                "state": step.state,
                "made_at": iso_time(step.made_at) if step.made_at else None,
                "reason": step.reason,
            }
            for step in steps
        ],
    }


def _is_running(home: Home) -> bool:
    """Whether a `moola run` holds the lock of the home."""
    from filelock import Timeout

    from moola_pipeline.cli.run import run_lock

    if not home.dagster.exists():
        return False
    try:
        with run_lock(home).acquire(timeout=0):
            return False
    except Timeout:
        return True


def _lines(facts: dict[str, Any], steps: Sequence["Step"]) -> list[str]:
    champion = f"models:/{facts['model']}/{facts['champion']}" if facts["champion"] else "none yet"
    common_reason = steps[0].reason if len({step.reason for step in steps}) == 1 else None
    return [
        f"home      {facts['home']}",
        f"market    {_bars_shown(facts)}",
        f"champion  {champion}",
        *(["running   a moola run is in progress: its results are not included yet"] * facts["running"]),
        "",
        _row([*(name for name, _ in COLUMNS), "" if common_reason else "why"]),
        *(line for step in steps for line in _asset_lines(step, common_reason)),
        "",
        *_summary_lines(steps, common_reason, facts["command"]),
    ]


def _bars_shown(facts: dict[str, Any]) -> str:
    """Market, scenario and profile in words."""
    scenario = facts["market"].removeprefix(SIMULATED).removeprefix("-")
    kind = f", scenario {scenario}" if facts["simulated"] and scenario else ""
    bars = f"SIMULATED bars{kind}" if facts["simulated"] else f"registered {facts['market'].upper()} bars"
    return f"{bars}, profile {facts['profile']}"


def _asset_lines(step: "Step", common_reason: str | None) -> list[str]:
    made = shown_time(step.made_at) if step.made_at else "never"
    reason = "" if step.reason == common_reason or not step.stale else step.reason
    left = sum(width + 2 for _, width in COLUMNS)
    first, *more = textwrap.wrap(reason, LINE_WIDTH - left) or [""]
    return [_row([step.asset, step.state, made, first]), *(" " * left + line for line in more)]


def _row(cells: Sequence[str]) -> str:
    widths = [width for _, width in COLUMNS]
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return "  ".join([*padded, *cells[len(widths) :]]).rstrip()


def _summary_lines(steps: Sequence["Step"], common_reason: str | None, command: str) -> list[str]:
    stale = [step.asset for step in steps if step.stale]
    if not stale:
        return [f"{command} would change nothing."]
    if len(stale) == len(steps):
        outlook = (
            f"{command} would build all {len(steps)} assets{f': {common_reason}' if common_reason else ''}."
        )
    else:
        outlook = f"{command} would rebuild {len(stale)} of {len(steps)} assets: {', '.join(stale)}."
    return textwrap.wrap(outlook, LINE_WIDTH, subsequent_indent="  ", break_on_hyphens=False)
