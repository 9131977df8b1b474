"""Options that commands share: market, profile, split dates, annotator, target."""

from collections.abc import Callable
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import click

from moola_pipeline.errors import BadInput

if TYPE_CHECKING:
    from moola_pipeline.instrument_data import InstrumentData
    from moola_pipeline.labels.splits import SplitSettings
    from moola_pipeline.report.data import Target
    from moola_pipeline.storage.home import Home

PROFILES = ("auto", "smoke", "demo", "full", "study")
MARKETS = ("auto", "registered", "simulated")
SPLITS = ("train", "validation", "test")
TARGET_MARGIN = 0.10
"""By how much the lower bound of a target lies below it, unless chosen."""
SCENARIOS = ("no_signal", "drifting_mix", "regime_break", "second_instrument", "speed_eye", "breaks_eye")


def market_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --profile, --market and --scenario to a command."""
    options = (
        click.option("--profile", type=click.Choice(PROFILES), default="auto", show_default=True),
        click.option("--market", type=click.Choice(MARKETS), default="auto", show_default=True),
        click.option(
            "--scenario",
            type=click.Choice(SCENARIOS),
            help="A variant of the simulated market, with a separate model.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def chosen_pipeline(profile: str, market: str, scenario: str | None) -> dict[str, Any]:
    """Arguments of `Pipeline` from the options."""
    return {"profile": profile, "market": market, "scenario": scenario or "none"}


ENDS = {"train_end": "training", "validation_end": "validation", "test_end": "test"}


class _WholeDay(click.DateTime):
    """A date, with an error message that shows the format."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"a date must exist and be written as 2024-12-31, got {value!r}.", param, ctx)


def split_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --train-end, --validation-end, --test-end and --rolling to a command."""
    whole_day = _WholeDay(formats=["%Y-%m-%d"])
    command = click.option(
        "--rolling",
        type=click.IntRange(min=1),
        metavar="MONTHS",
        help="Test on the newest MONTHS labeled months and validate on as many before them.",
    )(command)
    for name, period in reversed(ENDS.items()):
        flag = f"--{name.replace('_', '-')}"
        command = click.option(flag, type=whole_day, metavar="DATE", help=f"Last day of {period}.")(command)
    return command


def label_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --annotator and --definition to a command."""
    command = click.option(
        "--definition",
        type=click.IntRange(min=1),
        metavar="NUMBER",
        help="The definition that the labels follow.  [default: that of most windows]",
    )(command)
    return click.option(
        "--annotator",
        metavar="NAME",
        help='Whose labels to learn; "consensus" merges those of all.  [default: the one with most windows]',
    )(command)


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --target and --target-low to a command."""
    share = click.FloatRange(0, 1)
    command = click.option(
        "--target-low",
        type=share,
        metavar="F1",
        help=f"Least lower bound of its interval.  [default: {TARGET_MARGIN:.2f} below --target]",
    )(command)
    return click.option(
        "--target", type=share, metavar="F1", help="Type F1 that the report calls a target met."
    )(command)


def choose_target(home: "Home", estimate: float | None, low: float | None) -> "Target | None":
    """Save the target from the options in the home; None if no option is given.

    Raises:
        BadInput: If the lower bound is above the target; nothing is saved.
    """
    if estimate is None and low is None:
        return None
    from moola_pipeline.report.chosen_target import read_target_choice, write_target_choice
    from moola_pipeline.report.data import Target

    if estimate is None:
        estimate = read_target_choice(home.data).estimate
    if low is None:
        low = round(max(estimate - TARGET_MARGIN, 0), 4)
    if not low <= estimate:
        raise BadInput(
            f"--target-low must be at most --target, got {low:g} and {estimate:g}. Lower it, or leave it out."
        )
    target = Target(estimate=estimate, low=low)
    write_target_choice(home.data, target)
    return target


def choose_annotator(
    market: "InstrumentData", annotator: str | None, definition: int | None
) -> "InstrumentData":
    """Save annotator and definition from the options in the home; the market that has them.

    Of the two, one that is not given stays as it was chosen before.

    Raises:
        BadInput: If the market is simulated, or there are no such labels; nothing is saved.
    """
    if annotator is None and definition is None:
        return market
    if market.simulated:
        raise BadInput(
            "An annotator can be chosen for registered labels only, but this market is simulated. Register "
            "bars and labels first, or leave --annotator and --definition out."
        )
    from dataclasses import replace

    from moola_pipeline.labels.annotators import LabelChoice, choose_labels, write_label_choice
    from moola_pipeline.labels.registry import registered_labels

    before = market.label_choice
    choice = LabelChoice(
        annotator=before.annotator if annotator is None else annotator,
        definition=before.definition if definition is None else definition,
    )
    choose_labels(registered_labels(market.store.labels), choice)
    write_label_choice(market.store.root, choice)
    return replace(market, label_choice=choice)


def active_splits(home: "Home", rolling: int | None = None, **ends: datetime | None) -> "SplitSettings":
    """The splits from the options, else the splits saved in the home, else the default splits.

    Args:
        home: Home with the saved splits.
        rolling: Labeled months of test, and as many of validation.
        ends: New end dates, by names in ENDS; the other dates do not change.

    Raises:
        BadInput: If both dates and --rolling are given, or the dates are not in order.
    """
    from pydantic import ValidationError

    from moola_pipeline.bars.store import registered_store
    from moola_pipeline.labels.chosen_splits import read_split_choice
    from moola_pipeline.labels.splits import SplitSettings

    chosen = read_split_choice(registered_store(home).root) or SplitSettings(proposed=True)
    new_ends: dict[str, date] = {name: end.date() for name, end in ends.items() if end is not None}
    if rolling is not None and new_ends:
        raise BadInput("Splits must be set by --rolling or by dates, got both. Leave one out.")
    if rolling is not None:
        months = {"rolling_test_months": rolling, "rolling_validation_months": rolling}
        return chosen.model_copy(update={"rule": "rolling", "proposed": False, **months})
    if not new_ends:
        return chosen
    try:
        return SplitSettings.model_validate(
            {**chosen.model_dump(), "rule": "fixed", "proposed": False, **new_ends}
        )
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise BadInput(f"{reason}. Give all three: --train-end, --validation-end, --test-end.") from None


def choose_splits(
    home: "Home", market: "InstrumentData", rolling: int | None, **ends: datetime | None
) -> "SplitSettings | None":
    """Save the splits from the options in the home; None if no option is given.

    Raises:
        BadInput: If the market is simulated, or the options are invalid; nothing is saved.
        UnsoundSplit: If a split would be empty or hold one type only; nothing is saved.
    """
    if rolling is None and not any(ends.values()):
        return None
    if market.simulated:
        raise BadInput(
            "Splits can be chosen for registered bars only, but this market is simulated. Register bars and "
            "labels first, or leave --rolling and the dates out."
        )
    from moola_pipeline.labels.chosen_splits import write_split_choice
    from moola_pipeline.labels.placement import split_labels
    from moola_pipeline.labels.split_checks import check_splits

    settings = active_splits(home, rolling, **ends)
    bars = market.bars()
    check_splits(split_labels(market.labels(), bars, settings).frame, bars, settings)
    write_split_choice(market.store.root, settings)
    return settings
