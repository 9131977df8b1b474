"""How the encoder is pretrained and the classifier fine-tuned: every choice, with its bounds."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from moola_pipeline.windows.window_geometry import PRETRAIN_STRIDE

RECOMPUTED = "compute encoder states again for the gradient, to save memory"
ObjectiveName = Literal["hidden_blocks", "span_structure", "next_leg", "contrastive"]


class PretrainSettings(BaseModel):
    """How the encoder is pretrained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: ObjectiveName = Field(default="hidden_blocks", description="what the encoder learns to answer")
    seed: int = Field(default=0, ge=0, description="of every random choice")
    hidden_units: int = Field(default=48, ge=4, le=128, description="LSTM units in each direction")
    max_windows: int | None = Field(default=None, ge=64, description="drawn from the tiling; all if null")
    stride: int = Field(default=PRETRAIN_STRIDE, ge=1, description="bars from one window to the next")
    epochs: int = Field(default=15, ge=1)
    batch_windows: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    dropout: float = Field(default=0.1, ge=0, lt=1, description="of encoder states, before the decoder")
    hidden_ratio: float = Field(default=0.4, gt=0, lt=0.8, description="share of each window's bars hidden")
    block_bars: int = Field(default=10, ge=1, le=40, description="length of a hidden block")
    validation_share: float = Field(
        default=0.1, gt=0, lt=0.5, description="last part of the training period, by windows"
    )
    mirror: bool = Field(default=True, description="turn half of the windows upside down")
    gradient_checkpointing: bool = Field(default=False, description=RECOMPUTED)


class FinetuneSettings(BaseModel):
    """How the classifier is fine-tuned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: tuple[int, ...] = Field(default=(0, 1, 2, 3, 4), min_length=1, description="one training each")
    head_units: int = Field(default=64, ge=2, le=64)
    distill_windows: int = Field(
        default=8_000, ge=0, description="unlabeled training windows that teachers answer for; 0: none"
    )
    distill_live_windows: int = Field(
        default=6_000, ge=0, description="live windows of the training period, taught beside them; 0: none"
    )
    distill_epochs: int = Field(default=4, ge=1, description="epochs on the teachers' answers")
    distill_batch_windows: int = Field(default=64, ge=2)
    distill_learning_rate: float = Field(default=2e-3, gt=0, description="highest rate of that stage")
    distill_dropout: float = Field(default=0.1, ge=0, lt=1, description="of the heads in that stage")
    distill_freeze: bool = Field(
        default=True, description="labels no longer change what the lessons taught: encoder, judge, type head"
    )
    dropout: float = Field(default=0.5, ge=0, lt=1, description="of the heads on labels")
    epochs: int = Field(default=40, ge=0, description="epochs on the labels")
    patience: int = Field(default=12, ge=1, description="epochs without a better validation loss")
    batch_windows: int = Field(default=32, ge=2, le=64)
    learning_rate: float = Field(default=1e-3, gt=0, description="of the heads")
    encoder_learning_rate: float = Field(default=3e-4, gt=0, description="of the encoder, once unfrozen")
    weight_decay: float = Field(default=1e-2, ge=0)
    frozen_epochs: int = Field(default=4, ge=0, description="epochs before the encoder learns too")
    jitter_atr: float = Field(default=0.03, ge=0, description="noise on prices, ATR")
    warp: float = Field(default=0.2, ge=0, description="spread of the magnitude warp")
    balanced: bool = Field(default=True, description="draw both types and empty windows alike")
    prior_bias: bool = Field(default=True, description="start each head at the share of positive targets")
    uncertainty_weights: bool = Field(
        default=True, description="weigh the tasks of the labels by learned uncertainty; else all alike"
    )
    center_length: bool = Field(
        default=True, description="the pointer's loss on center and length; else on ends"
    )
    expansion_proxy: bool = Field(default=True, description="whether the network sees that feature")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="share of every answer made even")
    average_decay: float = Field(
        default=0.0, ge=0, lt=1, description="of a moving average of the weights, judged and kept; 0: none"
    )
    distill_frozen_epochs: int = Field(
        default=0, ge=0, description="epochs on lessons before the encoder learns too"
    )
    gradient_checkpointing: bool = Field(default=False, description=RECOMPUTED)
    proposal_beta: float = Field(default=4.0, gt=0, description="weight of recall in the proposing rule")
    min_class_share: float = Field(
        default=0.05, ge=0, le=0.5, description="least share of each type among validation answers"
    )
    collapse_epochs: int = Field(
        default=8, ge=1, description="epochs in a row that may miss that share before training stops"
    )

    @property
    def all_epochs(self) -> int:
        """Epochs of one seed at most, those on lessons included."""
        return self.epochs + (self.distill_epochs if self.distill_windows else 0)
