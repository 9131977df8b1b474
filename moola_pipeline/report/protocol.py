"""How the scores of a report were made, in one line per subject."""

from moola_pipeline.report.data import ReportData
from moola_pipeline.report.metric_catalog import COUNTED, PRIMARIES, metric, short_name
from moola_pipeline.report.verdict import calibration_note, chosen_by, counts, verdict


def protocol(data: ReportData) -> dict[str, str]:
    """Labels, splits, seeds, comparisons, intervals, checks and versions, by subject."""
    lines = {
        "scored on": _scored_on(data),
        "labels": data.data.labels_note or "registered labels",
        "Moola": _model(data),
        "compared with": f"{len(data.baselines)} baselines, {len(data.trivial_baselines)} trivial baselines "
        f"and {len(data.ablations)} ablations, scored on the same windows",
        "best baseline": f"chosen {chosen_by(data)}" if data.baselines else "",
        "primary comparisons": _comparisons(data),
        "intervals": "95 %, bootstrap over trading sessions, differences paired; a share of none or all has "
        "the exact binomial interval",
        "looks at the test": _looks(data),
        "checks": f"{counts(data.checks, 'integrity')}; {counts(data.checks, 'score')}"
        if data.checks
        else "",
        "calibration": calibration_note(data),
        "run": f"{data.run.run_id}, code {data.run.code_version}, {data.device}"
        + (f", {data.precision}" if data.precision else ""),
        "bars": f"{'SIMULATED' if data.data.simulated else 'registered'}, SHA256 {data.data.sha256[:16]}",
    }
    return {subject: line for subject, line in lines.items() if line}


def _scored_on(data: ReportData) -> str:
    scored = [
        f"{data.metrics[key].n} {COUNTED[metric(key).question]} ({short_name(key)})"
        for key in PRIMARIES
        if key in data.metrics
    ]
    if data.provisional:
        where = f"by cross-validation over {data.n_folds} blocks of sessions"
    else:
        where = "in months after those of training and validation"
        dates = data.run.settings.get("splits")
        if isinstance(dates, dict) and {"train_end", "validation_end", "test_end"} <= set(dates):
            where = (
                f"after {dates['validation_end']} and until {dates['test_end']}; training ends "
                f"{dates['train_end']}, {dates.get('embargo_bars', 0)} bars lie between the periods"
            )
    return f"{' and '.join(scored)} {where}".strip()


def _model(data: ReportData) -> str:
    n_seeds, n_parameters = len(data.seeds), data.run.settings.get("n_parameters")
    if not n_seeds:
        return "seeds not recorded"
    named = f"seed{'s' if n_seeds > 1 else ''} {', '.join(map(str, data.seeds))}"
    sized = f", {n_parameters:,} parameters" if isinstance(n_parameters, int) else ""
    return f"{'mean over ' if n_seeds > 1 else ''}{named}; profile {data.profile}{sized}"


def _comparisons(data: ReportData) -> str:
    if not data.primaries:
        return "none: every comparison is exploratory"
    return verdict(data)[1].sentence


def _looks(data: ReportData) -> str:
    n = data.data.looks_at_test
    rows = "these labels" if data.provisional else "the test rows"
    return f"{n} model version{'' if n == 1 else 's'}, including this one, scored on {rows}"
