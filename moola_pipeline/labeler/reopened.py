"""Windows that a command opens for a reason: doubtful labels, disagreement, likeness, the model's marks."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from moola_pipeline.errors import BadInput
from moola_pipeline.labeler.chart_bars import ChartBars
from moola_pipeline.labeler.choosing import SplitRows, window_name
from moola_pipeline.labeler.marks import Annotating, LabelWindow, SpanMark, WindowMarks
from moola_pipeline.labels.annotators import LabelChoice, annotators_of, choose_labels
from moola_pipeline.labels.placement import place_labels, split_labels
from moola_pipeline.labels.schema import FIRST_PASS, NONE, REPLAY, TYPES
from moola_pipeline.labels.spans import LabeledWindows, labeled_windows
from moola_pipeline.labels.splits import SPLITS, SplitSettings
from moola_pipeline.windows.dense import scan_windows
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import BARS_BEFORE, CORE_FIRST, CORE_LAST, WINDOW_BARS

if TYPE_CHECKING:
    from moola_pipeline.models.expansion_model import ExpansionModel

REVIEW = "review"
N_LISTED = 20
REVIEWED_WINDOWS = 600
"""Newest windows in which the champion's marks are looked for: about thirty sessions."""
NEAR_MISS = 0.5
"""Share of the threshold from which a span that was not accepted is shown."""


@dataclass(frozen=True)
class LabeledBars:
    """Bars, labels and split dates of a home, for the lists.

    Attributes:
        table: BAR_COLUMNS.
        bars: The same as arrays.
        labels: LABEL_COLUMNS of all annotators and definitions.
        who: The annotator.
        settings: Fixed split dates.
        tick_points: Smallest price step, index points.
        numbers: Number of the judgment that holds, by its key.
    """

    table: pd.DataFrame
    bars: ChartBars
    labels: pd.DataFrame
    who: Annotating
    settings: SplitSettings
    tick_points: float
    numbers: Mapping[tuple, int]

    @property
    def own(self) -> pd.DataFrame:
        """The annotator's labels under the definition.

        Raises:
            BadInput: If there are none.
        """
        choice = LabelChoice(annotator=self.who.annotator, definition=self.who.definition)
        return choose_labels(self.labels, choice)[0]

    def train(self) -> LabeledWindows:
        """The annotator's training windows.

        Raises:
            BadInput: If they are too few for trees.
        """
        from moola_pipeline.label_choice.trees import MIN_EACH_TYPE, can_learn, type_counts

        train = labeled_windows(split_labels(self.own, self.table, self.settings).frame, SPLITS[0])
        if not can_learn(train):
            raise BadInput(
                f"Trees need at least {MIN_EACH_TYPE} labeled expansions of each type in training, got "
                f"{' and '.join(map(str, type_counts(train)))}. Label more windows first: moola label"
            )
        return train

    def market(self) -> MarketArrays:
        """Bars and features."""
        return MarketArrays.from_table(self.table, self.tick_points)


def session_windows(data: LabeledBars, day: datetime) -> list[LabelWindow]:
    """Windows whose bars 30-74 cover a trading day, in order.

    Raises:
        BadInput: If the day has no such windows.
    """
    bars, wanted = data.bars, np.datetime64(day.date(), "D")
    first, end = (int(np.searchsorted(bars.session, wanted, side=side)) for side in ("left", "right"))
    bar0 = scan_windows(bars.segment[first:end])[0] if first < end else np.empty(0, np.int64)
    if not len(bar0):
        raise BadInput(f"--session must be a trading day with bars, got {wanted}. List them: moola bars list")
    rows, note = SplitRows.of(data.table, data.settings), f"whole session {wanted}: used for training only"
    return [
        LabelWindow(
            f"{window_name(data.who, bars, row)}-replay",
            bars.stamp(row),
            REPLAY,
            split=rows.split_of(row),
            note=note,
            visit="session",
        )
        for row in (bar0 + first).tolist()
    ]


def doubtful_windows(data: LabeledBars) -> list[LabelWindow]:
    """The annotator's windows whose labels trees contradict, the most doubtful first.

    Raises:
        BadInput: If the labels are too few, or none is contradicted.
    """
    from moola_pipeline.label_choice.contradictions import CLASSES, NOTHING, contradicted_labels, out_of_fold

    train = data.train()
    try:
        answers = out_of_fold(data.market(), train)
    except ValueError as fault:
        raise BadInput(
            f"The training labels are too few to be divided: {fault}. Label more windows."
        ) from None
    ranking = contradicted_labels(answers.given, answers.probability)
    listed = []
    for row in ranking.order.tolist():
        suggested = int(ranking.suggested[row])
        if suggested == answers.given[row]:
            continue
        window, start, end = (int(getattr(answers.spans, name)[row]) for name in ("window", "start", "end"))
        marks = [] if suggested == NOTHING else [_span(start, end, CLASSES[suggested])]
        note = f"bars {start}–{end}: {CLASSES[answers.given[row]]}; trees suggest {CLASSES[suggested]}"
        said = (("trees", WindowMarks(spans=tuple(marks))),)
        listed.append((str(train.window_id[window]), note, said))
    return _reopened(data, listed, "doubtful", shows_model=True)


