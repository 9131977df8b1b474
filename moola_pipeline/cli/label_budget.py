"""`moola labels budget` and `moola labels study`: what labels bring, measured."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from moola_pipeline.cli.choice_data import from_parts, load_choice_data, shown_interval
from moola_pipeline.cli.options import market_options
from moola_pipeline.cli.output import emit, json_option
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    from moola_pipeline.label_choice.learning_curve import CurvePoint, Forecast
    from moola_pipeline.studies.doubt_study import ArmSteps, NeededLabels
    from moola_pipeline.studies.slip_study import SlipRepeat

DOUBT_CODE, SLIP_CODE = "studies/doubt_study.py", "studies/slip_study.py"
"""Modules whose code decides a part of the study, with the modules that they import."""


@click.command()
@market_options
@json_option
@click.pass_obj
def budget(home: Home, profile: str, market: str, scenario: str | None, as_json: bool) -> None:
    """Measure how event F1 grows with the number of labels, and what twice as many would bring.

    Trees learn from an eighth, a quarter, a half and all of the labels outside each of five blocks of
    sessions of the training period. A forecast is shown only if half of the labels forecast the score of
    all of them within its interval.
    """
    from moola_pipeline.label_choice.learning_curve import CurveSettings, forecast, learning_curve

    data = load_choice_data(home, profile, market, scenario)
    curve = from_parts(lambda: learning_curve(data.market, data.drawn, CurveSettings(), _show_fits))
    ahead = forecast(curve)
    facts = {
        "simulated": data.instrument.simulated,
        "sessions": len(set(data.drawn.session.tolist())),
        "curve": [
            {"labels": point.n_labels, "windows": point.n_windows, **vars(point.score.interval)}
            for point in curve
        ],
        "forecast": {
            "labels": ahead.n_labels,
            "score": vars(ahead.score) if ahead.score else None,
            "proof": {"forecast": ahead.proof, "measured": vars(ahead.measured)},
        },
    }
    emit(facts, [*data.heading, *_curve_lines(curve, ahead)], as_json)


def _curve_lines(curve: "Sequence[CurvePoint]", ahead: "Forecast") -> list[str]:
    lines = [f"{'labels':>6} {'windows':>8}  event F1 (macro), trees, five blocks of sessions"]
    lines += [
        f"{point.n_labels:>6.0f} {point.n_windows:>8.0f}  {shown_interval(point.score.interval)}"
        for point in curve
    ]
    largest = curve[-1].n_labels
    proof = (
        f"from at most half of them, {largest:.0f} labels were forecast {ahead.proof:.2f}, "
        f"measured {shown_interval(ahead.measured)}"
    )
    if ahead.score is None:
        return [*lines, "", f"No forecast: {proof}."]
    return [
        *lines,
        "",
        f"Forecast for {ahead.n_labels:.0f} labels: {shown_interval(ahead.score)}. It held: {proof}.",
    ]


@click.command("study")
@click.option("--repeats", type=click.IntRange(2, 100), default=10, show_default=True)
@json_option
@click.pass_obj
def choice_study(home: Home, repeats: int, as_json: bool) -> None:
    """Measure on simulated markets what `next` and `doubtful` save.

    Each repeat is another market whose annotator is simulated. Finished repeats are saved: an interrupted
    command resumes and repeats none of them.
    """
    from moola_pipeline.staleness.fingerprints import code_digests
    from moola_pipeline.studies.doubt_study import DoubtStudySettings, needed_labels, run_doubt_study
    from moola_pipeline.studies.slip_study import SlipStudySettings, run_slip_study
    from moola_pipeline.studies.store import content_key

    folder = home.studies / "label_choice"
    doubt_code, slip_code = (content_key(code_digests(root)) for root in (DOUBT_CODE, SLIP_CODE))
    settings = DoubtStudySettings()
    chosen = run_doubt_study(range(repeats), settings, folder, doubt_code, _show_progress)
    slips = run_slip_study(range(repeats), SlipStudySettings(), folder, slip_code, _show_progress)
    needed = needed_labels(chosen, settings.windows)
    facts = {
        "simulated": True,
        "repeats": repeats,
        "doubt": {
            "windows": settings.windows,
            "repeats": [{arm: steps.model_dump() for arm, steps in it.items()} for it in chosen],
            "needed": _needed_facts(needed),
        },
        "slips": [it.model_dump() for it in slips],
    }
    lines = [
        f"SIMULATED, {repeats} markets; 95 % intervals over markets",
        "",
        *_doubt_lines(chosen, settings.windows, needed),
        "",
        *_slip_lines(slips),
    ]
    emit(facts, lines, as_json)


def _needed_facts(needed: "NeededLabels") -> dict[str, Any]:
    return {
        "target": vars(needed.target),
        "windows": {arm: vars(value) for arm, value in needed.windows.items()},
        "marks": {arm: vars(value) for arm, value in needed.marks.items()},
        "fewer_windows": vars(needed.fewer_windows),
        "fewer_marks": vars(needed.fewer_marks),
    }


def _doubt_lines(
    repeats: "Sequence[dict[str, ArmSteps]]", windows: Sequence[int], needed: "NeededLabels"
) -> list[str]:
    from moola_pipeline.studies.doubt_study import ARMS, DOUBT, RANDOM, mean_over_repeats

    lines = [
        f"{'windows':>7}  {'marks: random':>13} {'doubt':>6}  {'event F1: random':>18}  doubt minus random"
    ]
    for step, opened in enumerate(windows):
        marks = {arm: mean_over_repeats([it[arm].marks[step] for it in repeats]) for arm in ARMS}
        by_chance = mean_over_repeats([it[RANDOM].event_f1_macro[step] for it in repeats])
        gained = mean_over_repeats(
            [it[DOUBT].event_f1_macro[step] - it[RANDOM].event_f1_macro[step] for it in repeats]
        )
        lines.append(
            f"{opened:>7}  {marks[RANDOM].estimate:>13.0f} {marks[DOUBT].estimate:>6.0f}  "
            f"{shown_interval(by_chance):>18}  {shown_interval(gained, signed=True)}"
        )
    for name, by_arm, fewer in (
        ("windows", needed.windows, needed.fewer_windows),
        ("marks", needed.marks, needed.fewer_marks),
    ):
        lines.append(
            f"{name} for event F1 {needed.target.estimate:.2f}: random {shown_interval(by_arm[RANDOM], 0)}, "
            f"doubt {shown_interval(by_arm[DOUBT], 0)}; fewer by doubt {shown_interval(fewer, 0, True)}"
        )
    return lines


def _slip_lines(repeats: "Sequence[SlipRepeat]") -> list[str]:
    from moola_pipeline.studies.doubt_study import mean_over_repeats
    from moola_pipeline.studies.slip_study import DEPTHS

    share = mean_over_repeats([it.share for it in repeats])
    lines = [f"planted slips among the labels (precision at random): {shown_interval(share)}"]
    for depth in DEPTHS:
        precision = mean_over_repeats([it.precision(depth) for it in repeats])
        gained = mean_over_repeats([it.precision(depth) - it.share for it in repeats])
        swapped = mean_over_repeats([it.found(it.swapped, depth) for it in repeats])
        moved = mean_over_repeats([it.found(it.moved, depth) for it in repeats])
        lines.append(
            f"precision at {depth}: {shown_interval(precision)}, "
            f"minus random {shown_interval(gained, signed=True)}; "
            f"found of swapped types {shown_interval(swapped)}, of moved spans {shown_interval(moved)}"
        )
    at_random = mean_over_repeats([it.swapped_share for it in repeats])
    for depth in DEPTHS:
        precision = mean_over_repeats([it.type_precision(depth) for it in repeats])
        lines.append(
            f"ranked by type alone, swapped types among the first {depth}: {shown_interval(precision)}, "
            f"at random {shown_interval(at_random)}"
        )
    return lines


def _show_fits(done: int, total: int) -> None:
    if done % 5 == 0 or done == total:
        click.echo(f"budget  {done}/{total} trainings", err=True)


def _show_progress(text: str) -> None:
    click.echo(f"{text} ...", err=True)
