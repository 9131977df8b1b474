"""Readers of our own files: checksummed records, logs, archives, models on disk."""

import hashlib
import io
import json
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from moola_pipeline.bars.manifest import add_bars, manifest_digest
from moola_pipeline.bars.store import BarStore, read_manifest, registered_store, verify_files
from moola_pipeline.labels.chosen_splits import CHOICE_NAME, read_split_choice, write_split_choice
from moola_pipeline.labels.importing import add_labels
from moola_pipeline.labels.registry import LEDGER_NAME, registered_files, registered_labels
from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.models.expansion_model import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    load_expansion_model,
    save_expansion_model,
)
from moola_pipeline.report.chosen_target import CHOICE_NAME as TARGET_CHOICE_NAME
from moola_pipeline.report.chosen_target import read_target_choice, write_target_choice
from moola_pipeline.report.data import Target
from moola_pipeline.report.study_results import STUDY_FILE, read_study
from moola_pipeline.storage.asset_checksums import checksums_file, prove, read_checksums, write_checksums
from moola_pipeline.storage.atomic_write import atomic_write_bytes
from moola_pipeline.storage.backup import LIST_NAME, back_up, backed_up_files, restore
from moola_pipeline.storage.checksums import OWN_SHA256, checksummed_line, write_checksummed
from moola_pipeline.storage.home import FORMAT_FILE, Home, home_format
from moola_pipeline.tracking.promotion_log import LOG_NAME, Entry, champion_before, champion_periods, read_log
from moola_pipeline.tracking.registry import model_digests
from moola_pipeline_tests.bars import vendor_files as made
from moola_pipeline_tests.bars.examples import made_up_bars
from moola_pipeline_tests.fuzzing.damage import damaged_bytes, damaged_json, damaged_value
from moola_pipeline_tests.fuzzing.harness import Reader
from moola_pipeline_tests.fuzzing.label_readers import bar_table, label_rows

WEIGHTS_LENGTH = 8
"""Bytes of the length field of a safetensors header."""


@cache
def _home() -> Path:
    """A folder with bars, labels, split dates and a file with checksums, made once per process."""
    folder = Path(tempfile.mkdtemp(prefix="fuzzed-home-"))
    _made.append(folder)
    home = Home(folder)
    path = made.saved(folder / "nq.csv", made_up_bars(400).to_csv(index=False).encode())
    add_bars(registered_store(home), path)
    rows = made.saved(folder / "labels.csv", label_rows().to_csv(index=False).encode())
    add_labels(registered_store(home).labels, rows, bar_table(), drop_bad=False)
    write_split_choice(registered_store(home).root, SplitSettings())
    write_target_choice(home.data, Target())
    atomic_write_bytes(home.store / "x" / "table.bin", b"rows")
    write_checksums(home.store / "x" / "table")
    return folder


_made: list[Path] = []


def forget_homes() -> None:
    """Remove the folders of this process."""
    while _made:
        shutil.rmtree(_made.pop(), ignore_errors=True)
    _home.cache_clear()


def damaged_record(rng: np.random.Generator, content: bytes) -> bytes:
    """A record with other values; in about half of the cases its checksum is valid."""
    if rng.random() < 0.4:
        return damaged_json(rng, content)
    found = json.loads(content)
    found.pop(OWN_SHA256, None)
    for _ in range(int(rng.integers(1, 4))):
        found = damaged_value(rng, found)
    return (
        _checksummed_bytes(found)
        if rng.random() < 0.7 and isinstance(found, dict)
        else json.dumps(found).encode()
    )


