"""`moola study`, and `moola run --profile study`."""

from pathlib import Path

import pytest

from moola_pipeline.cli.exit_codes import BAD_INPUT
from moola_pipeline.report.study_results import STUDY_FILE, read_study
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.settings import PROFILES, StudySettings
from moola_pipeline.staleness.data_digests import read_data_digests
from moola_pipeline.storage.checksums import write_checksummed
from moola_pipeline.storage.home import Home
from moola_pipeline.training.settings import FinetuneSettings, PretrainSettings
from moola_pipeline_tests.cli.calls import call, complaint, facts

TINY = StudySettings(
    counts=(20,),
    seeds=(0,),
    distill_seeds=(),
    label_steps=2,
    resamples=100,
    pretrain=PretrainSettings(hidden_units=8, epochs=1, batch_windows=16),
    finetune=FinetuneSettings(head_units=4, distill_windows=100, distill_epochs=1, distill_batch_windows=16),
)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    smoke = PROFILES["smoke"]
    monkeypatch.setitem(PROFILES, "study", smoke.model_copy(update={"name": "study", "study": TINY}))


def test_without_a_study_the_command_that_runs_one_is_named(smoke_home: Home):
    result = call("study", "--profile", "smoke", home=smoke_home.root)
    assert result.exit_code == BAD_INPUT
    assert complaint(result) == ("A study must exist, but there is none. Run: moola run --profile study")


@pytest.mark.usefixtures("tiny")
def test_the_remedy_for_a_damaged_study_allows_a_new_one(smoke_copy: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOOLA_HOME", str(smoke_copy.root))
    market = Pipeline(profile="smoke", market="auto", scenario="none").chosen_market()
    folder = smoke_copy.studies / market.name
    folder.mkdir(parents=True)
    (folder / STUDY_FILE).write_text("{")
    for words in (("study", "--profile", "smoke"), ("run", "--profile", "study")):
        message = complaint(call(*words, home=smoke_copy.root))
        assert message.startswith("study.json must hold a study, but it is truncated")
        path_to_delete = Path(message.partition("Delete ")[2].partition(". moola ")[0])
        assert path_to_delete == folder / STUDY_FILE
    path_to_delete.unlink()
    assert complaint(call("study", "--profile", "smoke", home=smoke_copy.root)).startswith(
        "A study must exist"
    )


@pytest.mark.usefixtures("tiny")
def test_a_study_is_run_saved_shown_and_used_by_the_plan(smoke_copy: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOOLA_HOME", str(smoke_copy.root))
    market = Pipeline(profile="smoke", market="auto", scenario="none").chosen_market()
    before = read_data_digests(market).digests["study"]
    first = call("run", "--profile", "study", "--json", home=smoke_copy.root)
    assert first.exit_code == 0
    assert "about" in first.stderr and "1/" in first.stderr

    shown = facts(call("study", "--profile", "smoke", "--json", home=smoke_copy.root))
    assert shown["fits"] and shown["complete"]
    assert shown["rows"] == facts(first)["rows"]
    saved = read_study(smoke_copy.studies / market.name)
    assert saved is not None and saved.market == market.name and saved.simulated
    assert (before, read_data_digests(market).digests["study"] != "") == ("", True)

    again = call("run", "--profile", "study", home=smoke_copy.root)
    assert again.stderr == ""
    assert again.stdout.splitlines()[0].startswith("Pretraining study  SIMULATED bars")


@pytest.mark.usefixtures("tiny")
def test_a_study_of_other_labels_is_marked_and_left_out_of_the_digests(
    smoke_copy: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MOOLA_HOME", str(smoke_copy.root))
    call("run", "--profile", "study", home=smoke_copy.root)
    market = Pipeline(profile="smoke", market="auto", scenario="none").chosen_market()
    path: Path = smoke_copy.studies / market.name / STUDY_FILE
    saved = read_study(path.parent)
    assert saved is not None
    others = saved.model_copy(update={"digests": {"labels.train": "others"}})
    write_checksummed(path, others.model_dump(mode="json"))

    result = call("study", "--profile", "smoke", home=smoke_copy.root)
    assert result.stdout.splitlines()[-1].startswith("This study used other bars or labels")
    assert read_data_digests(market).digests["study"] == ""
