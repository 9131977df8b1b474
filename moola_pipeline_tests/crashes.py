"""Kill runs at every crash point and at random times, and run again: see --help.

After one more `moola run`, every killed home must have the outputs of an uninterrupted run.
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
"""Files during whose writing runs are killed, and the stage that writes them."""


@dataclass(frozen=True)
class Case:
    """One kill: the stage of the home's snapshot, and the crash point or time of the kill."""

    snapshot: str
    crash: str | None
    kill_after: float | None = None

    @property
    def name(self) -> str:
        """Name in the log."""
        return self.crash or f"SIGKILL after {self.kill_after:.2f} s"


def matrix() -> list[Case]:
    """Every crash point with every signal, the last stages first.

    Points of file writing are tried with every signal at the last of FILES, at the others with SIGKILL.
    """
    from moola_pipeline.staleness.stages import STAGES
    from moola_pipeline.storage.crash_injection import REGISTRY_POINTS, SIGNALS, WRITE_POINTS, points

    cases = []
    for point in points(STAGES):
        if point in WRITE_POINTS:
            files = ["manifest.json"] if point.endswith("after_manifest") else list(FILES)
            crash_points = [(FILES[file], f"{point}@{file}") for file in files]
        elif point in REGISTRY_POINTS:
            crash_points = [("registered_model", point)]
        else:
            crash_points = [(point.partition(".")[0], point)]
        for stage, name in crash_points:
            signals = SIGNALS if name == crash_points[-1][1] else SIGNALS[:1]
            cases += [Case(stage, f"{name}:{sign}") for sign in signals]
    order = list(STAGES)
    return sorted(cases, key=lambda case: -order.index(case.snapshot))


class Harness:
    """Runs `moola run` in forked processes, with a market of two months and networks of a few steps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        _load_and_shrink()

    def run(self, home: Path, crash: str | None = None, kill_after: float | None = None) -> int:
        """Run `moola run` in a child process and return its exit code, negative for a signal.

        Raises:
            TimeoutError: If it does not end in time.
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
        """Homes killed before each stage; the last one, `done`, is complete."""
        from moola_pipeline.staleness.stages import STAGES

        home, copies = self.folder / "growing", {}
        for stage in STAGES:
            copies[stage] = self._copied(home, stage)
            code = self.run(home, f"{stage}.before_compute:SIGKILL")
            if code != -signal.SIGKILL:
                raise RuntimeError(f"the run before {stage} ended with {code}")
        if code := self.run(home):
            raise RuntimeError(f"the last run ended with {code}")
        copies["done"] = self._copied(home, "done")
        return copies

    def prove(self, case: Case, start: Path | None, expected: dict[str, str]) -> list[str]:
        """Kill a run in a copy of a home, run again, and return all differences to the expected outputs."""
        from moola_pipeline.storage.home import Home
        from moola_pipeline_tests.outputs import disorder, outputs

        home = Home(self.folder / "victim")
        shutil.rmtree(home.root, ignore_errors=True)
        if start is not None and start.exists():
            shutil.copytree(start, home.root)
        code = self.run(home.root, case.crash, case.kill_after)
        if case.crash and code == 0:
            return ["the crash point was not reached"]
        if restarted := self.run(home.root):
            return [f"killed with exit code {code}; the next run ended with {restarted}"]
        found = outputs(home)
        differing = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
        return [*(f"{name} differs" for name in differing), *disorder(home)]

    def _copied(self, home: Path, name: str) -> Path:
        copy = self.folder / "snapshots" / name
        if home.exists():
            shutil.copytree(home, copy)
        return copy


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
    """Import everything that a run needs, once, and make the report of the smoke profile smaller."""
    import moola_pipeline.cli.run
    import moola_pipeline.definitions
    import moola_pipeline.evaluation.all_scores
    import moola_pipeline.evaluation.scoring
    import moola_pipeline.evaluation.sections
    import moola_pipeline.report.html
    import moola_pipeline.staleness.plan
    import moola_pipeline.training.pretrain  # noqa: F401
    from moola_pipeline import settings

    smoke = settings.PROFILES["smoke"]
    report = smoke.report.model_copy(update={"resamples": 100, "gallery_windows": 0})
    settings.PROFILES["smoke"] = smoke.model_copy(update={"report": report})


def _cases(options: argparse.Namespace, seconds: float) -> Iterator[Case]:
    if options.full or options.points:
        yield from matrix()
    rng = np.random.default_rng(options.seed)
    for after in rng.uniform(0.0, seconds, options.random if not options.full else 50):
        yield Case("raw_nq_bars", None, float(after))


def main() -> int:
    """Run the suite; return 1 if a run lost anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help="kill at every point with every signal, and at 50 random times"
    )
    parser.add_argument("--points", action="store_true", help="kill at every point with every signal")
    parser.add_argument("--random", type=int, default=0, help="number of kills at random times")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random times")
    parser.add_argument(
        "--skip", type=int, default=0, help="number of cases to skip, to resume an interrupted suite"
    )
    options = parser.parse_args()
    began, lost, n_points, n_random = time.monotonic(), [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        harness = Harness(Path(folder))
        from moola_pipeline.storage.home import Home
        from moola_pipeline_tests.outputs import disorder, outputs

        whole = Home(Path(folder) / "undisturbed")
        started = time.monotonic()
        if code := harness.run(whole.root):
            sys.exit(
                f"an uninterrupted run ended with {code}: {(Path(folder) / 'log.txt').read_text()[-2000:]}"
            )
        seconds, expected = time.monotonic() - started, outputs(whole)
        if wrong := disorder(whole):
            sys.exit(f"an uninterrupted run left {wrong}")
        snapshots = harness.snapshots()
        if outputs(Home(snapshots["done"])) != expected:
            lost.append("killed before each stage")
        click.echo(f"uninterrupted {seconds:.1f} s; snapshots {time.monotonic() - started - seconds:.1f} s")
        for case in islice(_cases(options, seconds), options.skip, None):
            try:
                wrong = harness.prove(case, snapshots[case.snapshot], expected)
            except TimeoutError as error:
                wrong = [str(error)]
            n_points, n_random = n_points + bool(case.crash), n_random + (not case.crash)
            click.echo(f"{'LOST' if wrong else 'ok  '} {case.name} {'; '.join(wrong)}")
            lost += [case.name] if wrong else []
            record(
                f"kills at named points and at random times: after {options.skip}",
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
