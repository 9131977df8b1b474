"""Commands that a user still has to run before `moola run` can train on registered bars."""

from moola_pipeline.bars.store import BarStore, read_manifest, registered_store
from moola_pipeline.labels.registry import LABELS_NAME
from moola_pipeline.storage.home import Home

ADD_BARS = {"command": "moola bars add FILE", "why": "no bars are registered"}
ADD_ROLLS = {
    "command": "moola bars rolls add FILE",
    "why": "no contract rolls are known: a roll would look like a price move",
}
ADD_LABELS = {"command": "moola labels add FILE", "why": "no labels are registered"}
RUN = {"command": "moola run", "why": "train on the bars and report"}


def next_steps(home: Home) -> list[dict[str, str]]:
    """The next commands in order, each with its reason.

    Raises:
        IntegrityError: If the manifest is broken.
    """
    store = registered_store(home)
    steps = [ADD_ROLLS] if lacks_rolls(store) else []
    if not read_manifest(store).files:
        steps = [ADD_BARS]
    if not (store.labels / LABELS_NAME).exists():
        steps.append(ADD_LABELS)
    return steps or [RUN]


def lacks_rolls(store: BarStore) -> bool:
    """True if a registered file has no contract column and no rolls are registered."""
    lacks_contracts = any("contract" not in entry.columns for entry in read_manifest(store).files)
    return lacks_contracts and not store.rolls.exists()