def disagreed_windows(data: LabeledBars) -> list[LabelWindow]:
    """Windows in which the annotator and another one differ most.

    Raises:
        BadInput: If nobody else judged the same windows, or all agree.
    """
    from moola_pipeline.evaluation.agreement import measure_agreement

    own, listed = data.own, []
    under = data.labels.loc[data.labels["definition"] == data.who.definition]
    for name in sorted({*annotators_of(under)} - {data.who.annotator}):
        theirs = under.loc[annotators_of(under) == name]
        differing = measure_agreement(own, theirs, data.table, np.random.default_rng(0)).differing
        for window, n in differing.itertuples(index=False):
            note = f"{name} judged it too: {n} differences"
            listed.append((n, (window, note, ((name, _marks_of_rows(theirs, window)),))))
    listed.sort(key=lambda one: -one[0])
    return _reopened(data, [one for _, one in listed], "disagree", shows_model=False)


def alike_windows(data: LabeledBars, window: str) -> list[LabelWindow]:
    """Unlabeled training windows whose expansions are measured most like that of a labeled one.

    Raises:
        BadInput: If the window has no expansion of the annotator, or the labels are too few.
    """
    from moola_pipeline.label_choice.alike import measure_all, nearest_windows
    from moola_pipeline.training.proposer_fit import fit_proposer
    from moola_pipeline.training.settings import FinetuneSettings

    train, bars = data.train(), data.bars
    chosen = train.select(train.window_id == window)
    if not len(chosen.spans.window):
        raise BadInput(
            f"--alike must name a training window in which {data.who.annotator} marked an expansion, got "
            f"{window}. List them: moola labels history"
        )
    market = data.market()
    proposer = fit_proposer(market.measure_spans(train.bar0), train.spans, FinetuneSettings().proposal_beta)
    found = measure_all(market, proposer)
    spans = chosen.spans.pointed().select(np.array([0]))
    wanted = market.measure_inputs(chosen.bar0, spans)[0]
    place = found.bar0[found.spans.window]
    rows, labeled = SplitRows.of(data.table, data.settings), _labeled_rows(data)
    nearest = nearest_windows(found.numbers, place, wanted, int(chosen.bar0[0]), n=20 * N_LISTED)
    windows = []
    for span, distance in zip(nearest.candidate.tolist(), nearest.distance.tolist(), strict=True):
        bar0 = int(place[span])
        if rows.split_of(bar0) != SPLITS[0] or np.abs(labeled - bar0).min(initial=WINDOW_BARS) < WINDOW_BARS:
            continue
        bounds = f"{found.spans.start[span]}–{found.spans.end[span]}"
        note = f"bars {bounds} are like those of {window} (distance {distance:.2f})"
        name = window_name(data.who, bars, bar0)
        windows.append(LabelWindow(name, bars.stamp(bar0), "alike", note=note, visit="alike"))
    if not windows:
        raise BadInput(
            "--alike must find unlabeled training windows, but none is left. Add bars, or draw windows."
        )
    return windows[:N_LISTED]


def reviewed_windows(data: LabeledBars, model: "ExpansionModel") -> list[LabelWindow]:
    """The newest unlabeled windows in which a model marks expansions, or nearly does; its marks are proposed.

    Raises:
        BadInput: If there are none.
    """
    bars = data.bars
    bar0, _ = scan_windows(bars.segment)
    first = int(bars.segment.searchsorted(bars.segment[bar0[-REVIEWED_WINDOWS:][0]])) if len(bar0) else 0
    bar0 = bar0[bar0 - BARS_BEFORE >= first]
    labeled = _labeled_rows(data)
    free = np.array([np.abs(labeled - row).min(initial=WINDOW_BARS) >= WINDOW_BARS for row in bar0], bool)
    bar0 = bar0[free] if len(bar0) else bar0
    market = MarketArrays.from_table(data.table.iloc[first:], data.tick_points)
    rows, windows = SplitRows.of(data.table, data.settings), []
    events = model_events(model, market, bar0 - first).to_dict("records")
    for window, found in groupby(events, key=lambda event: event["window"]):
        accepted, near = [], []
        for event in found:
            mark = _span(event["start"], event["end"], TYPES[event["type"]])
            (accepted if event["accepted"] else near).append((event["probability"], mark))
        row = int(bar0[window])
        missed = ", ".join(f"{one.start}–{one.end} ({p:.0%})" for p, one in near)
        windows.append(
            LabelWindow(
                window_name(data.who, bars, row),
                bars.stamp(row),
                REVIEW,
                split=rows.split_of(row),
                before=WindowMarks(spans=_apart(accepted)),
                note="The model's marks: keep, move, retype or delete each."
                + (f" Nearly marked: {missed}" if near else ""),
                said=(("nearly", WindowMarks(spans=_apart(near))),) if near else (),
                visit=REVIEW,
                shows_model=True,
            )
        )
    if not windows:
        raise BadInput(
            "The champion must mark something in unlabeled bars, but it marks nothing. Add newer bars."
        )
    return windows[::-1]


