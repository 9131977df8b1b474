"""How much the pretraining study does: which objectives, at how many labels, how often."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from moola_pipeline.training.settings import FinetuneSettings, ObjectiveName, PretrainSettings

ArmName = Literal["scratch", "noisy_student"] | ObjectiveName
"""How an encoder came to be before the labels: from random weights, taught, or by an objective."""
OBJECTIVE_NAMES: tuple[ObjectiveName, ...] = ("hidden_blocks", "span_structure", "next_leg", "two_views")


class StudySettings(BaseModel):
    """What the pretraining study compares."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objectives: tuple[ObjectiveName, ...] = Field(default=OBJECTIVE_NAMES, min_length=1)
    counts: tuple[int, ...] = Field(
        default=(22, 44, 87, 174), min_length=1, description="labeled expansions, rising"
    )
    seeds: tuple[int, ...] = Field(default=(0, 1, 2, 3, 4), min_length=1)
    taught_seeds: tuple[int, ...] = Field(
        default=(0, 1), description="of the taught network from each encoder, all labels; empty: none"
    )
    encoder_seeds: int = Field(
        default=2, ge=1, description="encoders of each objective; the seeds take turns with them"
    )
    label_steps: int = Field(default=160, ge=1, description="steps on labels, the same at every count")
    frozen_share: float = Field(default=0.2, ge=0, le=1, description="of these before the encoder learns too")
    probe_strength: float = Field(default=0.1, gt=0, description="C of the linear probe")
    resamples: int = Field(default=2000, ge=100, description="bootstrap resamples of sessions")
    pretrain: PretrainSettings = PretrainSettings(max_windows=6000, epochs=5)
    finetune: FinetuneSettings = FinetuneSettings(taught_windows=2000)
