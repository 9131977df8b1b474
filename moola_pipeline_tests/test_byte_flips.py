"""Readers detect one flipped byte in every file of a home, and the remedy in their message works."""

import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result

from moola_pipeline.bars.manifest import add_bars, read_bars
from moola_pipeline.bars.rolls import registered_rolls
from moola_pipeline.bars.store import BarStore, read_manifest, registered_store, verify_quarantined
from moola_pipeline.cli.report import read_report
from moola_pipeline.errors import IntegrityError, Truncated
from moola_pipeline.labels.chosen_splits import read_split_choice, write_split_choice
from moola_pipeline.labels.registry import registered_labels
from moola_pipeline.labels.simulated import read_truth
from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.report.chosen_target import read_target_choice, write_target_choice
from moola_pipeline.report.data import Target
from moola_pipeline.selftest.verify import verify_home
from moola_pipeline.storage.backup import back_up
from moola_pipeline.storage.home import Home, home_format
from moola_pipeline.tracking.promotion_log import read_log
from moola_pipeline.tracking.registry import load_version
from moola_pipeline_tests.asset_readers import PIPELINE, read_asset
from moola_pipeline_tests.bars.examples import made_up_bars, write_csv
from moola_pipeline_tests.cli.calls import call
from moola_pipeline_tests.counts import record
from moola_pipeline_tests.homes import BARS, copied, run_moola
from moola_pipeline_tests.surroundings import surroundings_kept

MARKET, STORE, REPORT = "data/simulated/smoke", "data/store/simulated-smoke", "data/reports/simulated-smoke"
REGISTRY = "data/mlflow/artifacts/moola-simulated/models/*/artifacts/artifacts/expansion_model"
MODEL = "models:/moola-simulated@champion"
FLIPS = 12


def asset(name: str) -> Callable[[Home], object]:
    return lambda home: read_asset(name)


def simulated(home: Home) -> BarStore:
    return BarStore(home.simulated / "smoke", simulated=True)


def registered(home: Home) -> BarStore:
    return registered_store(home)


def quarantined(home: Home) -> None:
    for entry in read_manifest(registered(home)).files:
        verify_quarantined(registered(home), entry)


SIMULATED: dict[str, tuple[str, Callable[[Home], object]]] = {
    "simulated bars": (f"{MARKET}/raw/bars.parquet", lambda home: read_bars(simulated(home))),
    "simulated manifest": (f"{MARKET}/manifest.json", lambda home: read_bars(simulated(home))),
    "simulated labels": (f"{MARKET}/labels.csv", lambda home: PIPELINE.chosen_market().labels()),
    "simulated rolls": (f"{MARKET}/rolls.csv", lambda home: registered_rolls(simulated(home))),
    "simulated settings": (f"{MARKET}/settings.json", lambda home: PIPELINE.chosen_market().labels()),
    "planted truth": (f"{MARKET}/truth.parquet", lambda home: read_truth(simulated(home))),
    "canonical table": (f"{STORE}/raw_nq_bars.parquet", asset("raw_nq_bars")),
    "bars below features": (f"{STORE}/raw_nq_bars.parquet", asset("relativity_features")),
    "placed labels": (f"{STORE}/labeled_expansions.parquet", asset("labeled_expansions")),
    "features": (f"{STORE}/relativity_features.json", asset("relativity_features")),
    "windows": (f"{STORE}/densified_windows.parquet", asset("densified_windows")),
    "encoder weights": (
        f"{STORE}/pretrained_encoder/weights.safetensors",
        asset("pretrained_encoder"),
    ),
    "encoder settings": (
        f"{STORE}/pretrained_encoder/config.json",
        asset("pretrained_encoder"),
    ),
    "classifier weights": (
        f"{STORE}/finetuned_classifier/seed-0/weights.safetensors",
        asset("finetuned_classifier"),
    ),
    "classifier settings": (
        f"{STORE}/finetuned_classifier/seed-0/config.json",
        asset("finetuned_classifier"),
    ),
    "training facts": (
        f"{STORE}/finetuned_classifier/training.json",
        asset("finetuned_classifier"),
    ),
    "registered version": (f"{STORE}/registered_model.json", asset("registered_model")),
    "predictions": (f"{STORE}/latest_expansions.parquet", asset("latest_expansions")),
    "drift beside predictions": (
        f"{STORE}/latest_expansions/drift.json",
        asset("latest_expansions"),
    ),
    "checksums": (f"{STORE}/latest_expansions.checksums.json", asset("latest_expansions")),
    "report data": (f"{REPORT}/report.json", asset("bootstrap_ci_report")),
    "report page": (f"{REPORT}/report.html", lambda home: read_report(home.reports / "simulated-smoke")),
    "report checksums": (
        f"{REPORT}/report.checksums.json",
        lambda home: read_report(home.reports / "simulated-smoke"),
    ),
    "promotions": ("data/mlflow/promotions.jsonl", read_log),
    "registry weights": (f"{REGISTRY}/weights.safetensors", lambda home: load_version(home, MODEL)),
    "registry settings": (f"{REGISTRY}/config.json", lambda home: load_version(home, MODEL)),
    "home's format": ("data/format.json", home_format),
}
REGISTERED: dict[str, tuple[str, Callable[[Home], object]]] = {
    "vendor's bars": (f"data/nq/raw/{BARS}", lambda home: read_bars(registered(home))),
    "parsed bars": (f"data/nq/parsed/{BARS}.*", lambda home: read_bars(registered(home))),
    "manifest": ("data/nq/manifest.json", lambda home: read_bars(registered(home))),
    "rolls": ("data/nq/rolls.csv", lambda home: registered_rolls(registered(home))),
    "rows set aside": ("data/nq/quarantine/*.csv", quarantined),
    "labels": ("data/nq/labels/labels.csv", lambda home: registered_labels(registered_store(home).labels)),
    "ledger": ("data/nq/labels/ledger.json", lambda home: registered_labels(registered_store(home).labels)),
    "target": ("data/target.json", lambda home: read_target_choice(home.data)),
    "split dates": ("data/nq/splits.json", lambda home: read_split_choice(registered_store(home).root)),
}
ROLLS = "time,old,new\n2024-12-16T23:00:00Z,NQZ4,NQH5\n2025-03-17T22:00:00Z,NQH5,NQM5\n"


