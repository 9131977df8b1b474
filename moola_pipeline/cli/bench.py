"""`moola bench`: how lifelike the simulated market is, and how fast the pipeline is, measured now."""

from datetime import UTC, datetime
from pathlib import Path

import click

from moola_pipeline.bars.store import BarStore
from moola_pipeline.cli.output import emit, json_option
from moola_pipeline.errors import BadInput
from moola_pipeline.home import Home


@click.group(invoke_without_command=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write a page such as docs/benchmarks.md.")
@json_option
@click.pass_context
def bench(context: click.Context, out: Path | None, as_json: bool) -> None:
    """Time import, proof, features, windows, a scan and training, on 1.8M simulated bars."""
    if context.invoked_subcommand is not None:
        return
    from moola_pipeline.bench.speed import AIM_MB, MOST_MB, measure_speed, speed_lines, speed_page
    from moola_pipeline.publish import publish_bytes

    _require_markdown(out)
    report = measure_speed()
    if out is not None:
        publish_bytes(out, speed_page(report).encode())
    facts = report._asdict() | {
        "timings": {name: it._asdict() for name, it in report.timings.items()},
        "loops": [
            {**it._asdict(), "ratio": it.ratio, "loader_ratio": it.loader_ratio} for it in report.loops
        ],
        "memory": {**report.memory._asdict(), "rise": report.memory.rise, "floor": MOST_MB, "goal": AIM_MB},
    }
    emit(facts | {"gpu": None}, [*speed_lines(report), *([f"written to {out}"] if out else [])], as_json)


@bench.command()
@click.option("--out", type=click.Path(path_type=Path), help="Write a page such as docs/simulated_market.md.")
@json_option
@click.pass_obj
def market(home: Home, out: Path | None, as_json: bool) -> None:
    """Compare the simulated market with the registered bars, figure by figure."""
    from moola_pipeline.bench.market_page import compare_markets, market_lines, market_page
    from moola_pipeline.publish import publish_bytes

    _require_markdown(out)
    found = compare_markets(BarStore(home.data, simulated=False))
    if out is not None:
        publish_bytes(out, market_page(found, _today()).encode())
    facts = {**found._asdict(), "rule": found.rule.model_dump()}
    emit(facts, [*market_lines(found), *([f"written to {out}"] if out else [])], as_json)


@bench.command()
@click.option("--out", type=click.Path(path_type=Path), help="Write a page such as docs/features.md.")
@json_option
@click.pass_obj
def features(home: Home, out: Path | None, as_json: bool) -> None:
    """Measure density and spread of every feature, simulated and registered."""
    from moola_pipeline.bench.feature_page import feature_facts, feature_lines, feature_page, measure_features
    from moola_pipeline.publish import publish_bytes

    _require_markdown(out)
    found = measure_features(BarStore(home.data, simulated=False))
    if out is not None:
        publish_bytes(out, feature_page(found, _today()).encode())
    emit(feature_facts(found), [*feature_lines(found), *([f"written to {out}"] if out else [])], as_json)


def _require_markdown(out: Path | None) -> None:
    if out is not None and out.suffix != ".md":
        raise BadInput(f"--out must end in .md, got {out.name}. Name a Markdown file.")


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"
