"""Settings of pretraining and fine-tuning, with their bounds."""

from pydantic import BaseModel, ConfigDict, Field

from moola_pipeline.windows.window_geometry import PRETRAIN_STRIDE

TEACHER_TREES = 200
RECOMPUTED = "recompute encoder states in the backward pass, to save memory"


class PretrainSettings(BaseModel):
    """Settings of pretraining."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0, description="seed of every random choice")
    hidden_units: int = Field(default=48, ge=4, le=128, description="LSTM units in each direction")
    max_windows: int | None = Field(
        default=None, ge=64, description="windows drawn from the tiling; null: all"
    )
    stride: int = Field(default=PRETRAIN_STRIDE, ge=1, description="bars from one window to the next")
    epochs: int = Field(default=5, ge=1)
    batch_windows: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="dropout of encoder states before the decoder"
    )
    hidden_ratio: float = Field(default=0.4, gt=0, lt=0.8, description="share of each window's bars hidden")
    block_bars: int = Field(default=10, ge=1, le=40, description="length of a hidden block, bars")
    validation_share: float = Field(
        default=0.1, gt=0, lt=0.5, description="share of windows, the last of the training period, held out"
    )
    mirror: bool = Field(default=True, description="mirror half of the windows (upside down)")
    gradient_checkpointing: bool = Field(default=False, description=RECOMPUTED)


class FinetuneSettings(BaseModel):
    """Settings of fine-tuning."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: tuple[int, ...] = Field(
        default=(0, 1, 2, 3, 4), min_length=1, description="training seeds, one model each"
    )
    scratch_seeds: int = Field(
        default=1, ge=0, description="seeds that also train the same network from scratch; 0: none"
    )
    head_units: int = Field(default=48, ge=2, le=64)
    distill_windows: int = Field(
        default=8_000, ge=0, description="unlabeled training windows with pseudo-labels; 0: no distillation"
    )
    distill_live_windows: int = Field(
        default=6_000, ge=0, description="live training windows with pseudo-labels; 0: no live mode"
    )
    distill_epochs: int = Field(default=4, ge=1, description="epochs on pseudo-labels")
    distill_batch_windows: int = Field(default=64, ge=2)
    distill_learning_rate: float = Field(default=2e-3, gt=0, description="peak learning rate of distillation")
    distill_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="dropout of the heads in distillation"
    )
    teacher_trees: int = Field(
        default=TEACHER_TREES, ge=2, description="trees of each forest that teaches the type"
    )
    distill_freeze: bool = Field(
        default=True, description="freeze encoder, judge head and type head after distillation"
    )
    dropout: float = Field(default=0.5, ge=0, lt=1, description="dropout of the heads on labels")
    epochs: int = Field(default=40, ge=0, description="epochs on labels")
    patience: int = Field(default=12, ge=1, description="epochs without a lower validation loss")
    batch_windows: int = Field(default=32, ge=2, le=64)
    learning_rate: float = Field(default=1e-3, gt=0, description="learning rate of the heads")
    encoder_learning_rate: float = Field(
        default=3e-4, gt=0, description="learning rate of the encoder, once unfrozen"
    )
    weight_decay: float = Field(default=1e-2, ge=0)
    frozen_epochs: int = Field(default=4, ge=0, description="epochs on labels with a frozen encoder")
    jitter_atr: float = Field(
        default=0.03, ge=0, description="standard deviation of the noise on prices, ATR"
    )
    warp: float = Field(default=0.2, ge=0, description="standard deviation of the magnitude warp")
    balanced: bool = Field(default=True, description="draw both types and empty windows equally often")
    prior_bias: bool = Field(
        default=True, description="start each head at its prior: the share of positive targets"
    )
    uncertainty_weights: bool = Field(
        default=True, description="weigh the tasks by learned uncertainty; false: equal weights"
    )
    center_length: bool = Field(
        default=True, description="pointer loss on center and length; false: on both ends"
    )
    expansion_proxy: bool = Field(default=True, description="give the network this feature")
    measured_numbers: bool = Field(
        default=True, description="give the heads the measured numbers of a span; false: encoder states only"
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="share of each target replaced by 0.5"
    )
    average_decay: float = Field(
        default=0.0, ge=0, lt=1, description="decay of the moving average of the weights; 0: no averaging"
    )
    distill_frozen_epochs: int = Field(
        default=0, ge=0, description="epochs on pseudo-labels with a frozen encoder"
    )
    gradient_checkpointing: bool = Field(default=False, description=RECOMPUTED)
    proposal_beta: float = Field(default=4.0, gt=0, description="beta of the F-beta that fits the proposer")
    min_class_share: float = Field(
        default=0.05, ge=0, le=0.5, description="least share of each type among validation predictions"
    )
    collapse_epochs: int = Field(
        default=8, ge=1, description="collapsed epochs in a row that stop the training"
    )

    @property
    def all_epochs(self) -> int:
        """Most epochs of one seed, distillation included."""
        return self.epochs + (self.distill_epochs if self.distill_windows else 0)
