"""What the main job took, asset by asset, for terminal and page."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from moola_pipeline.bench.job_profile import OUTSIDE, parts_of

DEAREST = 3
"""Assets whose parts are told."""


class Stage(Protocol):
    """What is known of one asset of a run: seconds, and memory and processor where they were logged."""

    @property
    def asset(self) -> str: ...  # noqa: D102
    @property
    def seconds(self) -> float: ...  # noqa: D102
    @property
    def peak_mb(self) -> float | None: ...  # noqa: D102
    @property
    def cpu_percent(self) -> float | None: ...  # noqa: D102


class JobReport(NamedTuple):
    """A run of the main job.

    Attributes:
        profile, market: What it was about.
        measured_at: When it began, UTC.
        stages: What each asset took, in the order of the work.
        seconds: Of the whole process; None where only its records are left.
        looks: How often each function was seen at work, by asset; empty where only records are left.
    """

    profile: str
    market: str
    measured_at: str
    stages: Sequence[Stage]
    seconds: float | None
    looks: dict[str, Counter[str]]


def job_lines(report: JobReport | None) -> list[str]:
    """One line an asset."""
    if report is None:
        return ["the main job was not measured: this home holds no whole run (moola bench --job makes one)"]
    whole = sum(one.seconds for one in report.stages)
    head = f"{f'main job, {report.profile}, {report.market} bars, nine assets':58}{whole:9.1f} s"
    return [head, *(f"{f'  {one.asset}':58}{one.seconds:9.1f} s" for one in report.stages)]


def job_page(report: JobReport | None) -> tuple[str, ...]:
    """The section of the page, in Markdown."""
    if report is None:
        return ("**The main job.** Not measured: the home held no whole run, and none was asked for.", "")
    whole = sum(one.seconds for one in report.stages)
    where = (
        f"a fresh run in a home of its own, {report.seconds:.1f} s from the start of its process to the end, "
        "looked at 50 times a second meanwhile"
        if report.seconds is not None
        else "read from what the last whole run of the home logged"
    )
    return (
        f"**The main job.** `{report.profile}` on {report.market} bars, {report.measured_at}: {where}. "
        f"Its nine assets took {whole:.1f} s. Processor: of one core.",
        "",
        "| asset | seconds | share | processor | peak memory |",
        "|---|---|---|---|---|",
        *(_row(one, whole) for one in report.stages),
        "",
        *_parts(report),
    )


def _row(one: Stage, whole: float) -> str:
    processor = "" if one.cpu_percent is None else f"{one.cpu_percent:.0f} %"
    memory = "" if one.peak_mb is None else f"{one.peak_mb:,.0f} MB"
    return f"| `{one.asset}` | {one.seconds:.1f} | {one.seconds / whole:.0%} | {processor} | {memory} |"


def _parts(report: JobReport) -> list[str]:
    """In which functions the dearest assets spend their time."""
    if not report.looks:
        return []
    dearest = sorted(report.stages, key=lambda one: -one.seconds)[:DEAREST]
    names = [one.asset for one in dearest if one.asset in report.looks]
    return [
        "Where in them, by the innermost function of this package (libraries that it calls included):",
        "",
        *(f"- `{name}`: {_shares(report.looks[name])}" for name in [*names, OUTSIDE] if name in report.looks),
        "",
    ]


def _shares(looks: Counter[str]) -> str:
    return ", ".join(f"`{name}` {share:.0%}" for name, share in parts_of(looks))
