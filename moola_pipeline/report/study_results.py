"""Results of the last pretraining study: the stored table, its text, and its learning curve."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from moola_pipeline.report.data import LearningPoint, Score, Scores
from moola_pipeline.storage.checksums import read_checksummed

FORMAT = 1
MARGIN = 0.02
"""Differences up to this count as equal."""
STUDY_FILE = "study.json"
PRETRAINED, NOISY_STUDENT = "hidden_blocks", "noisy_student"
"""The noisy student is not pretrained: random encoder weights, distilled from teachers of the same labels."""
COLUMNS = {
    "probe_type_f1": "probe F1",
    "probe_log_loss": "probe loss",
    "type_f1_macro": "type F1",
    "event_f1_macro": "event F1",
}
_WIDTH = 22


class _StudyPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StudyRow(_StudyPart):
    """One arm at one number of labels.

    Attributes:
        arm: How the encoder was made.
        distilled: Whether the network was distilled from teachers before fine-tuning.
        count: Requested number of labeled expansions.
        seeds: Training seeds; scores are their means.
        scores: On validation windows, COLUMNS.
        minus_scratch: Scores minus those of the network from scratch at this count, same seeds,
            paired; for a pretrained and distilled network, minus those of the noisy student.
        minus_scratch_at_most: Type and event F1 minus those from scratch at the largest count.
    """

    arm: str
    distilled: bool
    count: int
    seeds: list[int]
    scores: Scores
    minus_scratch: Scores = {}
    minus_scratch_at_most: Scores = {}

    @property
    def in_product(self) -> bool:
        """Whether the network is pretrained and distilled, as in the product."""
        return self.distilled and self.arm != NOISY_STUDENT


class StudyResults(_StudyPart):
    """A study of one market.

    Attributes:
        digests: Of its bars and labels; a report on other data does not show the study.
        code_version: Digest of the source code.
        n_windows, n_sessions, n_labels: Of the validation split.
        settings: Of the study.
        complete: False if the study was stopped early.
    """

    format: int = FORMAT
    market: str
    simulated: bool
    created_at: AwareDatetime
    digests: dict[str, str]
    code_version: str
    n_windows: int
    n_sessions: int
    n_labels: int
    settings: dict[str, object]
    rows: list[StudyRow]
    complete: bool


def read_study(folder: Path) -> StudyResults | None:
    """The last study in a folder; None if there is none that this version can read.

    Raises:
        Truncated, ChecksumMismatch, IntegrityError: If the file is damaged.
    """
    path = folder / STUDY_FILE
    remedy = f"Delete {path}. moola run --profile study writes it again from its stored results."
    try:
        return StudyResults.model_validate(read_checksummed(path, "must hold a study", remedy))
    except (FileNotFoundError, ValidationError):
        return None


def fits(study: StudyResults, digests: Mapping[str, str]) -> bool:
    """Whether a study used these bars and labels."""
    return all(digests.get(name) == digest for name, digest in study.digests.items())


def learning_curve(study: StudyResults) -> list[LearningPoint]:
    """Validation type F1 by number of labels, with a pretrained encoder and from scratch."""

    def by_count(name: str) -> dict[int, Score]:
        rows = (row for row in study.rows if row.arm == name and not row.distilled)
        return {row.count: row.scores["type_f1_macro"] for row in rows}

    pretrained, scratch = by_count(PRETRAINED), by_count("scratch")
    return [
        LearningPoint(n_labels=count, pretrained=score, scratch=scratch.get(count))
        for count, score in sorted(pretrained.items())
    ]


def study_lines(study: StudyResults) -> list[str]:
    """The table and conclusions of a study as text lines."""
    market = "SIMULATED bars" if study.simulated else f"market {study.market}"
    lines = [
        f"Pretraining study  {market}, {study.created_at:%Y-%m-%d}: {study.n_labels} validation "
        f"expansions in {study.n_windows} windows of {study.n_sessions} sessions; no test row was read",
    ]
    for product, heading in ((False, "pretrained, fine-tuned"), (True, "pretrained, distilled, fine-tuned")):
        rows = [row for row in study.rows if row.in_product == product]
        if rows:
            lines += ["", heading, _line("", COLUMNS.values())]
            lines += [
                _line(_named(row), (_unsigned(row.scores.get(name)) for name in COLUMNS)) for row in rows
            ]
            lines += ["", f"minus {'noisy student' if product else 'scratch'}, paired"]
            for row in (row for row in rows if row.minus_scratch):
                lines.append(_line(_named(row), (_signed(row.minus_scratch.get(name)) for name in COLUMNS)))
    return [*lines, "", *conclusions(study)]


def conclusions(study: StudyResults) -> list[str]:
    """Conclusions of a study, one per line."""
    lines = []
    for product, reference in ((False, "scratch"), (True, "the noisy student")):
        rows = [row for row in study.rows if row.minus_scratch and row.in_product == product]
        for metric, name in (("type_f1_macro", "type F1"), ("event_f1_macro", "event F1")) if rows else ():
            above = [_named(row) for row in rows if _low(row.minus_scratch.get(metric)) > 0]
            below = [_named(row) for row in rows if _high(row.minus_scratch.get(metric)) < -MARGIN]
            lines.append(f"{name}, interval above {reference}: {'; '.join(above) or 'none'}")
            lines.append(
                f"{name}, interval more than {MARGIN} below {reference}: {'; '.join(below) or 'none'}"
            )
    compared = [row for row in study.rows if "type_f1_macro" in row.minus_scratch_at_most]
    most = max((row.count for row in compared), default=0)
    for row in (row for row in compared if row.count == most):
        score = row.minus_scratch_at_most["type_f1_macro"]
        sure, level = score.high is not None and score.high < -MARGIN, _low(score) >= -MARGIN
        outcome = f"not more than {MARGIN} below" if level else "below" if sure else "neither level nor below"
        lines.append(f"{_named(row)} minus scratch with all labels, type F1: {_signed(score)}, {outcome}")
    if not study.complete:
        lines.append("The study is not complete. Run it again to continue.")
    return lines


def _named(row: StudyRow) -> str:
    return f"{row.count} labels, {row.arm.replace('_', ' ')}{', distilled' if row.in_product else ''}"


def _line(name: str, cells: Iterable[str]) -> str:
    return f"{name:<34}" + "".join(f"{cell:>{_WIDTH}}" for cell in cells)


def _unsigned(score: Score | None) -> str:
    if score is None or score.estimate is None:
        return "-"
    return f"{score.estimate:.3f} [{score.low:.2f}, {score.high:.2f}]"


def _signed(score: Score | None) -> str:
    if score is None or score.estimate is None:
        return "-"
    return f"{score.estimate:+.3f} [{score.low:+.2f}, {score.high:+.2f}]"


def _low(score: Score | None) -> float:
    return float("-inf") if score is None or score.low is None else score.low


def _high(score: Score | None) -> float:
    return float("inf") if score is None or score.high is None else score.high
