"""The speed report, for the terminal and as the page docs/benchmarks.md."""

from typing import Any

from moola_pipeline.benchmarks.job import JobReport, core_seconds, job_lines, job_page, limit_verdict
from moola_pipeline.benchmarks.measured_process import BATCH_WINDOWS
from moola_pipeline.benchmarks.speed import AIM_MB, MAX_MB, MEASURED, PLAIN_WAYS, SpeedReport
from moola_pipeline.benchmarks.step_memory import steps_lines, steps_page
from moola_pipeline.benchmarks.training_speed import training_lines, training_page

COMMAND = "moola bench --out docs/benchmarks.md"
NO_GPU = (
    "Not measured on a GPU: this machine has none; on a machine with one, the same command measures it too"
)


def speed_facts(report: SpeedReport, job: JobReport | None) -> dict[str, Any]:
    """The report as plain values."""
    training = [
        {
            "work": each.work,
            "device": each.device,
            "largest_that_pays": each.best.windows,
            "sizes": [
                {
                    **speed._asdict(),
                    "ratio": speed.ratio,
                    "loader_ratio": speed.loader_ratio,
                    "windows_a_second": speed.windows_a_second,
                }
                for speed in each.sizes
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
        stage.asset: {"seconds": stage.seconds, "peak_mb": stage.peak_mb, "core_seconds": core_seconds(stage)}
        for stage in job.stages
    }
    return {**job._asdict(), "stages": stages}


def speed_lines(report: SpeedReport, job: JobReport | None) -> list[str]:
    """One line per figure, for the terminal."""
    lines = [f"{report.machine}, {report.measured_at}; {report.n_bars:,} bars; {report.gpu or 'no GPU'}"]
    for name, timing in report.timings.items():
        verdict = limit_verdict(timing.seconds, timing.floor, timing.goal, "s")
        lines.append(f"{MEASURED[name]:58}{timing.seconds:9.3f} s{f'  ({verdict})' if verdict else ''}")
    memory = f"{report.memory.rise:9.0f} MB  ({limit_verdict(report.memory.rise, MAX_MB, AIM_MB, 'MB')})"
    return [
        *lines,
        f"{'peak memory of bars, features and windows':58}{memory}",
        f"{f'windows gathered in batches of {BATCH_WINDOWS}':58}{report.windows_a_second:9,.0f} per second",
        f"{'windows scanned for expansions':58}{report.scanned_a_second:9,.0f} per second",
        *training_lines(report.training),
        *steps_lines(report.steps),
        *(f"{name:58}{ratio:9.1f} times" for name, ratio in report.ratios.items()),
        *job_lines(job),
    ]


def speed_page(report: SpeedReport, job: JobReport | None = None, command: str = COMMAND) -> str:
    """The page in docs, in Markdown; `command` writes it."""
    rows = [
        f"| {MEASURED[name]} | {it.seconds:.3f} | {it.repeats} | "
        f"{limit_verdict(it.seconds, it.floor, it.goal, 's')} |"
        for name, it in report.timings.items()
    ]
    memory, per_bar = report.memory, report.microseconds_a_bar
    stored = report.ratios["loading a stored table over computing it from bars"]
    return "\n".join(
        (
            "# Benchmarks",
            "",
            f"Written by `{command}`, {report.measured_at}, on {report.machine}. {report.gpu or NO_GPU}. "
            "Unless stated otherwise, the work runs on one CPU core. Other programs may have run at the same "
            "time: this raises the seconds, and hardly the ratios, which are measured in turns.",
            "",
            f"{report.n_bars:,} simulated one-minute bars; wall seconds, the best of the repeats, one run.",
            "",
            "| work | seconds | repeats | limit and goal |",
            "|---|---|---|---|",
            *rows,
            "",
            "| ratio | times |",
            "|---|---|",
            *(f"| {name} | {ratio:.1f} |" for name, ratio in report.ratios.items()),
            "",
            f"The feature table takes {per_bar['features']:.3f} us per bar; the alternatives, in the order "
            f"above, take {', '.join(f'{per_bar[way]:.2f}' for way in PLAIN_WAYS.values())} us. pandas and "
            "the rebuilt windows compute features 1-6 and the structural set, the streaming loop features "
            "1-6; none computes swings. They do less than the feature table, so these ratios are lower "
            "bounds.",
            "",
            "Compiling happens once per machine and after a code change; the result is cached next to the "
            "code.",
            "",
            "**Memory.** A separate process reads the bars, computes the features, tiles the windows and "
            f"gathers all of them in batches of {BATCH_WINDOWS}. Its memory rises by {memory.rise:.0f} MB at "
            f"the peak, from {memory.before:.0f} MB with the code loaded "
            f"({limit_verdict(memory.rise, MAX_MB, AIM_MB, 'MB')}). Windows are an index: gathering copies "
            f"one batch at a time, {report.windows_a_second:,.0f} windows per second.",
            "",
            "**Scan.** A network of the default size with random weights reads the windows of all bars on "
            f"two cores in {report.timings['scan'].seconds:.1f} s, features included: "
            f"{report.scanned_a_second:,.0f} windows per second.",
            "",
            *training_page(report.training),
            *steps_page(report.steps),
            *job_page(job),
            "**Stored features.** The asset does not store the feature table; it stores the digests of bars "
            f"and code. Loading a stored table and checking its SHA256 takes {stored:.1f} times as long as "
            "loading the bars, checking their digest and computing the table. If bars or code have changed "
            "since, the features are refused.",
            "",
        )
    )