@dataclass(frozen=True)
class DamagedHome:
    """A home in which files are changed and restored."""

    home: Home
    artifacts: dict[str, tuple[str, Callable[[Home], object]]]


def with_everything(home: Home, folder: Path) -> Home:
    """Add files that a first run does not make: rolls, split dates, target, rows set aside."""
    (folder / "rolls.csv").write_text(ROLLS)
    assert call("bars", "rolls", "add", folder / "rolls.csv", home=home.root).exit_code == 0
    write_split_choice(registered_store(home).root, SplitSettings())
    write_target_choice(home.data, Target())
    bad = made_up_bars(300, start="2020-06-01 14:30")
    bad.loc[200, "low"] = -1.0
    write_csv(folder / "bad.csv", bad)
    add_bars(registered(home), folder / "bad.csv")
    return home


@pytest.fixture(scope="module")
def made(smoke_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return copied(smoke_home, tmp_path_factory.mktemp("flipped") / "home")


@pytest.fixture(scope="module")
def given(registered_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("flipped")
    return with_everything(copied(registered_home, folder / "home"), folder)


@pytest.fixture
def opened(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[DamagedHome]:
    simulated_home = request.param in SIMULATED
    home: Home = request.getfixturevalue("made" if simulated_home else "given")
    monkeypatch.setenv("MOOLA_HOME", str(home.root))
    with surroundings_kept():
        yield DamagedHome(home, SIMULATED if simulated_home else REGISTERED)


def flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1 << random.Random(place).randrange(8)
    return bytes(changed)


def refusal(
    opened: DamagedHome, path: Path, content: bytes, read: Callable[[Home], object]
) -> IntegrityError:
    """The error of a reader for a file with other content; the file is restored."""
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        with pytest.raises(IntegrityError) as fault:
            read(opened.home)
    finally:
        path.write_bytes(before)
    return fault.value


@pytest.mark.parametrize(
    ("opened", "artifact"), [(name, name) for name in (*SIMULATED, *REGISTERED)], indirect=["opened"]
)
def test_a_flipped_byte_is_detected_and_the_message_names_file_and_remedy(opened: DamagedHome, artifact: str):
    pattern, read = opened.artifacts[artifact]
    [path] = opened.home.root.glob(pattern)
    content, began = path.read_bytes(), time.monotonic()
    read(opened.home)
    places = {0, len(content) - 1, *random.Random(artifact).choices(range(len(content)), k=FLIPS)}
    for place in places:
        message = str(refusal(opened, path, flipped(content, place), read))
        assert path.name in message or path.stem.removesuffix(".checksums") in message, message
        assert "\n" not in message
        assert re.search(r"moola (run|restore|bars|labels|registry)|Delete |Restore |again", message), (
            f"no remedy: {message}"
        )
    refusal(opened, path, content[: len(content) // 2], read)
    read(opened.home)
    n = len(places)
    record(f"bytes flipped in artefacts: {artifact}", flips=n, missed=0, seconds=time.monotonic() - began)


@pytest.mark.parametrize(
    ("opened", "artifact"),
    [(name, name) for name in ("canonical table", "encoder weights", "report page", "rolls")],
    indirect=["opened"],
)
def test_a_truncated_file_is_reported_as_truncated_if_its_size_is_recorded(
    opened: DamagedHome, artifact: str
):
    pattern, read = opened.artifacts[artifact]
    [path] = opened.home.root.glob(pattern)
    assert isinstance(refusal(opened, path, path.read_bytes()[:-5], read), Truncated)


def failing(home: Home, *words: str | Path) -> str:
    """The error line of a command that must fail."""
    with surroundings_kept():
        done: Result = call(*words, home=home.root)
    assert done.exit_code == 1, (words, done.output)
    message = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(message) == 1, done.stderr
    return message[0]


def well(home: Home, *words: str | Path) -> str:
    with surroundings_kept():
        done = call(*words, home=home.root)
    assert done.exit_code == 0, (words, done.output)
    return done.stdout


def flip(home: Home, pattern: str) -> Path:
    [path] = home.root.glob(pattern)
    content = path.read_bytes()
    path.write_bytes(flipped(content, len(content) * 2 // 3))
    return path


def sound(home: Home) -> bool:
    return verify_home(home).findings == []


@pytest.fixture
def whole(given: Home, tmp_path: Path) -> Home:
    """A copy of a home with registered bars, labels, rolls and split dates."""
    home = copied(given, tmp_path / "a home")
    assert sound(home)
    return home


def test_the_remedy_for_rolls_works(whole: Home, tmp_path: Path):
    flip(whole, "data/nq/rolls.csv")
    message = failing(whole, "bars", "list")
    assert "rolls.csv: it was changed" in message
    assert 'Register the rolls again with "moola' in message
    (tmp_path / "rolls.csv").write_text(ROLLS)
    well(whole, "bars", "rolls", "add", tmp_path / "rolls.csv")
    well(whole, "bars", "list")
    assert sound(whole)


def test_the_remedy_for_rows_set_aside_works(whole: Home):
    path = flip(whole, "data/nq/quarantine/*.csv")
    [found] = verify_home(whole).findings
    assert (found.file, found.kind) == (f"data/nq/quarantine/{path.name}", "changed")
    again = re.search(r"moola bars add (.*)$", found.what)
    assert again
    well(whole, "bars", "add", Path(again[1].strip("'")))
    assert sound(whole)


def test_the_remedy_for_a_vendors_file_works(whole: Home, registered_files: Path):
    flip(whole, f"data/nq/raw/{BARS}")
    message = failing(whole, "run", "--profile", "smoke")
    assert f"{BARS}: SHA256 is" in message and "Add the original again" in message
    assert "restored" in well(whole, "bars", "add", registered_files / BARS)
    assert sound(whole)


def test_the_remedy_for_the_manifest_works(whole: Home):
    flip(whole, "data/nq/manifest.json")
    message = failing(whole, "bars", "list")
    command = re.search(r" again: mv (\S.*\.json'?) (\S.*\.broken'?) && ", message)
    assert command, message
    shutil.move(command[1].strip("'"), command[2].strip("'"))
    well(whole, "bars", "add", *sorted(registered_store(whole).raw.iterdir()))
    well(whole, "bars", "list")
    assert sound(whole)


@pytest.mark.parametrize("name", ["labels.csv", "ledger.json"])
def test_the_remedy_for_labels_works(whole: Home, name: str, tmp_path: Path):
    flip(whole, f"data/nq/labels/{name}")
    message = failing(whole, "labels", "check", registered_store(whole).labels / "raw" / "labels.csv")
    assert name in message and "move the folder" in message and "labels add" in message
    shutil.move(registered_store(whole).labels, tmp_path / "labels before")
    well(whole, "labels", "add", tmp_path / "labels before" / "raw" / "labels.csv")
    assert len(registered_labels(registered_store(whole).labels)) > 0
    assert sound(whole)


def test_the_remedy_for_split_dates_works(whole: Home):
    path = flip(whole, "data/nq/splits.json")
    assert "or delete it and choose again" in failing(whole, "status", "--profile", "smoke")
    path.unlink()
    well(whole, "status", "--profile", "smoke")
    assert sound(whole)


def test_the_remedy_for_the_format_works(whole: Home):
    path = flip(whole, "data/format.json")
    assert "format.json" in failing(whole, "status", "--profile", "smoke")
    path.unlink()
    well(whole, "status", "--profile", "smoke")
    assert path.exists()
    assert sound(whole)


def test_the_remedy_for_the_log_of_promotions_works(smoke_copy: Home):
    flip(smoke_copy, "data/mlflow/promotions.jsonl")
    message = failing(smoke_copy, "registry", "history")
    assert "promotions.jsonl" in message and "registry repair" in message
    well(smoke_copy, "registry", "repair")
    well(smoke_copy, "registry", "history")
    assert sound(smoke_copy)


def test_a_backup_restores_any_file_of_the_registry(smoke_copy: Home, tmp_path: Path):
    """`moola verify` checks files that only MLflow reads."""
    back_up(smoke_copy, tmp_path / "b.zip")
    folder = REGISTRY.removesuffix("/artifacts/expansion_model")
    for name in ("MLmodel", "pyfunc.py", "conda.yaml", "requirements.txt", "python_env.yaml"):
        flip(smoke_copy, f"{folder}/{name}")
    for name in ("report.html", "report.json", "class_counts.csv", "drift/drift.json"):
        flip(smoke_copy, f"data/mlflow/artifacts/moola-simulated/*/artifacts/{name}")
    flip(smoke_copy, f"{REGISTRY}/weights.safetensors")
    found = verify_home(smoke_copy).findings
    assert len({finding.file for finding in found}) == 10
    assert all("moola restore --force FILE" in finding.what for finding in found)
    bars = smoke_copy.root / f"{MARKET}/raw/bars.parquet"
    assert "version 1 must match their registration" in failing(smoke_copy, "predict", bars, "--model", MODEL)
    well(smoke_copy, "restore", "--force", tmp_path / "b.zip")
    well(smoke_copy, "predict", bars, "--model", MODEL)
    assert sound(smoke_copy)


@pytest.mark.slow
def test_the_remedies_for_assets_market_and_model_work(smoke_copy: Home, tmp_path: Path):
    """Damage all outputs of `moola run` at once; each message names a remedy, which is carried out."""
    began, bars = time.monotonic(), smoke_copy.root / f"{MARKET}/raw/bars.parquet"
    (tmp_path / "bars.parquet").write_bytes(bars.read_bytes())
    flip(smoke_copy, f"{REGISTRY}/config.json")
    made = {pattern for pattern, _ in SIMULATED.values() if pattern.startswith((STORE, REPORT))}
    for pattern in made:
        flip(smoke_copy, pattern)
    assert "Rebuild it: moola" in failing(smoke_copy, "report")
    message = failing(smoke_copy, "predict", tmp_path / "bars.parquet", "--model", MODEL)
    assert f"Restore {smoke_copy.tracking}, or move it away and run: moola" in message
    flip(smoke_copy, f"{MARKET}/settings.json")
    message = failing(smoke_copy, "run", "--profile", "smoke")
    folder = re.search(r"Delete the folder (.*): the next run generates it again", message)
    assert folder and "settings.json must record the market" in message
    shutil.rmtree(folder[1])
    shutil.move(smoke_copy.tracking, tmp_path / "mlflow before")
    # in separate processes: within one process, MLflow keeps the moved database open
    run_moola(smoke_copy.root, "run", "--profile", "smoke")
    run_moola(smoke_copy.root, "report")
    run_moola(smoke_copy.root, "predict", tmp_path / "bars.parquet", "--model", MODEL)
    assert sound(smoke_copy)
    record("remedies of flipped assets", remedies=len(made) + 2, seconds=time.monotonic() - began)
