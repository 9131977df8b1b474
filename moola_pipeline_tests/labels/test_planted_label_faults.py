"""Faults planted in the private labels are found; sound subsets of them raise no alarm."""

import pytest

from moola_pipeline.labels.plausibility import MarkedSpans, find_misfit
from moola_pipeline_tests.labels.planted_label_faults import FAULTS, private_market, share_found

WINDOWS, SUBSETS = 100, 10


@pytest.mark.slow
def test_planted_faults_are_found_and_sound_labels_raise_no_alarm(private_data):
    bars, labels = private_market(private_data)
    counts = share_found(labels, labels, bars, WINDOWS, n_sound=SUBSETS, n_faulty=SUBSETS)
    assert counts["sound: alarms"] == 0
    assert {name: counts[name] for name in FAULTS} == dict.fromkeys(FAULTS, SUBSETS)


@pytest.mark.slow
def test_the_private_labels_fit_their_bars_as_a_whole(private_data):
    bars, labels = private_market(private_data)
    assert find_misfit(MarkedSpans.of_labels(labels), bars) is None
