"""Options of `moola labels add` and `check` that say how a label file is read."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from moola_pipeline.labels.label_options import ENDS, LabelOptions
from moola_pipeline.labels.schema import CHOSEN

_NAMES = ("shift_bars", "timezone", "ends", "covers", "as_is", "annotator", "definition", "chosen")


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of LabelOptions to a command, which gets them as `options`."""

    @wraps(command)
    def with_options(*args: Any, **values: Any) -> Any:
        return command(*args, options=LabelOptions(**{name: values.pop(name) for name in _NAMES}), **values)

    declared = (
        click.option(
            "--shift-bars", type=int, default=0, metavar="N", help="Move all spans by N bars, for example -1."
        ),
        click.option(
            "--timezone",
            metavar="ZONE",
            help="IANA zone of the file's clock; it overrides a zone (or Z) that the times name.",
        ),
        click.option(
            "--ends",
            type=click.Choice(ENDS),
            default=ENDS[0],
            show_default=True,
            help="Whether ends are the last bar of a span, the bar after it, or exchanged with starts.",
        ),
        click.option(
            "--covers",
            multiple=True,
            metavar="START/END",
            help="A stretch that was looked at whole, for files with spans in time; may be repeated. Without "
            "one only the spans are known, and are used for training only.",
        ),
        click.option("--as-is", is_flag=True, help="Accept spans that do not seem to fit the bars."),
        click.option("--annotator", metavar="NAME", help="Who judged the rows that name no annotator."),
        click.option(
            "--definition",
            type=click.IntRange(min=1),
            metavar="NUMBER",
            help="The definition that the rows follow.  [default: 1]",
        ),
        click.option(
            "--chosen",
            type=click.Choice(CHOSEN),
            help="How the windows were chosen; what a model chose is used for training only.  "
            "[default: import]",
        ),
    )
    for option in reversed(declared):
        with_options = option(with_options)
    return with_options
