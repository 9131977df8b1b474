"""A hand-written table of edits and the assets that each makes stale."""

import pytest

from moola_pipeline.staleness.stages import STAGES
from moola_pipeline_tests.staleness.edits import NAMES, TABLE, Edit, stale_after


def test_the_table_names_every_asset():
    assert list(NAMES.values()) == list(STAGES)


@pytest.mark.parametrize("edit", TABLE, ids=lambda edit: edit.what)
def test_an_edit_makes_its_assets_stale_and_no_others(edit: Edit):
    assert stale_after(edit) == set(edit.stale.split())
