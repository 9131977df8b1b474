"""All readers, and the recording of their counts."""

from moola_pipeline_tests.counts import record
from moola_pipeline_tests.fuzzing.bar_readers import BAR_READERS
from moola_pipeline_tests.fuzzing.harness import Reader, Tally
from moola_pipeline_tests.fuzzing.label_readers import LABEL_READERS
from moola_pipeline_tests.fuzzing.record_readers import RECORD_READERS
from moola_pipeline_tests.fuzzing.setting_readers import SETTING_READERS

READERS: dict[str, Reader] = {
    reader.name: reader for reader in (*BAR_READERS, *LABEL_READERS, *RECORD_READERS, *SETTING_READERS)
}


def record_tallies(suite: str, tallies: list[Tally]) -> None:
    """Record the counts of several readers as one suite."""
    record(
        suite,
        readers=len(tallies),
        inputs=sum(tally.cases for tally in tallies),
        accepted=sum(tally.accepted for tally in tallies),
        refused=sum(tally.refused for tally in tallies),
        crashes=sum(len(tally.crashes) for tally in tallies),
        seconds=sum(tally.seconds for tally in tallies),
    )
