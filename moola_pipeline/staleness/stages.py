"""The nine assets in the order of the pipeline: ingredients of each, and its integrity checks."""

from dataclasses import dataclass

IO_MANAGERS = "resources/io_managers.py"


@dataclass(frozen=True)
class Stage:
    """Ingredients of an asset, beside the code that its own module imports.

    Attributes:
        kept_by: Its IO manager.
        roots: Code that its module does not import: files in the package, or `file:name`; see
            `SourceTree.code`.
        alone: Files that are read or copied, not imported; their imports do not count.
        data_digests: Data, by the names of `data_digests.read_data_digests`.
        settings: Parts of the profile.
        upstream: Assets whose data version counts: the content digest of bars and labels, which a
            rebuild does not change, else the fingerprint.
    """

    kept_by: str
    roots: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    data_digests: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()


STAGES = {
    "raw_nq_bars": Stage(
        "FrameIOManager",
        roots=("bars/manifest.py:read_bars",),
        data_digests=("bars",),
    ),
    "labeled_expansions": Stage(
        "FrameIOManager",
        roots=("labels/label_rows.py:read_labels", "labels/registry.py:registered_labels"),
        data_digests=("labels",),
        settings=("splits",),
        upstream=("raw_nq_bars",),
    ),
    "relativity_features": Stage("FeatureIOManager", upstream=("raw_nq_bars",)),
    "densified_windows": Stage(
        "FrameIOManager",
        settings=("splits", "stride"),
        upstream=("labeled_expansions", "relativity_features"),
    ),
    # Features and windows count as code: bars after the training period change them, not the encoder.
    "pretrained_encoder": Stage(
        "EncoderIOManager",
        roots=(
            "assets/densified_windows.py",
            f"{IO_MANAGERS}:FeatureIOManager",  # computes the features that it reads
            "training/pretrain_rank.py",  # entry points of processes
            "training/torchrun.py",
        ),
        data_digests=("bars.train",),
        settings=("pretrain",),
    ),
    "finetuned_classifier": Stage(
        "ClassifierIOManager",
        data_digests=("bars.validation", "labels.train", "labels.validation"),
        settings=("finetune",),
        upstream=("pretrained_encoder",),
    ),
    "bootstrap_ci_report": Stage(
        "ReportIOManager",
        alone=("report/*.jinja",),
        data_digests=("bars.test", "labels.test", "labels.second pass", "study"),
        settings=("report", "splits"),
        upstream=("finetuned_classifier",),
    ),
    "registered_model": Stage(
        "JsonIOManager",
        roots=(
            "report/standings.py",  # the note of the version
            "report/verdict.py",
            "tracking/imported_promotion.py:contender",
            "tracking/logged_model.py:log_model",
            "tracking/promotion_log.py:apply_decision",
            "tracking/registry.py:register",
            "tracking/served_model.py:pinned_packages",
            "tracking/served_model.py:served_signature",
            "tracking/served_model.py:served_rolls",
        ),
        alone=("tracking/pyfunc.py",),  # each version holds a copy of it
        upstream=("bootstrap_ci_report",),
    ),
    "latest_expansions": Stage(
        "FrameIOManager",
        roots=("tracking/registry.py:load_version",),
        data_digests=("bars",),
        settings=("splits",),
        upstream=("labeled_expansions", "relativity_features", "champion"),
    ),
}
INTEGRITY_CHECKS: dict[str, tuple[str, ...]] = {
    "raw_nq_bars": ("bars_match_manifest", "bars_valid"),
    "labeled_expansions": ("labels_on_bars", "splits_sound", "no_leakage"),
    "relativity_features": ("non_zero_density", "feature_spread"),
    "densified_windows": ("no_window_straddles", "dense_at_each_position", "spread_at_each_position"),
    "pretrained_encoder": ("beats_imputation", "training_period_only"),
    "finetuned_classifier": ("no_collapse",),
    "bootstrap_ci_report": ("baselines_present",),
    "registered_model": (),
    "latest_expansions": (),
}
"""Checks that block; an asset is up to date only if its own have passed."""


def roots_of(asset: str) -> tuple[str, ...]:
    """Entry points of an asset's code: its module, its IO manager, and its `roots`."""
    stage = STAGES[asset]
    return f"assets/{asset}.py", f"{IO_MANAGERS}:{stage.kept_by}", *stage.roots
