"""Digests of a version: a loaded model equals the registered one, thresholds included."""

from pathlib import Path

import pytest

from moola_pipeline.errors import IntegrityError
from moola_pipeline.models.expansion_model import CONFIG_FILE, save_expansion_model
from moola_pipeline.storage.checksums import read_checksummed, write_checksummed
from moola_pipeline.tracking.registry import CONFIG_DIGEST, MODEL_DIGEST, _require_digests, model_digests
from moola_pipeline_tests.models.test_expansion_model import FACTS, made_model


def test_a_config_rewritten_with_a_valid_digest_is_refused(tmp_path: Path):
    save_expansion_model(tmp_path, made_model(), FACTS)
    registered = model_digests(tmp_path)
    _require_digests(tmp_path, registered)
    config = read_checksummed(tmp_path / CONFIG_FILE, "must be whole", "")
    config["thresholds"]["expansion_threshold"] = 0.0
    write_checksummed(tmp_path / CONFIG_FILE, config)
    with pytest.raises(
        IntegrityError, match=f"^{MODEL_DIGEST} is .*, the registry records {registered[MODEL_DIGEST]}"
    ):
        _require_digests(tmp_path, registered)


def test_the_model_digest_ignores_the_facts_of_training_and_the_config_s_own_digest(tmp_path: Path):
    save_expansion_model(tmp_path / "a", made_model(), FACTS)
    save_expansion_model(tmp_path / "b", made_model(), {**FACTS, "model_version": "7"})
    a, b = model_digests(tmp_path / "a"), model_digests(tmp_path / "b")
    assert a[MODEL_DIGEST] == b[MODEL_DIGEST]
    assert a[CONFIG_DIGEST] != b[CONFIG_DIGEST]
