"""Kills runs at every named point and at random times, and runs them again: see --help.

Every killed home must come, by one `moola run`, to the outputs of a run that nothing disturbed.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import click
import numpy as np

from moola_pipeline_tests.counts import record

TIMEOUT_SECONDS = 600.0
FILES = {
    "manifest.json": "raw_nq_bars",
    "raw_nq_bars.parquet": "raw_nq_bars",
    "weights.safetensors": "pretrained_encoder",
    "report.json": "bootstrap_ci_report",
    "promotions.jsonl": "registered_model",
    "latest_expansions.checksums.json": "latest_expansions",
}
"""Files at whose publishing runs are killed, and the stage that writes them."""


@dataclass(frozen=True)
class Case:
    """One kill: where it begins, and what ends it."""

    snapshot: str
    crash: str | None
    kill_after: float | None = None

    @property
    def name(self) -> str:
        """As the log names it."""
        return self.crash or f"SIGKILL after {self.kill_after:.2f} s"


def matrix() -> list[Case]:
    """Every point by every signal, those of the last stages first.

    Points of publishing are tried at the last of FILES by every signal, at the others by SIGKILL.
    """
    from moola_pipeline.staleness.stages import STAGES
    from moola_pipeline.storage.crash_injection import REGISTRY_POINTS, SIGNALS, WRITE_POINTS, points

    cases = []
    for point in points(STAGES):
        if point in WRITE_POINTS:
            files = ["manifest.json"] if point.endswith("after_manifest") else list(FILES)
            places = [(FILES[file], f"{point}@{file}") for file in files]
        elif point in REGISTRY_POINTS:
            places = [("registered_model", point)]
        else:
            places = [(point.partition(".")[0], point)]
        for stage, where in places:
            signs = SIGNALS if where == places[-1][1] else SIGNALS[:1]
            cases += [Case(stage, f"{where}:{sign}") for sign in signs]
    order = list(STAGES)
    return sorted(cases, key=lambda case: -order.index(case.snapshot))


class Harness:
    """Runs in forked processes, on a market of two months and nets of a few steps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        _load_and_shrink()

    def run(self, home: Path, crash: str | None = None, kill_after: float | None = None) -> int:
        """`moola run` in a process of its own; its exit code, negative for a signal.

        Raises:
            TimeoutError: If it does not end.
        """
        child = os.fork()
        if child == 0:
            _become_moola(home, crash, self.folder / "log.txt")
        started, killed = time.monotonic(), False
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            age = time.monotonic() - started
            if kill_after is not None and not killed and age > kill_after:
                os.kill(child, signal.SIGKILL)
                killed = True
            if age > TIMEOUT_SECONDS:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                raise TimeoutError(f"a run did not end within {TIMEOUT_SECONDS:.0f} s")
            time.sleep(0.01)

    def snapshots(self) -> dict[str, Path]:
        """Homes that were killed before each stage in turn, the last one whole under the name `done`."""
        from moola_pipeline.staleness.stages import STAGES

        home, kept = self.folder / "growing", {}
        for stage in STAGES:
            kept[stage] = self._kept(home, stage)
            code = self.run(home, f"{stage}.before_compute:SIGKILL")
            if code != -signal.SIGKILL:
                raise RuntimeError(f"the run before {stage} ended with {code}")
        if code := self.run(home):
            raise RuntimeError(f"the last run ended with {code}")
        kept["done"] = self._kept(home, "done")
        return kept

    def prove(self, case: Case, start: Path | None, expected: dict[str, str]) -> list[str]:
        """Kill a copy of a home, run it again, and say what is not as it must be."""
        from moola_pipeline.storage.home import Home
        from moola_pipeline_tests.outputs import disorder, outputs

        home = Home(self.folder / "victim")
        shutil.rmtree(home.root, ignore_errors=True)
        if start is not None and start.exists():
            shutil.copytree(start, home.root)
        code = self.run(home.root, case.crash, case.kill_after)
        if case.crash and code == 0:
            return ["the point was not reached"]
        if restarted := self.run(home.root):
            return [f"killed with {code}; run again, it ended with {restarted}"]
        found = outputs(home)
        lost = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
        return [*(f"{name} differs" for name in lost), *disorder(home)]

    def _kept(self, home: Path, name: str) -> Path:
        kept = self.folder / "snapshots" / name
        if home.exists():
            shutil.copytree(home, kept)
        return kept


