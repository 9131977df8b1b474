"""Profiles: named settings of every stage."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from moola_pipeline.bars.simulated import FULL_SETTINGS, SMOKE_SETTINGS, SimulationSettings
from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.training.settings import FinetuneSettings, PretrainSettings

ProfileName = Literal["auto", "smoke", "demo", "full", "study"]


class ReportSettings(BaseModel):
    """How much the report draws and resamples."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0, description="seed of the resamples and of shuffled answers")
    resamples: int = Field(default=2000, ge=100, description="bootstrap resamples of sessions")
    gallery_windows: int = Field(default=12, ge=0, description="test windows drawn as candles")
    live_sessions: int | None = Field(
        default=None, ge=1, description="sessions of test windows to replay bar by bar; null: all"
    )
    target_f1: float = Field(default=0.75, ge=0, le=1, description="target of type F1")
    target_low: float = Field(default=0.65, ge=0, le=1, description="its interval must lie above this")


class StudySettings(BaseModel):
    """What the pretraining study compares."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    counts: tuple[int, ...] = Field(
        default=(22, 44, 87, 174), min_length=1, description="numbers of labeled expansions, increasing"
    )
    seeds: tuple[int, ...] = Field(default=(0, 1, 2, 3, 4), min_length=1)
    distill_seeds: tuple[int, ...] = Field(
        default=(0, 1),
        description="seeds of the distilled network from the pretrained encoder, all labels; empty: none",
    )
    encoder_seeds: int = Field(
        default=2, ge=1, description="pretrained encoders; the seeds alternate between them"
    )
    label_steps: int = Field(default=160, ge=1, description="training steps on labels, equal for all counts")
    frozen_share: float = Field(
        default=0.2, ge=0, le=1, description="share of these steps with a frozen encoder"
    )
    probe_strength: float = Field(default=0.1, gt=0, description="C of the linear probe")
    resamples: int = Field(default=2000, ge=100, description="bootstrap resamples of sessions")
    pretrain: PretrainSettings = PretrainSettings(max_windows=6000, epochs=5)
    finetune: FinetuneSettings = FinetuneSettings(distill_windows=2000)


class Profile(BaseModel):
    """The settings of every stage under one name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    simulation: SimulationSettings = FULL_SETTINGS
    simulated_splits: SplitSettings = SplitSettings()
    splits: SplitSettings = SplitSettings(proposed=True)
    pretrain: PretrainSettings = PretrainSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    report: ReportSettings = ReportSettings()
    study: StudySettings = StudySettings()


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="smoke",
            simulation=SMOKE_SETTINGS,
            simulated_splits=SplitSettings(
                train_end=date(2025, 5, 31), validation_end=date(2025, 6, 15), test_end=date(2025, 6, 30)
            ),
            pretrain=PretrainSettings(epochs=4, hidden_units=32, batch_windows=8, learning_rate=3e-3),
            finetune=FinetuneSettings(
                seeds=(0,),
                scratch_seeds=0,
                head_units=32,
                distill_windows=400,
                distill_live_windows=300,
                distill_epochs=4,
                distill_batch_windows=16,
                teacher_trees=25,
                epochs=8,
                frozen_epochs=1,
                patience=8,
                batch_windows=8,
                learning_rate=3e-3,
            ),
            report=ReportSettings(resamples=500, gallery_windows=4, live_sessions=2),
        ),
        Profile(
            name="demo",
            pretrain=PretrainSettings(max_windows=2500, epochs=3),
            finetune=FinetuneSettings(
                seeds=(0,),
                scratch_seeds=0,
                distill_windows=2000,
                distill_live_windows=1500,
            ),
            report=ReportSettings(live_sessions=10),
        ),
        Profile(name="full"),
        Profile(name="study"),
    )
}
