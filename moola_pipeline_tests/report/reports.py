"""Made-up reports for tests: one with every part, one with as little as possible."""

from datetime import UTC, datetime
from typing import Literal

import numpy as np

from moola_pipeline.report.data import (
    AlarmBudget,
    Calibration,
    Check,
    DataFacts,
    Details,
    GalleryWindow,
    LearningPoint,
    LossCurve,
    LossCurves,
    MeanPath,
    MonthMix,
    PreviousRun,
    PrimaryComparison,
    ReliabilityBin,
    ReportData,
    RunFacts,
    Score,
    Scores,
)
from moola_pipeline.windows.window_geometry import WINDOW_BARS

TYPED = {"type_f1_macro": 0.74, "aucpr_retracement": 0.71, "mcc": 0.49}
FOUND = {"event_f1_macro": 0.46, "event_f1_untyped": 0.6, "segment_f1_micro": 0.55, "segment_f1_macro": 0.41}
OTHERS = {
    "brier": 0.18,
    "ece": 0.05,
    "prevalence": 0.35,
    "map_iou30": 0.5,
    "map_iou50": 0.36,
    "map_iou70": 0.12,
    **{f"{end}_bias_bars": 0.3 for end in ("onset", "offset")},
    **{f"{end}_rmse_bars": 2.4 for end in ("onset", "offset")},
    **{f"{end}_mae_bars": 1.5 for end in ("onset", "offset")},
    **{f"{end}_within_{bars}": 0.5 + bars / 12 for end in ("onset", "offset") for bars in (1, 3, 5)},
}
TRIVIAL_BASELINES = {
    "majority": 0.39,
    "always_consolidation": 0.39,
    "always_retracement": 0.26,
    "position_only": 0.47,
    "one_constant_span": 0.39,
    "mean_pointer": 0.39,
}
BASELINES = {
    "logistic_45_closes": 0.72,
    "extra_trees_45_closes": 0.71,
    "minirocket_45_closes": 0.76,
    "logistic_21_summaries": 0.8,
    "extra_trees_21_summaries": 0.75,
    "minirocket_bar_features": 0.74,
}
ABLATIONS = {"untrained": 0.5, "scratch": 0.73, "teachers": 0.7}
TYPES = ("consolidation", "retracement")


def score(estimate: float, half: float = 0.07, n: int = 147) -> Score:
    return Score(estimate=estimate, low=estimate - half, high=estimate + half, n=n)


def scores(type_f1: float, event_f1: float, aucpr: float) -> Scores:
    return {
        "type_f1_macro": score(type_f1),
        "event_f1_macro": score(event_f1, n=140),
        "aucpr_retracement": score(aucpr),
    }


def primary(metric: str, baseline: str, difference: float, p_value: float) -> PrimaryComparison:
    """Model minus a baseline, with an interval of 0.08 on each side."""
    return PrimaryComparison(
        metric=metric,
        baseline=baseline,
        difference=score(difference, 0.08),
        p_value=p_value,
        smallest_difference=0.08,
    )


CHOSEN = {"type_f1_macro": "logistic_21_summaries", "event_f1_macro": "rule_extra_trees_21_summaries"}


