"""Digests of a market's data: of all of it, and of the part that each split may read."""

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
    """Digests of a market's data; the names are listed at `read_data_digests`.

    Attributes:
        digests: By name.
        rows: Number of rows, by name.
        contents: Content digest of each asset that is built from this data alone.
    """

    model_config = ConfigDict(frozen=True)

    digests: dict[str, str]
    rows: dict[str, int]
    contents: dict[str, str] = {}


def read_data_digests(market: InstrumentData) -> DataDigests:
    """Digests of the market's data: of all of it, and of the part that each split may read.

    `bars`, `labels`: all files. `bars.<split>`: the rows up to the end of the split.
    `labels.<split>`: the split's labels. Bars or labels after a split do not change its digests.
    `labels.second pass`: the labels of the second pass. `study`: the last pretraining study on
    these bars and labels; empty if there is none. Rows are read only when a file has changed.
    """
    study = market.home.studies / market.name
    study_sha256 = file_sha256(study / STUDY_FILE) if (study / STUDY_FILE).is_file() else ""
    key = (
        str(market.store.root),
        market.bars_digest(),
        market.labels_digest(),
        repr(market.splits),
        study_sha256,
    )
    if key not in _known_sources:
        bars = market.bars()
        all_labels = market.labels()
        labels = split_labels(all_labels, bars, market.splits).frame
        second_pass = all_labels.loc[all_labels["pass"] == SECOND_PASS]
        by_split = digests_by_split(bars, labels, market)
        digests = {"bars": key[1], "labels": key[2], **by_split.digests}
        digests["labels.second pass"] = content_digest(second_pass)
        last_study = read_study(study)
        digests["study"] = study_sha256 if last_study is not None and fits(last_study, digests) else ""
        rows = {
            "bars": len(bars),
            "labels": len(labels),
            "labels.second pass": len(second_pass),
            **by_split.rows,
        }
        contents = {"raw_nq_bars": content_digest(bars), "labeled_expansions": content_digest(labels)}
        _known_sources[key] = DataDigests(digests=digests, rows=rows, contents=contents)
    return _known_sources[key]


_known_sources: dict[tuple[str, ...], DataDigests] = {}


def digests_by_split(bars: pd.DataFrame, labels: pd.DataFrame, market: InstrumentData) -> DataDigests:
    """Digests and row counts of each split: the bars it may read, and its labels."""
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
