"""The options that choose a market and a profile, alike for every command that has them."""

from collections.abc import Callable
from typing import Any

import click

PROFILES = ("auto", "smoke", "demo", "full", "study")
MARKETS = ("auto", "registered", "simulated")
SCENARIOS = ("no_signal", "drifting_mix", "regime_break", "second_instrument")


def market_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --profile, --market and --scenario to a command."""
    options = (
        click.option("--profile", type=click.Choice(PROFILES), default="auto", show_default=True),
        click.option("--market", type=click.Choice(MARKETS), default="auto", show_default=True),
        click.option(
            "--scenario",
            type=click.Choice(SCENARIOS),
            help="A simulated market unlike the plain one, with a model of its own.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def asked_pipeline(profile: str, market: str, scenario: str | None) -> dict[str, Any]:
    """What the options ask of `Pipeline`."""
    return {"profile": profile, "market": market, "scenario": scenario or "none"}
