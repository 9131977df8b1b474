"""Errors after which a step of the jobs is retried."""

import dagster as dg
import pytest

from moola_pipeline.automation.jobs import RETRY, RetryTransientErrors, predict_job, train_job
from moola_pipeline.errors import BadInput, ChecksumMismatch

AT_ONCE = RetryTransientErrors(max_retries=2, delay=0.01)


def attempts(fault: BaseException, policy: dg.RetryPolicy = AT_ONCE) -> int:
    """Number of attempts of a step that always raises this error."""
    starts = []

    @dg.asset
    def faulty() -> None:
        starts.append(1)
        raise fault

    run_alone(faulty, policy)
    return len(starts)


def run_alone(asset: dg.AssetsDefinition, policy: dg.RetryPolicy) -> None:
    job = dg.define_asset_job("alone", selection=[asset], op_retry_policy=policy)
    defs = dg.Definitions(assets=[asset], jobs=[job], executor=dg.in_process_executor)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        alone = defs.resolve_job_def("alone")
        result = alone.execute_in_process(instance=instance, run_config=quiet, raise_on_error=False)
        assert not result.success


def test_a_transient_error_is_retried_twice():
    assert attempts(OSError("database is locked")) == 3


@pytest.mark.parametrize("fault", [BadInput("no"), ChecksumMismatch("changed"), KeyboardInterrupt()])
def test_a_permanent_error_is_not_retried(fault: BaseException):
    assert attempts(fault) == 1


def test_dagsters_own_policy_retries_an_interrupted_step():
    assert attempts(KeyboardInterrupt(), dg.RetryPolicy(max_retries=2)) == 3


def test_a_step_with_a_failed_check_is_not_retried():
    starts = []

    @dg.asset(check_specs=[dg.AssetCheckSpec("sound", asset="unsound", blocking=True)])
    def unsound() -> dg.MaterializeResult:
        starts.append(1)
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(check_name="sound", passed=False)])

    run_alone(unsound, AT_ONCE)
    assert len(starts) == 1


def test_waits_between_retries_never_get_shorter():
    """The jitter adds or subtracts up to 30 s: 0 to 60 s, then 60 to 120 s."""
    assert RETRY.backoff is dg.Backoff.EXPONENTIAL
    plain = RetryTransientErrors(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL)
    assert [plain.calculate_delay(attempt) for attempt in (1, 2)] == [30, 90]


def test_both_jobs_retry():
    assert train_job.op_retry_policy is predict_job.op_retry_policy is RETRY