def _checksummed_bytes(found: dict[str, Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.json"
        try:
            write_checksummed(path, found)
        except (UnicodeEncodeError, ValueError):  # a text that cannot be encoded
            return json.dumps(found).encode()
        return path.read_bytes()


def _of(*names: str) -> Callable[[], list[bytes]]:
    return lambda: [(_home() / name).read_bytes() for name in names]


def _manifest(content: bytes, folder: Path) -> None:
    home = Home(_home())
    store = BarStore(folder / "data", simulated=False)
    if not store.raw.exists():
        shutil.copytree(registered_store(home).raw, store.raw)
    store.manifest.write_bytes(content)
    read_manifest(store)
    manifest_digest(store)
    verify_files(store)


def _ledger(content: bytes, folder: Path) -> None:
    labels = folder / "labels"
    if not labels.exists():
        shutil.copytree(registered_store(Home(_home())).labels, labels)
    (labels / LEDGER_NAME).write_bytes(content)
    registered_files(labels)
    registered_labels(labels)


def _kept_labels(content: bytes, folder: Path) -> None:
    labels = folder / "kept"
    if not labels.exists():
        shutil.copytree(registered_store(Home(_home())).labels, labels)
    (labels / "labels.csv").write_bytes(content)
    registered_labels(labels)


def _target(content: bytes, folder: Path) -> None:
    (folder / TARGET_CHOICE_NAME).write_bytes(content)
    read_target_choice(folder)


def _splits(content: bytes, folder: Path) -> None:
    (folder / CHOICE_NAME).write_bytes(content)
    read_split_choice(folder)


def _checksums(content: bytes, folder: Path) -> None:
    place = folder / "table"
    place.with_suffix(".bin").write_bytes(b"rows")
    checksums_file(place).write_bytes(content)
    read_checksums(place)
    try:
        prove(place)
    except FileNotFoundError:
        return  # every caller handles a missing file


def _format(content: bytes, folder: Path) -> None:
    home = Home(folder / "format")
    home.data.mkdir(parents=True, exist_ok=True)
    (home.data / FORMAT_FILE).write_bytes(content)
    home_format(home)


def _formats() -> list[bytes]:
    return [_checksummed_bytes({"format": 1, "moola": "0.1"})]


def _promotions() -> list[bytes]:
    lines, before = [], ""
    for number in range(4):
        entry = {
            "at": f"2025-01-0{number + 1}T00:00:00Z",
            "model": "moola-nq",
            "version": str(number + 1),
            "verdict": "promoted",
            "by": "rule",
            "before": str(number) if number else None,
            "champion": str(number + 1),
            "rule": "made up",
            "reason": "made up",
            "digests": {"model.sha256": "0" * 64},
            "interval": None,
            "previous": before,
        }
        line = checksummed_line(Entry.model_validate(entry).model_dump_json())
        before = hashlib.sha256(line.encode()).hexdigest()
        lines.append(line)
    return ["\n".join([*lines, ""]).encode()]


def damaged_log(rng: np.random.Generator, content: bytes) -> bytes:
    """A log with a damaged line, in some cases with a valid checksum."""
    if rng.random() < 0.4:
        return damaged_bytes(rng, content)
    lines = content.decode().splitlines()
    at = int(rng.integers(len(lines)))
    entry = json.loads(lines[at])
    entry.pop(OWN_SHA256)
    text = json.dumps(damaged_value(rng, entry), separators=(",", ":"))
    encodable = text.encode("utf-8", "replace").decode()
    lines[at] = checksummed_line(encodable) if encodable.endswith("}") else encodable
    return "\n".join([*lines, ""]).encode()


def _log(content: bytes, folder: Path) -> None:
    home = Home(folder / "log")
    home.tracking.mkdir(parents=True, exist_ok=True)
    (home.tracking / LOG_NAME).write_bytes(content)
    entries = read_log(home, "moola-nq")
    champion_periods(entries)
    champion_before(entries, "moola-nq")


def _archives() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "b.zip"
        back_up(Home(_home()), target)
        return [target.read_bytes()]


def damaged_archive(rng: np.random.Generator, content: bytes) -> bytes:
    """A backup with damaged bytes, or with a damaged list, names or members and a valid list checksum."""
    if rng.random() < 0.5:
        return damaged_bytes(rng, content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    kind = int(rng.integers(4))
    if kind == 0:
        members[LIST_NAME] = damaged_record(rng, members[LIST_NAME])
    elif kind == 1:
        members.pop(str(rng.choice(sorted(members))))
    elif kind == 2:
        members[str(rng.choice(["../x", "/x", "data/x", "data/../../x", "data//x", "C:x", "data/raw"]))] = (
            b"x"
        )
    else:
        _rename(rng, members)
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(zipfile.ZipInfo(name), member)
    return sink.getvalue()


def _rename(rng: np.random.Generator, members: dict[str, bytes]) -> None:
    """Rename a file, in the list too."""
    listed = json.loads(members[LIST_NAME])
    listed.pop(OWN_SHA256)
    old = str(rng.choice(sorted(listed["files"])))
    names = [
        "../x",
        "data/" + "n" * 300,
        "data/a\nb",
        "data/raw",
        "data/manifest.json/x",
        ".dagster",
        "data",
        "",
    ]
    new = names[int(rng.integers(len(names)))]
    listed["files"][new] = listed["files"].pop(old)
    members[new] = members.pop(old)
    members[LIST_NAME] = _checksummed_bytes(listed)


def _restored(content: bytes, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        home, source = Home(Path(place) / "home"), made.saved(Path(place) / "b.zip", content)
        try:
            restore(home, source, force=False)
        finally:
            outside = [path for path in Path(place).rglob("*") if path.is_file() and path != source]
            if set(outside) - set(backed_up_files(home)):
                raise ValueError("restoring wrote files that do not belong to a home")


def _models() -> list[bytes]:
    """The two files of a model as one content: length of the config, config, weights."""
    from moola_pipeline_tests.models.test_expansion_model import FACTS, made_model

    with tempfile.TemporaryDirectory() as folder:
        save_expansion_model(Path(folder), made_model(), {**FACTS, "model_version": "1", "instrument": "NQ"})
        return [joined(*((Path(folder) / name).read_bytes() for name in (CONFIG_FILE, WEIGHTS_FILE)))]


def joined(config: bytes, weights: bytes) -> bytes:
    """Two files as one content."""
    return struct.pack("<I", len(config)) + config + weights


def split(content: bytes) -> tuple[bytes, bytes]:
    """Config and weights of a content made by `joined`."""
    length = struct.unpack("<I", content[:4])[0]
    return content[4 : 4 + length], content[4 + length :]


def damaged_model(rng: np.random.Generator, content: bytes) -> bytes:
    """A model with damaged settings or weights, mostly with the right digest of the weights."""
    config, weights = split(content)
    kind = int(rng.integers(4))
    if kind == 0:
        return joined(damaged_record(rng, config), weights)
    if kind == 1:
        length = struct.unpack("<Q", weights[:WEIGHTS_LENGTH])[0]
        head = damaged_json(rng, weights[WEIGHTS_LENGTH : WEIGHTS_LENGTH + length])
        weights = struct.pack("<Q", len(head)) + head + weights[WEIGHTS_LENGTH + length :]
    elif kind == 2:
        lengths = [0, 1, 2**40, 2**63, 2**64 - 1, len(weights), 100_000_001]
        weights = struct.pack("<Q", lengths[int(rng.integers(len(lengths)))]) + weights[WEIGHTS_LENGTH:]
    else:
        weights = damaged_bytes(rng, weights)
    settings = json.loads(config)
    settings.pop(OWN_SHA256, None)
    settings["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    return joined(_checksummed_bytes(settings), weights)


def _model(content: bytes, folder: Path) -> None:
    config, weights = split(content)
    (folder / CONFIG_FILE).write_bytes(config)
    (folder / WEIGHTS_FILE).write_bytes(weights)
    load_expansion_model(folder)
    model_digests(folder)


def _studies() -> list[bytes]:
    score = {"estimate": 0.5, "low": 0.4, "high": 0.6, "n": 9}
    row = {
        "arm": "scratch",
        "distilled": False,
        "count": 22,
        "seeds": [0],
        "scores": {"type_f1_macro": score},
    }
    study = {
        "format": 1,
        "market": "simulated",
        "simulated": True,
        "created_at": "2025-01-01T00:00:00Z",
        "digests": {"bars": "0" * 64},
        "code_version": "0" * 64,
        "n_windows": 1,
        "n_sessions": 1,
        "n_labels": 1,
        "settings": {},
        "rows": [row],
        "complete": True,
    }
    return [_checksummed_bytes(study)]


def _study(content: bytes, folder: Path) -> None:
    (folder / STUDY_FILE).write_bytes(content)
    read_study(folder)


RECORD_READERS = (
    Reader("manifest", _of("data/nq/manifest.json"), damaged_record, _manifest),
    Reader("ledger", _of("data/nq/labels/ledger.json"), damaged_record, _ledger),
    Reader("kept-labels", _of("data/nq/labels/labels.csv"), damaged_bytes, _kept_labels),
    Reader("splits", _of("data/nq/splits.json"), damaged_record, _splits),
    Reader("target", _of("data/target.json"), damaged_record, _target),
    Reader("checksums", _of("data/store/x/table.checksums.json"), damaged_record, _checksums),
    Reader("home-format", _formats, damaged_record, _format),
    Reader("promotions", _promotions, damaged_log, _log),
    Reader("backup", _archives, damaged_archive, _restored),
    Reader("model", _models, damaged_model, _model),
    Reader("study", _studies, damaged_record, _study),
)