def report_data(**changes) -> ReportData:
    """A report of a run without a study, with changes."""
    made = {
        "data": DataFacts(
            simulated=True,
            sha256="ab" * 32,
            looks_at_test=3,
            labels_sha256="cd" * 32,
            labels_note="labels made by a fixed written procedure, not by a person",
        ),
        "device": "cpu",
        "profile": "demo",
        "metrics": scores(0.74, 0.46, 0.71) | {"event_f1_untyped": score(0.6), "ece": score(0.05, 0.02)},
        "trivial_baselines": {"majority": scores(0.39, 0.0, 0.35), "position_only": scores(0.47, 0.12, 0.38)},
        "baselines": {
            "logistic_21_summaries": scores(0.8, 0.44, 0.78),
            "extra_trees_45_closes": scores(0.71, 0.4, 0.7),
            "minirocket_45_closes": scores(0.76, 0.41, 0.74),
            "rule_extra_trees_21_summaries": {"event_f1_macro": score(0.48)},
        },
        "ablations": {"scratch": scores(0.73, 0.42, 0.7)},
        "second_pass": {"event_f1_macro": score(0.67)},
        "checks": {
            "bars_match_manifest": Check(passed=True, kind="integrity", value="5 of 5 files", limit="all"),
            "no_leakage": Check(passed=True, kind="integrity", value=0, limit=0),
            "target_f1": Check(passed=False, kind="score", value=0.74, limit=0.75),
            "calibrated": Check(passed=True, kind="score", value=0.05, limit=0.09),
            "beats_baselines": Check(passed=True, kind="score", value=0.2, limit=0.0),
        },
        "run": RunFacts(
            run_id="9f3c2b7a-0d41-4c55-9f0e-0a4be9d1c1aa",
            created_at=datetime(2025, 7, 1, 12, 30, tzinfo=UTC),
            model_version="4",
            code_version="200949e",
            settings={"pretrain": {"epochs": 10}, "finetune": {"batch": 32}},
        ),
        "seeds": [0, 1, 2],
    }
    return ReportData(**(made | changes))


def full_report() -> ReportData:
    """A report with every part and every number defined."""
    model = {name: score(value) for name, value in (TYPED | FOUND | OTHERS).items()}
    trivial_baselines = {name: scores(value, 0.2 * value, 0.35) for name, value in TRIVIAL_BASELINES.items()}
    trivial_baselines |= {"training_share": {"ece": score(0.02, 0.02)}}
    baselines = {name: scores(value, 0.5 * value, value - 0.03) for name, value in BASELINES.items()}
    ablations = {name: scores(value, 0.5 * value, value - 0.03) for name, value in ABLATIONS.items()}
    baselines |= {"rule_extra_trees_21_summaries": {name: score(0.48, n=140) for name in FOUND}}
    differences = {
        method_name: {
            name: score(float(model[name].estimate or 0) - float(one.estimate or 0), 0.08)
            for name, one in found.items()
        }
        for method_name, found in (trivial_baselines | baselines | ablations).items()
    }
    return report_data(
        metrics=model,
        trivial_baselines=trivial_baselines,
        baselines=baselines,
        ablations=ablations,
        second_pass={name: score(value + 0.2, n=140) for name, value in FOUND.items()},
        differences=differences,
        chosen_baselines=CHOSEN,
        primaries=[
            primary("type_f1_macro", CHOSEN["type_f1_macro"], -0.06, 0.31),
            primary("event_f1_macro", CHOSEN["event_f1_macro"], -0.02, 0.64),
        ],
        details=_details(model),
    )