def model_events(model: "ExpansionModel", market: MarketArrays, bar0: np.ndarray) -> pd.DataFrame:
    """What a model finds in the judged bars of windows, near misses too: `find_events` with `accepted`."""
    from moola_pipeline.inference.hindsight import find_events

    limit = model.thresholds.expansion_threshold
    events = find_events(model, market, bar0, least_probability=limit * NEAR_MISS)
    events = events.loc[events["start"].between(CORE_FIRST, CORE_LAST)]
    return events.assign(accepted=events["probability"] >= limit)


def model_spans(data: LabeledBars, model: "ExpansionModel", bar0: int) -> list[SpanMark]:
    """What a model marks in the window at a row; it reads nothing later."""
    first, end = int(data.bars.segment.searchsorted(data.bars.segment[bar0])), bar0 + WINDOW_BARS
    market = MarketArrays.from_table(data.table.iloc[first:end], data.tick_points)
    events = model_events(model, market, np.array([bar0 - first])).query("accepted")
    return [_span(one["start"], one["end"], TYPES[one["type"]]) for one in events.to_dict("records")]


def _reopened(
    data: LabeledBars, listed: Iterable[tuple[str, str, tuple]], visit: str, shows_model: bool
) -> list[LabelWindow]:
    """Windows to judge again, each once, with the annotator's marks as they are registered."""
    frame = place_labels(data.own, data.table).frame
    bar0 = dict(zip(frame["window_id"], frame["bar0"], strict=True))
    rows, windows = SplitRows.of(data.table, data.settings), {}
    for window, note, said in listed:
        if window in bar0 and window not in windows:
            row = int(bar0[window])
            key = (window, FIRST_PASS, data.who.annotator, data.who.definition)
            name = f"{visit}-{data.numbers.get(key, 0)}"  # judged otherwise since: another visit
            before = _marks_of_rows(data.own, window)
            how = (REVIEW, FIRST_PASS, rows.split_of(row), before, note, said, name, shows_model)
            windows[window] = LabelWindow(window, data.bars.stamp(row), *how)
    if not windows:
        raise BadInput(
            f"--{visit} must find windows to look at again, but it finds none. Label more first: moola label"
        )
    return [*windows.values()][:N_LISTED]


def _marks_of_rows(labels: pd.DataFrame, window: str) -> WindowMarks:
    """The marks of one window in label rows, of the first pass."""
    rows = labels.loc[(labels["window_id"] == window) & (labels["pass"] == FIRST_PASS)]
    spans = [
        _span(row["expansion_start"], row["expansion_end"], row["label"])
        for row in rows.to_dict("records")
        if row["label"] != NONE and CORE_FIRST <= row["expansion_start"] <= CORE_LAST
    ]
    return WindowMarks(spans=tuple(spans), verdict=None if spans else "nothing")


def _span(start: int, end: int, kind: str) -> SpanMark:
    return SpanMark.model_validate(
        {"start": int(start), "end": int(end), "type": None if kind == NONE else kind}
    )


def _apart(found: list[tuple[float, SpanMark]]) -> tuple[SpanMark, ...]:
    """The marks in order of time; of two that overlap the more probable one."""
    kept: list[SpanMark] = []
    for _, mark in sorted(found, key=lambda one: -one[0]):
        if all(mark.start > other.end or mark.end < other.start for other in kept):
            kept.append(mark)
    return tuple(sorted(kept, key=lambda mark: mark.start))


def _labeled_rows(data: LabeledBars) -> np.ndarray:
    starts = data.labels["window_start"].astype("int64").to_numpy()
    return np.unique(np.searchsorted(data.bars.opened, starts))


LISTS: dict[str, Callable[[LabeledBars], list[LabelWindow]]] = {
    "doubtful": doubtful_windows,
    "disagree": disagreed_windows,
}
"""Lists by the option that asks for them."""
