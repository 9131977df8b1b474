"""What passes between assets that is neither a frame nor a table."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moola_pipeline.models.encoder import Encoder
    from moola_pipeline.models.expansion_model import Annotator
    from moola_pipeline.report.data import ReportData


@dataclass(frozen=True)
class PretrainedEncoder:
    """An encoder and the facts of its making: settings, errors, history, dates seen, digests."""

    encoder: "Encoder"
    facts: dict[str, Any]


@dataclass(frozen=True)
class TrainedClassifiers:
    """One annotator a training seed.

    Attributes:
        annotators: By seed.
        facts: seeds, served (the seed with the lowest validation loss), histories, settings,
            dates seen, digests.
    """

    annotators: "dict[int, Annotator]"
    facts: dict[str, Any]

    @property
    def served(self) -> "Annotator":
        """The annotator that is registered."""
        return self.annotators[self.facts["served"]]


@dataclass(frozen=True)
class WrittenReport:
    """The numbers of a report and the page that shows them."""

    data: "ReportData"
    page: str