def _details(model: Scores) -> Details:
    return Details(
        breakdowns={
            "type": {kind: {"type_f1": score(0.7, n=70), "event_f1": score(0.4, n=70)} for kind in TYPES},
            "hour": {f"{hour:02}:00": _group(hour % 9 + 1) for hour in (*range(18, 24), *range(17))},
            "session": {name: _group(30) for name in ("Asia", "London", "New York", "after the close")},
            "direction": {name: _group(73) for name in ("up", "down")},
        },
        confusion=[[80, 16], [18, 33]],
        calibration=Calibration(
            bins=[
                ReliabilityBin(probability=p, share=p + shift, n=29)
                for p, shift in ((0.08, 0.02), (0.2, -0.05), (0.35, 0.1), (0.6, 0.05), (0.88, -0.1))
            ],
            ece_band=(0.0, 0.09),
        ),
        by_seed={name: [0.7, 0.74, 0.78] for name in model},
        smallest_difference=dict.fromkeys(model, 0.08),
        class_mix=[
            MonthMix(
                month=f"{2020 + month // 12}-{month % 12 + 1:02}",
                split="train" if month < 60 else "validation" if month < 63 else "test",
                consolidation=3 + month % 3,
                retracement=1 + month % 2,
                none=month % 3,
            )
            for month in range(9, 66)
        ],
        event_study=[
            path for kind in TYPES for path in (_path(kind, "labeled", 0.0), _path(kind, "predicted", 0.3))
        ],
        learning_curve=[
            LearningPoint(n_labels=n, pretrained=score(0.5 + n / 600), scratch=score(0.45 + n / 600))
            for n in (22, 44, 87, 174)
        ],
        delay_curve={bars: score(0.2 + 0.02 * bars) for bars in (0, 1, 3, 5, 10)},
        alarm_budgets=[
            AlarmBudget(
                budget=budget,
                threshold=0.7 - 0.02 * budget,
                alarms_per_session=score(0.9 * budget),
                precision=score(0.6 - 0.01 * budget),
                delay_bars=score(3.5),
            )
            for budget in range(1, 21)
        ],
        null=score(0.01, 0.06),
        truth={
            "model": {"event_f1_macro": score(0.38), "event_f1_untyped": score(0.52)} | _types(0.77),
            "labels": {"event_f1_macro": score(0.66), "event_f1_untyped": score(0.68)} | _types(0.99),
        },
        prior={
            f"prior_{kept}{ending}": {"brier": score(0.12), "ece": score(0.14)} | _types(0.78)
            for kept in ("frozen", "reestimated")
            for ending in ("", "_at_23_percent")
        },
        previous=PreviousRun(
            run_id="77aa",
            created_at=datetime(2025, 6, 20, 8, 0, tzinfo=UTC),
            metrics=scores(0.7, 0.44, 0.69),
            bars_changed=False,
            labels_changed=False,
            settings_changed=True,
        ),
        not_measured={"scratch": "no network was trained from scratch"},
    )


def _types(type_f1: float) -> Scores:
    return {"type_f1_macro": score(type_f1, n=79), "aucpr_retracement": score(0.7, n=79)}


def _group(n: int) -> Scores:
    found = {"event_f1_untyped": score(0.5, 0.3 / n**0.5, n)}
    return found if n < 5 else {"type_f1_macro": score(0.7, 0.5 / n**0.5, n), **found}


def _path(kind: str, source: Literal["labeled", "predicted"], shift: float) -> MeanPath:
    bars = np.arange(-45, 21)
    after, before = np.maximum(bars + 1, 0), np.minimum(bars + 1, 0)
    mean = 0.35 * after + shift - (0.05 * before + 0.002 * before**2) * (kind == "retracement")
    low, high = (mean - 0.4).tolist(), (mean + 0.4).tolist()
    return MeanPath(
        type=kind, source=source, bars=bars.tolist(), mean=mean.tolist(), low=low, high=high, n=70
    )


def minimal_report() -> ReportData:
    """No baseline, check or detail; one undefined score."""
    nothing = Score(estimate=None, low=None, high=None, n=0)
    return report_data(
        data=DataFacts(simulated=False, sha256="00", looks_at_test=1),
        metrics={"type_f1_macro": nothing},
        trivial_baselines={},
        baselines={},
        ablations={},
        second_pass={},
        checks={},
        seeds=[],
    )


def gallery_window(rng: np.random.Generator, **changes) -> GalleryWindow:
    close = 20_000 + np.round(rng.normal(0, 4, WINDOW_BARS).cumsum() * 4) / 4
    opened = np.concatenate([[20_000], close[:-1]])
    wick = np.abs(np.round(rng.normal(0, 2, (2, WINDOW_BARS)) * 4) / 4)
    made = {
        "window_id": "w0042",
        "session": "2025-04-03",
        "started_at": "2025-04-03 14:05 UTC",
        "open": opened,
        "high": np.maximum(opened, close) + wick[0],
        "low": np.minimum(opened, close) - wick[1],
        "close": close,
        "truth": [(44, 52, "retracement", 1)],
        "predicted": [(45, 51, "retracement", 1, 0.83), (70, 75, "consolidation", -1, 0.4)],
    }
    return GalleryWindow(**(made | changes))


def made_curves() -> LossCurves:
    falling = [1.0, 0.7, 0.55, 0.5]
    curves = [LossCurve(seed, falling, [loss + 0.1 * (seed + 1) for loss in falling]) for seed in range(3)]
    return LossCurves(pretraining=curves[:1], finetuning=curves)
