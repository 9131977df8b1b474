"""The promotion log: append-only, with a hash chain, repair, and a mirror in MLflow's tags."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from moola_pipeline.errors import BadInput, ChecksumMismatch, IntegrityError
from moola_pipeline.evaluation.promotion import Difference, PromotionDecision, difference_text
from moola_pipeline.storage.atomic_write import atomic_write_bytes, locked
from moola_pipeline.storage.checksums import checksummed_line, parse_checksummed_line
from moola_pipeline.storage.crash_injection import crash_point
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.registry import CHAMPION, DIGEST_TAGS, version_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOG_NAME = "promotions.jsonl"
BY_HAND = "by hand: chosen by a person, without a comparison"
NO_LINE = ""
"""`previous` of the first line."""


class Entry(BaseModel):
    """One line of the log.

    Attributes:
        at: UTC.
        version: The version that the decision is about.
        verdict: promoted; stayed (challenger); rolled back; found: the registry's champion differed
            from the log's, because something other than moola set it.
        by: The decider.
        before, champion: The champion before and after; None if there was none.
        rule: The rule, as text.
        reason: The outcome of the rule, as text.
        digests: Digests of the version, by the names of its tags.
        interval: The measured difference; None if nothing was measured.
        previous: SHA256 of the line before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: datetime
    model: str
    version: str
    verdict: Literal["promoted", "stayed", "rolled back", "found"]
    by: Literal["rule", "hand", "outside"]
    before: str | None
    champion: str | None
    rule: str
    reason: str
    digests: dict[str, str]
    interval: Difference | None
    previous: str


@dataclass(frozen=True)
class ChampionPeriod:
    """A period with one champion; `until` is None for the current one."""

    version: str
    since: datetime
    until: datetime | None
    reason: str


def read_log(home: Home, model: str | None = None) -> list[Entry]:
    """The entries of a model (of all models if `model` is None), oldest first.

    Raises:
        IntegrityError: If a line was changed, or a line before the last was removed.
    """
    lines = _lines(home)
    entries = _proven(lines)
    if len(entries) < len(lines):
        raise IntegrityError(
            f"{LOG_NAME} line {len(entries) + 1} must match the SHA256 of the line before it, but one of the "
            f"two was changed or lost. Restore {log_file(home)} from a backup, or keep the intact lines: "
            "moola registry repair"
        )
    return [entry for entry in entries if model in (None, entry.model)]


def proven_lines(home: Home) -> tuple[list[str], int]:
    """The lines of the log before the first broken link of the chain; the number of all lines."""
    lines = _lines(home)
    return lines[: len(_proven(lines))], len(lines)


def _proven(lines: list[str]) -> list[Entry]:
    entries, before = [], NO_LINE
    for line in lines:
        try:
            entry = Entry.model_validate_json(parse_checksummed_line(line))
        except (ValueError, ChecksumMismatch):
            break
        if entry.previous != before:
            break
        entries.append(entry)
        before = hashlib.sha256(line.encode(errors="surrogateescape")).hexdigest()
    return entries


def apply_decision(
    home: Home, client: "MlflowClient", model: str, version: str, decision: PromotionDecision
) -> Entry:
    """Append a decision to the log and mirror it in MLflow's tags, then move the alias.

    A comparison with a champion that was replaced meanwhile promotes nothing.

    Raises:
        IntegrityError: If the log was changed.
    """
    with locked(log_file(home)):
        before = _champion_as_logged(home, client, model)
        if decision.by == "rule" and decision.against != before:
            reason = f"version {decision.against} was replaced by {before} meanwhile. Run again: moola run"
            decision = PromotionDecision(False, "rule", before, decision.rule, reason)
        verdict = "rolled back" if decision.rolls_back else "promoted" if decision.promote else "stayed"
        entry = Entry(
            at=datetime.now(UTC),
            model=model,
            version=version,
            verdict=verdict,
            by=decision.by,
            before=before,
            champion=version if decision.promote else before,
            rule=decision.rule,
            reason=decision.reason,
            digests=_digests(client, model, version),
            interval=decision.interval,
            previous=NO_LINE,
        )
        entry = _append(home, client, entry)
        crash_point("champion.before")
        if decision.promote:
            client.set_registered_model_alias(model, CHAMPION, version)
        crash_point("champion.after")
    return entry


def reconcile(home: Home, client: "MlflowClient", model: str) -> list[Entry]:
    """The log of a model, after recording a champion that something other than moola set."""
    with locked(log_file(home)):
        _champion_as_logged(home, client, model)
        return read_log(home, model)


def champion_periods(entries: list[Entry]) -> list[ChampionPeriod]:
    """The champions of one model, in order."""
    changes = [entry for entry in entries if entry.champion != entry.before]
    ends = [*(entry.at for entry in changes[1:]), None][: len(changes)]
    return [
        ChampionPeriod(entry.champion, entry.at, end, entry.reason)
        for entry, end in zip(changes, ends, strict=True)
        if entry.champion is not None
    ]


