"""How long a model takes to look through years of bars for expansions."""

from typing import NamedTuple

import pandas as pd

from moola_pipeline.bench.feature_speed import Timing, timed

SCAN_THREADS = 2
TICK_POINTS = 0.25


class ScanSpeed(NamedTuple):
    """Seconds of a scan, and windows read in a second of it."""

    timing: Timing
    windows_a_second: float


def measure_scan(table: pd.DataFrame) -> ScanSpeed:
    """Scan a table of bars with a network of the usual size on two cores, its weights drawn at random.

    Time does not depend on what the weights are, but for how many spans the rule proposes: its
    thresholds are those usually fitted.

    Args:
        table: BAR_COLUMNS.
    """
    import torch

    from moola_pipeline.inference.hindsight import annotate
    from moola_pipeline.models.classifier import Classifier
    from moola_pipeline.models.encoder import Encoder
    from moola_pipeline.models.expansion_model import Annotator, Decisions
    from moola_pipeline.models.span_proposer import Rule
    from moola_pipeline.training.settings import FinetuneSettings, PretrainSettings

    decisions = Decisions(
        expansion_scale=1,
        expansion_shift=0,
        expansion_threshold=0.5,
        retracement_scale=1,
        retracement_shift=0,
        retracement_threshold=0.5,
        refine=False,
    )
    torch.manual_seed(0)
    heads = FinetuneSettings()
    classifier = Classifier(Encoder(PretrainSettings().hidden_units), heads.head_units, heads.dropout).eval()
    rule = Rule(min_net_atr=2.5, min_efficiency=0.6, min_length=3, max_length=15, ordering="net")
    model = Annotator(classifier, rule, decisions)
    annotate(model, table.head(2000), TICK_POINTS, "warm")  # compiles
    before, found = torch.get_num_threads(), []
    torch.set_num_threads(SCAN_THREADS)
    try:
        timing = timed(lambda: found.append(annotate(model, table, TICK_POINTS, "0").n_windows), 1)
    finally:
        torch.set_num_threads(before)
    return ScanSpeed(timing, found[-1] / timing.seconds)