def _become_moola(home: Path, crash: str | None, log: Path) -> None:
    from moola_pipeline.cli import main
    from moola_pipeline.storage.crash_injection import arm

    code = 1
    try:
        sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        arm(crash)
        main(["--home", str(home), "run", "--profile", "smoke"])
    except SystemExit as done:
        code = int(done.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(code)


def _load_and_shrink() -> None:
    """Import all that a run needs, once, and make the report of the smoke profile smaller."""
    import moola_pipeline.cli.run
    import moola_pipeline.definitions
    import moola_pipeline.evaluation.ablations
    import moola_pipeline.evaluation.scoring
    import moola_pipeline.evaluation.sections
    import moola_pipeline.report.html
    import moola_pipeline.staleness.plan
    import moola_pipeline.training.pretrain  # noqa: F401
    from moola_pipeline import settings

    smoke = settings.PROFILES["smoke"]
    report = smoke.report.model_copy(update={"resamples": 100, "gallery_windows": 0})
    settings.PROFILES["smoke"] = smoke.model_copy(update={"report": report})


def _cases(asked: argparse.Namespace, seconds: float) -> Iterator[Case]:
    if asked.full or asked.points:
        yield from matrix()
    rng = np.random.default_rng(asked.seed)
    for after in rng.uniform(0.0, seconds, asked.random if not asked.full else 50):
        yield Case("raw_nq_bars", None, float(after))


def main() -> int:
    """Run the suite; 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="every point by every signal, 50 random kills")
    parser.add_argument("--points", action="store_true", help="every point by every signal")
    parser.add_argument("--random", type=int, default=0, help="kills at random times")
    parser.add_argument("--seed", type=int, default=0, help="of the random times")
    parser.add_argument("--skip", type=int, default=0, help="cases left out at the beginning: to go on")
    asked = parser.parse_args()
    began, lost, n_points, n_random = time.monotonic(), [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        harness = Harness(Path(folder))
        from moola_pipeline.storage.home import Home
        from moola_pipeline_tests.outputs import disorder, outputs

        whole = Home(Path(folder) / "undisturbed")
        started = time.monotonic()
        if code := harness.run(whole.root):
            sys.exit(
                f"an undisturbed run ended with {code}: {(Path(folder) / 'log.txt').read_text()[-2000:]}"
            )
        seconds, expected = time.monotonic() - started, outputs(whole)
        if wrong := disorder(whole):
            sys.exit(f"an undisturbed run left {wrong}")
        snapshots = harness.snapshots()
        if outputs(Home(snapshots["done"])) != expected:
            lost.append("killed before each stage in turn")
        click.echo(f"undisturbed {seconds:.1f} s; snapshots {time.monotonic() - started - seconds:.1f} s")
        for case in islice(_cases(asked, seconds), asked.skip, None):
            try:
                wrong = harness.prove(case, snapshots[case.snapshot], expected)
            except TimeoutError as fault:
                wrong = [str(fault)]
            n_points, n_random = n_points + bool(case.crash), n_random + (not case.crash)
            click.echo(f"{'LOST' if wrong else 'ok  '} {case.name} {'; '.join(wrong)}")
            lost += [case.name] if wrong else []
            record(
                f"kills at named points and at random times: after {asked.skip}",
                points=n_points,
                random=n_random,
                lost=len(lost),
                seconds=time.monotonic() - began,
            )
    spent = time.monotonic() - began
    click.echo(f"{n_points} kills at points, {n_random} at random times, {len(lost)} lost, {spent:.0f} s")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
