import os
import signal
import sys
import time
from pathlib import Path

import psutil

from moola_pipeline.resources.compute_logs import StepLogManager


def test_helpers_of_a_step_do_not_receive_ctrl_c_and_end_with_it(tmp_path: Path):
    manager = StepLogManager(str(tmp_path))
    before = {child.pid for child in psutil.Process().children()}
    with manager.capture_logs(["run", "compute_logs", "step"]):
        sys.stdout.write("said by the step\n")
        sys.stdout.flush()
        helpers = [child for child in psutil.Process().children() if child.pid not in before]
        time.sleep(0.5)  # Python takes a while to install its handler
        for helper in helpers:
            os.kill(helper.pid, signal.SIGINT)
        time.sleep(0.2)
        assert len(helpers) == 4
        assert all(helper.is_running() for helper in helpers)
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert not any(helper.is_running() for helper in helpers)
    assert "said by the step" in (tmp_path / "run" / "compute_logs" / "step.out").read_text()
