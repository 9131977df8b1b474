"""Random bar files over zone, stamp, instrument, interval, unit and part: right ones and wrong ones.

`python -m moola_pipeline_tests.bars.random_files --files 5000` counts wrong acceptances, and lists refusals
of right files. A wrong file is one whose bars contradict how it is read, in the whole file or in one of its
sessions. What nothing in the bars shows is not drawn: a few hours of one night in another zone, say.
"""

import io
import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import pandas as pd
from hypothesis import strategies as st

from moola_pipeline.bars.instruments import INSTRUMENTS
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.sessions import session_of
from moola_pipeline.bars.vendor import read_vendor_file
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.errors import BadInput
from moola_pipeline_tests.bars.made_up_market import LEVELS, market, new_york_minutes, part, written

ZONES = (
    *("America/New_York", "UTC", "America/Chicago", "Etc/GMT+5", "America/Los_Angeles", "Europe/London"),
    *("Europe/Berlin", "Europe/Athens", "Asia/Tokyo", "Asia/Kolkata"),
)
WRONG = (
    *("zone", "zone of one session", "stamp", "stamp of one session", "symbol", "two instruments"),
    *("interval", "interval of one session", "repeated", "unit", "unit of one session", "trading day"),
)
PARTS: dict[str, tuple[int, int]] = {
    "whole": (0, 24 * 60),
    "day": (570, 960),
    "long day": (570, 975),
    "morning": (480, 720),
    "afternoon too": (540, 900),
}
"""Minutes of the New York day that a file holds."""
LAYOUTS = ("csv", "date and time", "semicolons", "counts", "offsets", "parquet", "json")


@dataclass(frozen=True)
class RandomFile:
    """A file: what it holds, how it is written, what the user says, and what is wrong with it.

    Attributes:
        first: First session.
        n_sessions: Sessions in it.
        part: Of each session, in PARTS.
        cut: Share of the last session that is there.
        traded: Share of minutes with a trade.
        zone: Of the written clock.
        late: Whether stamps are closes.
        wrong: None for a right file.
        other_zone: The zone that is stated, or that of one session, if the zone is wrong.
        scale: Of prices in another unit.
        step: Minutes of coarser bars.
    """

    seed: int
    first: date
    n_sessions: int
    part: str
    cut: float
    traded: float
    zone: str
    late: bool
    instrument: str
    layout: str
    wrong: str | None
    other_zone: str
    scale: int
    step: int


CHOICES: dict[str, tuple] = {
    "seed": tuple(range(2_000)),
    "first": tuple(date(2019, 6, 3) + timedelta(days=days) for days in range(0, 2_500, 3)),
    "n_sessions": tuple(range(1, 13)),
    "part": (*PARTS, "whole", "whole", "day"),
    "cut": (1.0, 1.0, 0.4, 0.7, 0.95),
    "traded": (1.0, 1.0, 1.0, 0.998, 0.9, 0.35),
    "zone": ZONES,
    "late": (False, True),
    "instrument": tuple(LEVELS),
    "layout": LAYOUTS,
    "wrong": (*[None] * len(WRONG), *WRONG),
    "other_zone": ZONES,
    "scale": (4, 10, 100),
    "step": (2, 5, 15, 60),
}
FILES = st.builds(RandomFile, **{name: st.sampled_from(values) for name, values in CHOICES.items()})


def drawn(rng: np.random.Generator) -> RandomFile:
    """A random file in which each choice is as likely as another; hypothesis prefers simple ones."""
    return RandomFile(**{name: values[int(rng.integers(len(values)))] for name, values in CHOICES.items()})


@dataclass(frozen=True)
class MadeFile:
    """Bytes, the options given, and the bars that are right; `shows` if the bars contradict the options."""

    name: str
    content: bytes
    options: VendorOptions
    bars: pd.DataFrame
    shows: bool


