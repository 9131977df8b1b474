import time

import pytest

from moola_pipeline.cli.label_run import DONE, IDLE, LabelRun
from moola_pipeline.errors import BadInput
from moola_pipeline.storage.home import HOME_VARIABLE, Home
from moola_pipeline_tests.homes import BARS, LABELS, run_moola

SECONDS = 3_600


def waited(run: LabelRun, *states: str) -> dict:
    deadline = time.monotonic() + SECONDS
    while run.facts()["state"] not in states:
        assert time.monotonic() < deadline, run.facts()
        time.sleep(0.5)
    return run.facts()


def test_a_run_cannot_be_started_before_it_is_planned(tmp_path):
    with pytest.raises(BadInput, match="once it is planned, but this one is planning"):
        LabelRun(Home(tmp_path)).start()


def test_a_home_without_labels_says_what_is_lacking(tmp_path):
    facts = waited(LabelRun(Home(tmp_path)), "failed")
    assert "Bars must be registered" in facts["text"]


@pytest.mark.slow
def test_a_run_that_the_page_starts_goes_through_dagsters_queue(tmp_path, registered_files, monkeypatch):
    home = Home(tmp_path)
    monkeypatch.setenv(HOME_VARIABLE, str(home.root))
    run_moola(home.root, "bars", "add", registered_files / BARS)
    run_moola(home.root, "labels", "add", registered_files / LABELS)
    run = LabelRun(home, profile="smoke")
    try:
        planned = waited(run, IDLE, "failed")
        assert "moola run rebuilds 9 of 9 assets" in planned["text"]
        assert "the first takes" in planned["text"]
        run.start()
        done = waited(run, DONE, "failed")
    finally:
        run.close()
    assert done["state"] == DONE, done
    assert "9 assets built" in done["text"]
    assert "up to date" in run_moola(home.root, "status", "--profile", "smoke")