def champion_periods_on(entries: list[Entry], day: date) -> list[ChampionPeriod]:
    """The champions on a day (UTC, midnight to midnight): several if the champion changed."""
    begins = datetime(day.year, day.month, day.day, tzinfo=UTC)
    ends = begins + timedelta(days=1)
    return [
        period
        for period in champion_periods(entries)
        if period.since < ends and (period.until is None or period.until > begins)
    ]


def champion_before(entries: list[Entry], model: str) -> str:
    """The version that a rollback restores; each rollback goes back one more champion.

    Raises:
        BadInput: If there is none.
    """
    lineage: list[str] = []
    for entry in entries:
        if entry.champion == entry.before or entry.champion is None:
            continue
        if entry.verdict == "rolled back":
            lineage = (
                lineage[: -lineage[::-1].index(entry.champion)] if entry.champion in lineage[:-1] else lineage
            )
            continue
        lineage.append(entry.champion)
    if len(lineage) < 2:
        raise BadInput(
            f"{model}: a rollback needs an earlier champion, but the log has none. "
            "See: moola registry history"
        )
    return lineage[-2]


def _champion_as_logged(home: Home, client: "MlflowClient", model: str) -> str | None:
    """The registry's champion; if the log has another, an entry is added first."""
    logged = next((entry.champion for entry in reversed(read_log(home, model))), None)
    champion = version_of(client, model, CHAMPION)
    if champion != logged:
        _append(home, client, _found(client, model, champion, logged))
    return champion


def _found(client: "MlflowClient", model: str, now: str | None, logged: str | None) -> Entry:
    """The entry for an alias that something other than moola set."""
    version = now or str(logged)
    state = f"version {now} is champion" if now else "there is no champion"
    return Entry(
        at=datetime.now(UTC),
        model=model,
        version=version,
        verdict="found",
        by="outside",
        before=logged,
        champion=now,
        rule="none: the alias was set outside moola",
        reason=f"{state}, the log had {f'version {logged}' if logged else 'none'}; no reason was recorded",
        digests=_digests(client, model, version),
        interval=None,
        previous=NO_LINE,
    )


def _append(home: Home, client: "MlflowClient", entry: Entry) -> Entry:
    lines = _lines(home)
    previous = hashlib.sha256(lines[-1].encode()).hexdigest() if lines else NO_LINE
    entry = entry.model_copy(update={"previous": previous})
    content = "\n".join([*lines, checksummed_line(entry.model_dump_json())]) + "\n"
    atomic_write_bytes(log_file(home), content.encode())
    number = sum(f'"model":"{entry.model}"' in line for line in lines) + 1
    client.set_registered_model_tag(entry.model, f"promotion.{number:04d}", _in_words(entry)[:5000])
    for name, text in _tags(entry):
        client.set_model_version_tag(entry.model, entry.version, f"promotion.{name}", text)
    return entry


def _tags(entry: Entry) -> Iterator[tuple[str, str]]:
    yield from {"at": f"{entry.at:%Y-%m-%dT%H:%M:%SZ}", "verdict": entry.verdict, "by": entry.by}.items()
    yield from {"rule": entry.rule, "reason": entry.reason, "before": str(entry.before)}.items()
    yield "interval", difference_text(entry.interval) if entry.interval else "not measured"


def _in_words(entry: Entry) -> str:
    return (
        f"{entry.at:%Y-%m-%dT%H:%M:%SZ} version {entry.version} {entry.verdict} (by {entry.by}); "
        f"champion {entry.before} -> {entry.champion}; {entry.reason}"
    )


def _digests(client: "MlflowClient", model: str, version: str) -> dict[str, str]:
    from mlflow.exceptions import MlflowException

    try:
        tags: Mapping[str, str] = client.get_model_version(model, version).tags
    except MlflowException:
        return {}
    return {name: tags[name] for name in (*DIGEST_TAGS, "data.sha256", "labels.sha256") if name in tags}


def _lines(home: Home) -> list[str]:
    try:
        return log_file(home).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return []


def log_file(home: Home) -> Path:
    """The path of the promotion log."""
    return home.tracking / LOG_NAME


class Repaired(NamedTuple):
    """Result of a repair: number of lines kept and removed, and the copy of the damaged file, if any."""

    n_kept: int
    n_aside: int
    aside: Path | None


def repair_log(home: Home, client: "MlflowClient", models: list[str]) -> Repaired:
    """Keep the lines before the damage, copy the damaged file, and record the current champions.

    The removed lines are still in MLflow, as tags `promotion.*` of each registered model.

    Args:
        home: The home with the log.
        client: Client of its registry.
        models: All registered models.
    """
    path = log_file(home)
    with locked(path):
        kept_lines, n_lines = proven_lines(home)
        if len(kept_lines) == n_lines:
            return Repaired(len(kept_lines), 0, None)
        number = 1
        while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
            number += 1
        atomic_write_bytes(aside, path.read_bytes())
        atomic_write_bytes(path, "".join(f"{line}\n" for line in kept_lines).encode())
    for model in models:
        reconcile(home, client, model)
    return Repaired(len(kept_lines), n_lines - len(kept_lines), aside)