def made(file: RandomFile) -> MadeFile:
    """Write a random file."""
    rng = np.random.default_rng(file.seed)
    tick = INSTRUMENTS[file.instrument].tick_points
    last = file.first + timedelta(days=file.n_sessions * 7 // 5 + 3)
    bars = market(file.first, last, rng, file.instrument, tick)
    bounds = PARTS[file.part]
    bars = _first_sessions(part(bars, *bounds), file.n_sessions)
    bars = bars.iloc[: max(200, len(bars) - int((1 - file.cut) * (bounds[1] - bounds[0])))]
    bars = bars.loc[rng.random(len(bars)) < file.traded].reset_index(drop=True)
    stated, stamp = file.zone, "close" if file.late else "open"
    rows = written(bars, file.zone, int(file.late)).assign(symbol=file.instrument)
    sessions = session_of(pd.DatetimeIndex(bars["timestamp"])).to_numpy()
    one = sessions == rng.choice(np.unique(sessions))
    shows, evening = True, new_york_minutes(bars) >= 18 * 60
    if file.wrong == "zone":
        stated, shows = file.other_zone, _shows_zone(file, bars)
    elif file.wrong == "zone of one session":
        other = written(bars, file.other_zone, int(file.late))["timestamp"]
        shows = _shows_moved_session(file, rows["timestamp"], other, one)
        rows["timestamp"] = rows["timestamp"].where(~one, other)
    elif file.wrong == "stamp":
        stamp = "open" if file.late else "close"
        has_ends = file.part in ("whole", "day", "long day")
        shows = file.traded >= 0.998 and (has_ends or len(np.unique(sessions)) > 5)
    elif file.wrong == "stamp of one session":
        shift = pd.Timedelta(minutes=-1 if file.late else 1)
        rows["timestamp"] = rows["timestamp"].where(~one, rows["timestamp"] + shift)
        whole = one.sum() >= 0.99 * (bounds[1] - bounds[0] if file.part != "whole" else 1380)
        shows = file.part in ("whole", "day", "long day") and file.traded == 1 and whole and not one.all()
    elif file.wrong == "symbol":
        others = [name for name in INSTRUMENTS if name != file.instrument]
        rows["symbol"] = f"{rng.choice(others)}{rng.choice(['1!', '=F', 'Z4', '', ' 12-24'])}"
    elif file.wrong == "two instruments":
        name = str(rng.choice([name for name in LEVELS if name != file.instrument]))
        prices = {column: rows[column] * LEVELS[name] / LEVELS[file.instrument] for column in PRICE_COLUMNS}
        rounded = {column: (price / tick).round() * tick for column, price in prices.items()}
        for column, price in rounded.items():
            rows[column] = rows[column].where(~one, price)
        shows = not one.all()
    elif file.wrong in ("interval", "interval of one session"):
        kept = np.arange(len(rows)) % file.step == 0
        among = one if file.wrong == "interval of one session" else np.ones(len(rows), bool)
        rows = rows.loc[kept | ~among]
        shows = file.traded == 1 and among.sum() >= 390
    elif file.wrong == "repeated":
        source = np.arange(len(rows)) // file.step * file.step
        for column in PRICE_COLUMNS:
            rows[column] = rows[column].to_numpy()[source]
        shows = file.traded >= 0.9
    elif file.wrong in ("unit", "unit of one session"):
        among = one if file.wrong == "unit of one session" else np.ones(len(rows), bool)
        for column in PRICE_COLUMNS:
            rows[column] = rows[column].where(~among, rows[column] * file.scale)
        shows = file.wrong == "unit" or not one.all()
    elif file.wrong == "trading day":
        rows["timestamp"] += pd.to_timedelta(evening.astype(int), "D")
        shows = bool(evening.any() and (~evening).any() and np.unique(sessions).size > 2)
        shows &= file.part == "whole" and file.zone in ("America/New_York", "America/Chicago")
    if file.wrong != "symbol" and rng.random() < 0.6:
        rows = rows.drop(columns="symbol")
    content, options = _content(rows, file, stated)
    return MadeFile(
        f"bars.{'parquet' if file.layout == 'parquet' else 'txt'}",
        content,
        replace(options, stamp=stamp, instrument=file.instrument),
        bars,
        shows and file.wrong is not None,
    )


def outcome(file: RandomFile) -> str:
    """right: read as it is; refused; wrong: read otherwise; or unshown: wrong, but nothing shows it."""
    made_file = made(file)
    with TemporaryDirectory() as folder:
        path = Path(folder) / made_file.name
        path.write_bytes(made_file.content)
        try:
            read = read_vendor_file(path, made_file.options)
        except BadInput as refusal:
            return f"refused: {refusal}"
    columns = ["timestamp", *PRICE_COLUMNS]
    if read.frame[columns].reset_index(drop=True).equals(made_file.bars[columns]):
        return "right"
    return "wrong" if made_file.shows else "unshown"


def _first_sessions(bars: pd.DataFrame, n_sessions: int) -> pd.DataFrame:
    sessions = session_of(pd.DatetimeIndex(bars["timestamp"])).to_numpy()
    return bars.loc[np.isin(sessions, np.unique(sessions)[:n_sessions])].reset_index(drop=True)


def _shows_zone(file: RandomFile, bars: pd.DataFrame) -> bool:
    """Whether bars read in another zone lie where no bar can, or their opening at another hour."""
    local = written(bars, file.zone)["timestamp"]
    read = local.dt.tz_localize(file.other_zone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")
    if (read == bars["timestamp"]).all():
        return False
    days = len(np.unique(session_of(pd.DatetimeIndex(bars["timestamp"]))))
    if file.part == "whole":
        return days > 2 or file.cut > 0.9
    dense = file.traded >= 0.9
    return (
        dense and ((file.part != "morning" and file.part != "afternoon too") or days > 6) and len(bars) >= 380
    )


def _shows_moved_session(file: RandomFile, rows: Any, other: Any, one: np.ndarray) -> bool:
    whole = file.part != "whole" or one.sum() > 1200
    dense = file.traded >= 0.998
    sharp = file.part == "whole" or (dense and one.sum() >= 100 and file.cut == 1)
    return bool((rows != other).to_numpy()[one].all()) and not one.all() and whole and sharp


def _content(rows: pd.DataFrame, file: RandomFile, stated: str) -> tuple[bytes, VendorOptions]:
    naive = VendorOptions(timezone=stated)
    times = rows["timestamp"].dt
    if file.layout == "date and time":
        parted = rows.assign(Date=times.strftime("%Y.%m.%d"), Time=times.strftime("%H:%M"))
        return parted.drop(columns="timestamp").to_csv(index=False).encode(), naive
    if file.layout == "semicolons":
        return rows.to_csv(index=False, sep=";", decimal=",").encode(), naive
    if file.layout == "counts":
        zoned = times.tz_localize(stated, ambiguous="NaT", nonexistent="NaT")
        counts = rows.assign(timestamp=zoned.dt.tz_convert("UTC").astype("int64") // 1_000_000_000)
        return counts.loc[zoned.notna()].to_csv(index=False).encode(), VendorOptions()
    if file.layout == "offsets":
        zoned = times.tz_localize(stated, ambiguous="NaT", nonexistent="NaT")
        return rows.assign(timestamp=zoned).dropna().to_csv(index=False).encode(), VendorOptions()
    if file.layout == "parquet":
        sink = io.BytesIO()
        rows.to_parquet(sink, index=False)
        return sink.getvalue(), naive
    if file.layout == "json":
        records = rows.assign(timestamp=times.strftime("%Y-%m-%d %H:%M:%S")).astype(object)
        return json.dumps(records.to_dict("records")).encode(), naive
    return rows.to_csv(index=False).encode(), naive


def is_at_fault(file: RandomFile, came: str) -> bool:
    """True for a right file that is refused, and a wrong one that is read although its bars show it."""
    return came == "wrong" or (file.wrong is None and came != "right")


@click.command()
@click.option("--files", default=5_000, show_default=True)
@click.option("--seed", "start", default=18, show_default=True)
def main(files: int, start: int) -> None:
    """Draw random files, read them, and list what was read wrong or refused without need."""
    rng, counts = np.random.default_rng(start), Counter[str]()
    for _ in range(files):
        file = drawn(rng)
        came = outcome(file)
        counts[f"{file.wrong or 'right file'}: {came.partition(':')[0]}"] += 1
        if is_at_fault(file, came):
            click.echo(f"{came}\n  {file}")
    for name, count in sorted(counts.items()):
        click.echo(f"{count:6,} {name}")
    wrong = sum(count for name, count in counts.items() if name.endswith(": wrong"))
    right = sum(count for name, count in counts.items() if name.startswith("right file"))
    refused = counts["right file: refused"]
    click.echo(
        f"wrong acceptances: {wrong}; right files refused: {refused} of {right} ({refused / right:.2%})"
    )


if __name__ == "__main__":
    main()
