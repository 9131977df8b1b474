"""Expected seconds of the stages of a run: as they took in this home before, else an estimate."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import dagster as dg

    from moola_pipeline.resources.pipeline import Pipeline

MEASURED_BARS = {"smoke": 60_000, "demo": 1_650_000, "full": 1_650_000}
"""Bars of the runs behind ESTIMATES."""
ESTIMATES = {
    "raw_nq_bars": {"smoke": 6, "demo": 11, "full": 6},
    "labeled_expansions": {"smoke": 1, "demo": 2, "full": 2},
    "relativity_features": {"smoke": 2, "demo": 3, "full": 3},
    "densified_windows": {"smoke": 1, "demo": 2, "full": 2},
    "pretrained_encoder": {"smoke": 8, "demo": 9, "full": 120},
    "finetuned_classifier": {"smoke": 10, "demo": 25, "full": 360},
    "bootstrap_ci_report": {"smoke": 20, "demo": 28, "full": 110},
    "registered_model": {"smoke": 4, "demo": 5, "full": 6},
    "latest_expansions": {"smoke": 1, "demo": 2, "full": 3},
}
"""Seconds of each asset by profile, on two CPU cores; demo: the first run after `make install`."""
GROWING = {"raw_nq_bars", "relativity_features", "densified_windows"}
"""Assets whose seconds grow with the bars; pretraining does if it reads all windows (profile full)."""
MINUTE = 60


class ExpectedSeconds(NamedTuple):
    """Seconds by asset, in the order of the run, and where they come from.

    Attributes:
        by_asset: Seconds.
        estimated: Assets that were not built in this home with this market and profile before.
    """

    by_asset: dict[str, float]
    estimated: tuple[str, ...]

    @property
    def total(self) -> float:
        """Seconds of all assets."""
        return sum(self.by_asset.values())

    @property
    def shown(self) -> str:
        """One line with the duration and its source."""
        if not self.estimated:
            source = "as long as it took in this home before"
        elif len(self.estimated) == len(self.by_asset):
            source = "an estimate for two CPU cores: this home has no such run yet"
        else:
            source = f"partly an estimate: {', '.join(self.estimated)} not built here before"
        return f"expected  about {rounded_duration(self.total)}, {source}"


def rounded_duration(seconds: float) -> str:
    """A duration in words, rounded to 5 s below two minutes and to a minute above."""
    if seconds < 2 * MINUTE:
        return f"{max(5 * round(seconds / 5), 5)} s"
    return f"{round(seconds / MINUTE)} min"


def expected_seconds(
    instance: "dg.DagsterInstance", pipeline: "Pipeline", assets: Sequence[str]
) -> ExpectedSeconds:
    """Expected seconds of some assets of a market and profile.

    Args:
        instance: Dagster's instance of the home, which holds the durations of earlier runs.
        pipeline: Market and profile.
        assets: The assets to build, in order.
    """
    earlier = _earlier_seconds(instance, pipeline, assets)
    estimates = _estimated_seconds(pipeline)
    by_asset = {asset: earlier.get(asset, estimates[asset]) for asset in assets}
    return ExpectedSeconds(by_asset, tuple(asset for asset in assets if asset not in earlier))


def _earlier_seconds(
    instance: "dg.DagsterInstance", pipeline: "Pipeline", assets: Sequence[str]
) -> Mapping[str, float]:
    """Seconds of each asset's last step, if that built it for the same market and profile."""
    from moola_pipeline.staleness.fingerprints import PIPELINE_LABEL
    from moola_pipeline.staleness.records import recorded

    market, label = pipeline.chosen_market().name, pipeline.label
    run_of: dict[str, str] = {}
    for asset in assets:
        last = recorded(instance, asset, market)
        if last and last.made_from and last.made_from.settings[PIPELINE_LABEL] == label:
            run_of[asset] = last.run_id
    seconds: dict[str, float] = {}
    for run_id in set(run_of.values()):
        of_run = [asset for asset in assets if run_of.get(asset) == run_id]
        for step in instance.get_run_step_stats(run_id, of_run):
            if step.start_time is not None and step.end_time is not None:
                seconds[step.step_key] = step.end_time - step.start_time
    return seconds


def _estimated_seconds(pipeline: "Pipeline") -> Mapping[str, float]:
    """ESTIMATES for the profile, scaled by the number of registered bars."""
    from moola_pipeline.bars.store import read_manifest

    market, profile = pipeline.chosen_market(), pipeline.chosen_profile()
    like = profile.name if profile.name in MEASURED_BARS else "full"
    scale = 1.0
    if not market.simulated:
        scale = sum(file.rows for file in read_manifest(market.store).files) / MEASURED_BARS[like]
    growing = GROWING if profile.pretrain.max_windows else {*GROWING, "pretrained_encoder"}
    return {asset: seconds[like] * (scale if asset in growing else 1) for asset, seconds in ESTIMATES.items()}
