"""The options that choose where training, validation and test end, and the choice of a home."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import click
from pydantic import ValidationError

from moola_pipeline.errors import BadInput
from moola_pipeline.home import Home
from moola_pipeline.labels.chosen_splits import read_choice
from moola_pipeline.labels.splits import SplitSettings

ENDS = ("train_end", "validation_end", "test_end")


def split_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --train-end, --validation-end, --test-end and --rolling to a command."""
    whole_day = click.DateTime(formats=["%Y-%m-%d"])
    texts = ("training", "validation", "test")
    command = click.option(
        "--rolling",
        type=click.IntRange(min=1),
        metavar="MONTHS",
        help="Test on the newest labeled months, this many, and validate on as many before them.",
    )(command)
    for name, text in reversed(list(zip(ENDS, texts, strict=True))):
        flag = f"--{name.replace('_', '-')}"
        command = click.option(flag, type=whole_day, metavar="DATE", help=f"Last day of {text}.")(command)
    return command


def splits_in_force(home: Home, rolling: int | None = None, **ends: datetime | None) -> SplitSettings:
    """The splits chosen by options, else those of the home, else the default ones.

    Args:
        home: Where a choice may be remembered.
        rolling: Labeled months of test, and as many of validation.
        ends: Those of ENDS that were given; the others stay as they are.

    Raises:
        BadInput: If dates and --rolling are given both, or the dates do not follow each other.
    """
    chosen = read_choice(home.data) or SplitSettings()
    given: dict[str, date] = {name: end.date() for name, end in ends.items() if end is not None}
    if rolling is not None:
        if given:
            raise BadInput("Splits must end by --rolling or by dates, but both came. Leave one out.")
        return chosen.model_copy(
            update={
                "rule": "rolling",
                "rolling_test_months": rolling,
                "rolling_validation_months": rolling,
            }
        )
    if not given:
        return chosen
    try:
        return SplitSettings.model_validate({**chosen.model_dump(), "rule": "fixed", **given})
    except ValidationError as fault:
        reason = fault.errors()[0]["msg"].removeprefix("Value error, ")
        raise BadInput(f"{reason}. Give all three: --train-end, --validation-end, --test-end.") from None
