"""`moola status`: which assets are stale, what `moola run` would rebuild, and why."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from moola_pipeline.cli.options import chosen_pipeline, market_options
from moola_pipeline.cli.output import emit, iso_time, json_option, next_lines, shown_time
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    from moola_pipeline.resources.pipeline import Pipeline
    from moola_pipeline.staleness.plan import Step

LINE_WIDTH = 100
COLUMNS = (("asset", 20), ("state", 12), ("last built, UTC", 16))
"""Headings and widths in characters; the reason takes the rest of the line."""


@click.command()
@market_options
@json_option
def status(profile: str, market: str, scenario: str | None, as_json: bool) -> None:
    """Show which assets `moola run` with the same options would rebuild, and why. Changes nothing."""
    from moola_pipeline.cli.run import quiet_libraries
    from moola_pipeline.resources.pipeline import Pipeline

    quiet_libraries()
    home = Home.resolve()
    pipeline = Pipeline(**chosen_pipeline(profile, market, scenario))
    if missing := _missing_data(home, market, scenario):
        emit(
            {"home": str(home.root), "lacks": missing["lacks"], "next": missing["next"]},
            missing["lines"],
            as_json,
        )
        return
    steps = planned_steps(home, pipeline)
    choices = {"--profile": profile, "--market": market, "--scenario": scenario or "auto"}
    options = [f"{name} {choice}" for name, choice in choices.items() if choice != "auto"]
    command = " ".join(["moola run", *options])
    facts = {**_facts(home, pipeline, steps), "command": command}
    emit(facts, _lines(facts, steps), as_json)


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
    kind = facts["market"].removeprefix("simulated").removeprefix("-")
    scenario = f", scenario {kind}" if facts["simulated"] and kind else ""
    bars = f"SIMULATED bars{scenario}" if facts["simulated"] else f"registered {facts['market'].upper()} bars"
    champion = f"models:/{facts['model']}/{facts['champion']}" if facts["champion"] else "none yet"
    common_reason = steps[0].reason if len({step.reason for step in steps}) == 1 else None
    return [
        f"home      {facts['home']}",
        f"market    {bars}, profile {facts['profile']}",
        f"champion  {champion}",
        *(["running   a moola run is in progress: its results are not included yet"] * facts["running"]),
        "",
        _row([*(name for name, _ in COLUMNS), "" if common_reason else "why"]),
        *(line for step in steps for line in _asset_lines(step, common_reason)),
        "",
        *_summary_lines(steps, common_reason, facts["command"]),
    ]


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
