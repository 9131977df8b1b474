"""What was measured of the speed, for the terminal and as the page docs/benchmarks.md."""

from typing import Any

from moola_pipeline.benchmarks.job import JobReport, job_lines, job_page
from moola_pipeline.benchmarks.measured_process import BATCH_WINDOWS
from moola_pipeline.benchmarks.speed import AIM_MB, MAX_MB, MEASURED, PLAIN_WAYS, SpeedReport
from moola_pipeline.benchmarks.step_memory import steps_lines, steps_page
from moola_pipeline.benchmarks.training_speed import training_lines, training_page

COMMAND = "moola bench --out docs/benchmarks.md"
NO_GPU = "Not measured on a GPU: there is none here; where there is one, the same command measures it, too"


def speed_facts(report: SpeedReport, job: JobReport | None) -> dict[str, Any]:
    """All of it as plain values."""
    training = [
        {
            "work": each.work,
            "device": each.device,
            "largest_that_pays": each.best.windows,
            "sizes": [
                {
                    **one._asdict(),
                    "ratio": one.ratio,
                    "loader_ratio": one.loader_ratio,
                    "windows_a_second": one.windows_a_second,
                }
                for one in each.sizes
            ],
        }
        for each in report.training
    ]
    memory = {**report.memory._asdict(), "rise": report.memory.rise, "floor": MAX_MB, "goal": AIM_MB}
    timings = {name: it._asdict() for name, it in report.timings.items()}
    found = {
        "timings": timings,
        "training": training,
        "memory": memory,
        "steps": [it._asdict() for it in report.steps],
    }
    return report._asdict() | found | {"job": job and _job_facts(job)}


def _job_facts(job: JobReport) -> dict[str, Any]:
    stages = {
        one.asset: {"seconds": one.seconds, "peak_mb": one.peak_mb, "cpu_percent": one.cpu_percent}
        for one in job.stages
    }
    return {**job._asdict(), "stages": stages}


def speed_lines(report: SpeedReport, job: JobReport | None) -> list[str]:
    """One line a figure, for the terminal."""
    lines = [f"{report.machine}, {report.measured_at}; {report.n_bars:,} bars; {report.gpu or 'no GPU here'}"]
    for name, timing in report.timings.items():
        judged = _judged(timing.seconds, timing.floor, timing.goal, "s")
        lines.append(f"{MEASURED[name]:58}{timing.seconds:9.3f} s{f'  ({judged})' if judged else ''}")
    memory = f"{report.memory.rise:9.0f} MB  ({_judged(report.memory.rise, MAX_MB, AIM_MB, 'MB')})"
    return [
        *lines,
        f"{'memory of bars, features and windows, at its peak':58}{memory}",
        f"{f'windows gathered in batches of {BATCH_WINDOWS}':58}{report.windows_a_second:9,.0f} a second",
        f"{'windows scanned for expansions':58}{report.scanned_a_second:9,.0f} a second",
        *training_lines(report.training),
        *steps_lines(report.steps),
        *(f"{name:58}{ratio:9.1f} times" for name, ratio in report.ratios.items()),
        *job_lines(job),
    ]


def speed_page(report: SpeedReport, job: JobReport | None = None, command: str = COMMAND) -> str:
    """The page of docs, in Markdown; `command` is the one that writes it."""
    rows = [
        f"| {MEASURED[name]} | {it.seconds:.3f} | {it.repeats} | "
        f"{_judged(it.seconds, it.floor, it.goal, 's')} |"
        for name, it in report.timings.items()
    ]
    memory, each = report.memory, report.microseconds_a_bar
    stored = report.ratios["loading a stored table over computing it from bars"]
    return "\n".join(
        (
            "# Benchmarks",
            "",
            f"Written by `{command}`, {report.measured_at}, on {report.machine}. {report.gpu or NO_GPU}. "
            "Where nothing else is said it is work of the processor, on one core. Other programs may have "
            "run beside it: ratios were taken in turns, seconds are as high as the load made them.",
            "",
            f"{report.n_bars:,} simulated one-minute bars; wall seconds, the best of the repeats, one run.",
            "",
            "| work | seconds | repeats | floor and goal |",
            "|---|---|---|---|",
            *rows,
            "",
            "| ratio | times |",
            "|---|---|",
            *(f"| {name} | {ratio:.1f} |" for name, ratio in report.ratios.items()),
            "",
            f"A bar takes {each['features']:.3f} us; in the plain ways, in the order above, "
            f"{', '.join(f'{each[way]:.2f}' for way in PLAIN_WAYS.values())} us. The pandas version has "
            "features 1-6 and the structural set, the streaming loop features 1-6, the rebuilt windows what "
            "pandas has; none has swings. They do less than the feature table, so these ratios are lower "
            "bounds.",
            "",
            "Compiling happens once on a machine and after a change of the code; the result is cached "
            "beside the code.",
            "",
            f"**Memory.** A process of its own that reads the bars, computes the features, tiles the windows "
            f"and gathers each of them in batches of {BATCH_WINDOWS} rises by {memory.rise:.0f} MB at its "
            f"peak, from {memory.before:.0f} MB with the code loaded "
            f"({_judged(memory.rise, MAX_MB, AIM_MB, 'MB')}). Windows are an index: gathering copies one "
            f"batch at a time, {report.windows_a_second:,.0f} windows a second.",
            "",
            f"**A scan.** A network of the usual size, its weights drawn at random, reads the windows of all "
            f"bars on two cores in {report.timings['scan'].seconds:.1f} s, features included: "
            f"{report.scanned_a_second:,.0f} windows a second.",
            "",
            *training_page(report.training),
            *steps_page(report.steps),
            *job_page(job),
            "**What is stored.** The asset keeps what the feature table is made from, and not the table: to "
            f"load one, its SHA256 proven, takes {stored:.1f} times as long as to load the bars, their "
            "digest proven, and compute it. Features whose bars or code have changed since are refused.",
            "",
        )
    )


def _judged(value: float, floor: float | None, goal: float | None, unit: str) -> str:
    """Whether a value keeps its floor and reaches its goal, in words; empty where it has neither."""
    if floor is None:
        return ""
    words = f"floor {floor:g} {unit}: {'kept' if value <= floor else 'MISSED'}"
    if goal is None:
        return words
    return f"{words}; goal {goal:g} {unit}: {'reached' if value <= goal else 'not reached'}"
