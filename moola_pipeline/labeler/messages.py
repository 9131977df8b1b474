"""Messages of the page to the server, each validated before it is acted on."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from moola_pipeline.labeler.marks import Strict, WindowMarks

MAX_MESSAGE_BYTES = 128_000
MAX_SECONDS = 24 * 3600.0
TabName = Annotated[str, Field(min_length=8, max_length=40)]


class OpenTab(Strict):
    """A tab wants to work, or to take over."""

    kind: Literal["open"]
    tab: TabName
    take_over: bool = False


class TabBeat(Strict):
    """A tab is still there; or is about to close."""

    kind: Literal["beat"]
    tab: TabName
    closing: bool = False


class PageMessage(Strict):
    """A message about the window on the page, from the tab that works.

    Attributes:
        revision: Number of actions that the tab knows of.
        window: Name of the window that it shows; None at the end.
    """

    tab: TabName
    revision: int = Field(ge=0)
    window: str | None = Field(default=None, max_length=200)


class MarkMessage(PageMessage):
    """Other marks."""

    kind: Literal["mark"]
    marks: WindowMarks


class SaveMessage(PageMessage):
    """Save the window and go on."""

    kind: Literal["save"]
    seconds: float = Field(ge=0, le=MAX_SECONDS)
    context: tuple[Literal["5-minute", "15-minute"], ...] = Field(max_length=2)


class StepMessage(PageMessage):
    """Undo, redo, or go back to the window before."""

    kind: Literal["undo", "redo", "back", "model"]


class DefineMessage(PageMessage):
    """A new text of the definition."""

    kind: Literal["define"]
    text: str = Field(max_length=100_000)


class RunMessage(PageMessage):
    """Start `moola run`."""

    kind: Literal["run"]


Message = Annotated[
    OpenTab | TabBeat | MarkMessage | SaveMessage | StepMessage | DefineMessage | RunMessage,
    Field(discriminator="kind"),
]
MESSAGES: TypeAdapter[Any] = TypeAdapter(Message)
