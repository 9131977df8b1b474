"""Files with the output of each step, written without helper processes that answer Ctrl-C."""

import signal
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from dagster._core.storage.compute_log_manager import CapturedLogContext
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._serdes import ConfigurableClassData


class StepLogManager(LocalComputeLogManager):
    """Dagster's manager, whose helpers (`tail` and a watcher in Python) do not receive Ctrl-C.

    A terminal sends Ctrl-C to every process of the command. The helpers end with their step; interrupted by
    themselves they would print a traceback.
    """

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "StepLogManager":
        """The manager that dagster.yaml describes."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext, None, None]:
        """Write the output of the code in this context to the files of `log_key`, and show it."""
        with ExitStack() as stack:
            with _interrupts_blocked():
                context = stack.enter_context(super().capture_logs(log_key))
            yield context


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes started meanwhile never receive Ctrl-C; this one receives it afterwards."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
