"""A market's data as fingerprints see it: whole, and the part that each split may see."""

import pandas as pd
from pydantic import BaseModel, ConfigDict

from moola_pipeline.bars.schema import RAW_COLUMNS, content_digest
from moola_pipeline.instrument_data import InstrumentData
from moola_pipeline.labels.placement import split_labels
from moola_pipeline.labels.schema import SECOND_PASS
from moola_pipeline.labels.splits import SPLITS, resolve_dates, training_rows_end
from moola_pipeline.report.study_results import STUDY_FILE, fits, read_study
from moola_pipeline.storage.atomic_write import file_sha256
from moola_pipeline.windows.window_geometry import WINDOW_BARS


class DataDigests(BaseModel):
    """A market's data, as `read_data_digests` names it.

    Attributes:
        digests: By name.
        rows: Numbers of rows, by name.
        contents: Digest of the content of each asset that is made of this data alone.
    """

    model_config = ConfigDict(frozen=True)

    digests: dict[str, str]
    rows: dict[str, int]
    contents: dict[str, str] = {}


def read_data_digests(market: InstrumentData) -> DataDigests:
    """The market's data as fingerprints see it: whole, and the part that each split may see.

    `bars` and `labels` are those of the files; `bars.train`, `bars.validation`, `bars.test` those
    of the rows up to the end of a split, and `labels.<split>` those of its labels, so that bars
    or labels beyond a split leave it as it was; `labels.second pass` those of what the annotator
    labeled again, and `study` that of the last study of these very bars and labels, or empty. Rows
    are read only when a file has changed.
    """
    study = market.home.studies / market.name
    kept = file_sha256(study / STUDY_FILE) if (study / STUDY_FILE).is_file() else ""
    key = (str(market.store.root), market.bars_digest(), market.labels_digest(), repr(market.splits), kept)
    if key not in _known_sources:
        bars = market.bars()
        every_pass = market.labels()
        labels = split_labels(every_pass, bars, market.splits).frame
        again = every_pass.loc[every_pass["pass"] == SECOND_PASS]
        by_split = digests_by_split(bars, labels, market)
        digests = {"bars": key[1], "labels": key[2], **by_split.digests}
        digests["labels.second pass"] = content_digest(again)
        held = read_study(study)
        digests["study"] = kept if held is not None and fits(held, digests) else ""
        rows = {"bars": len(bars), "labels": len(labels), "labels.second pass": len(again), **by_split.rows}
        contents = {"raw_nq_bars": content_digest(bars), "labeled_expansions": content_digest(labels)}
        _known_sources[key] = DataDigests(digests=digests, rows=rows, contents=contents)
    return _known_sources[key]


_known_sources: dict[tuple[str, ...], DataDigests] = {}


def digests_by_split(bars: pd.DataFrame, labels: pd.DataFrame, market: InstrumentData) -> DataDigests:
    """The bars that training or the windows of a split may read, and its labels."""
    columns = (*RAW_COLUMNS, "segment")
    digests, rows = {}, {}
    for split in SPLITS:
        chosen = labels.loc[labels["split"] == split]
        if split == SPLITS[0]:
            end = training_rows_end(bars, resolve_dates(market.splits, labels))
        else:
            end = int(chosen["bar0"].max()) + WINDOW_BARS if len(chosen) else 0
        digests[f"bars.{split}"] = content_digest(bars.iloc[:end], columns)
        digests[f"labels.{split}"] = content_digest(chosen.drop(columns=["bar0"]))
        rows |= {f"bars.{split}": end, f"labels.{split}": len(chosen)}
    return DataDigests(digests=digests, rows=rows)
