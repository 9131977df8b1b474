"""The report: its JSON contract, its sentences, its summary, its page."""

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from moola_pipeline.evaluation import svg
from moola_pipeline.evaluation.bootstrap import Interval
from moola_pipeline.evaluation.candles import candle_picture
from moola_pipeline.evaluation.charts import loss_picture
from moola_pipeline.evaluation.report import (
    GalleryWindow,
    LossCurve,
    LossCurves,
    ReportData,
    render_html,
    summary_lines,
)
from moola_pipeline.evaluation.report_data import Check, DataFacts, RunFacts, Score
from moola_pipeline.evaluation.verdict import standing, verdict
from moola_pipeline.windows.frame import WINDOW_BARS

BREAK = "\N{ZERO WIDTH SPACE}"
CONTRACT = {"data", "device", "profile", "metrics", "baselines", "peers", "ceiling", "checks"}


def score(estimate: float, half: float = 0.07, n: int = 147) -> Score:
    return Score(estimate=estimate, low=estimate - half, high=estimate + half, n=n)


def scores(type_f1: float, event_f1: float, aucpr: float) -> dict[str, Score]:
    return {
        "type_f1_macro": score(type_f1),
        "event_f1_macro": score(event_f1),
        "aucpr_retracement": score(aucpr),
    }


def report_data(**changes) -> ReportData:
    made = {
        "data": DataFacts(
            simulated=True,
            sha256="ab" * 32,
            looks_at_test=3,
            labels_sha256="cd" * 32,
            labels_note="The labels were made by a fixed written procedure, not by a person.",
        ),
        "device": "cpu",
        "profile": "demo",
        "metrics": scores(0.74, 0.46, 0.71) | {"event_f1_untyped": score(0.6), "ece": score(0.05, 0.02)},
        "baselines": {"majority": scores(0.39, 0.0, 0.35), "position_only": scores(0.47, 0.12, 0.38)},
        "peers": {
            "logistic_summaries": scores(0.8, 0.44, 0.78),
            "extra_trees_closes": scores(0.71, 0.4, 0.7),
            "minirocket_closes": scores(0.76, 0.41, 0.74),
            "rule_logistic_summaries": {"event_f1_macro": score(0.48)},
            "scratch": scores(0.73, 0.42, 0.7),
        },
        "ceiling": {"event_f1_macro": score(0.67)},
        "checks": {
            "bars_match_manifest": Check(passed=True, kind="integrity", value="5 of 5 files", limit="all"),
            "no_leakage": Check(passed=True, kind="integrity", value=0, limit=0),
            "target_f1": Check(passed=False, kind="score", value=0.74, limit=0.75),
            "beats_baselines": Check(passed=True, kind="score", value=0.2, limit=0.0),
        },
        "run": RunFacts(
            run_id="9f3c2b7a",
            created_at=datetime(2025, 7, 1, 12, 30, tzinfo=UTC),
            model_version="4",
            code_version="200949e",
            settings={"pretrain": {"epochs": 10}, "finetune": {"batch": 32}},
        ),
        "seeds": [0, 1, 2],
    }
    return ReportData(**(made | changes))


def gallery_window(rng: np.random.Generator, **changes) -> GalleryWindow:
    close = 20_000 + np.round(rng.normal(0, 4, WINDOW_BARS).cumsum() * 4) / 4
    opened = np.concatenate([[20_000], close[:-1]])
    wick = np.abs(np.round(rng.normal(0, 2, (2, WINDOW_BARS)) * 4) / 4)
    made = {
        "window_id": "w0042",
        "session": "2025-04-03",
        "started_at": "2025-04-03 14:05 UTC",
        "open": opened,
        "high": np.maximum(opened, close) + wick[0],
        "low": np.minimum(opened, close) - wick[1],
        "close": close,
        "truth": [(44, 52, "retracement", 1)],
        "predicted": [(45, 51, "retracement", 1, 0.83), (70, 75, "consolidation", -1, 0.4)],
    }
    return GalleryWindow(**(made | changes))


def made_curves() -> LossCurves:
    falling = [1.0, 0.7, 0.55, 0.5]
    curves = [LossCurve(seed, falling, [loss + 0.1 * (seed + 1) for loss in falling]) for seed in range(3)]
    return LossCurves(pretraining=curves[:1], finetuning=curves)


class Page(HTMLParser):
    """Text, tags and addresses of a page; checks that every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.addresses: list[str] = []
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.texts).replace(f" {BREAK} ", ""))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag == "wbr":
            self.texts.append(BREAK)
        elif tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)


def test_intervals_decide_where_a_model_stands():
    model = Score(estimate=0.7, low=0.6, high=0.8, n=10)
    assert standing(model, score(0.4, 0.1)) == "above"
    assert standing(model, score(0.65, 0.1)) == "level with"
    assert standing(model, score(0.95, 0.05)) == "below"


def test_a_paired_difference_decides_before_the_two_intervals():
    model, other = score(0.7, 0.1), score(0.65, 0.1)
    assert standing(model, other) == "level with"
    assert standing(model, other, Score(estimate=0.05, low=0.01, high=0.09, n=10)) == "above"
    assert standing(model, other, Score(estimate=-0.05, low=-0.09, high=-0.01, n=10)) == "below"


def test_nothing_is_claimed_without_bounds():
    assert standing(Score(estimate=0.7, low=None, high=None, n=10), score(0.1)) is None


def test_verdict_is_computed_from_the_numbers():
    type_sentence, event_sentence, checks_sentence = verdict(report_data())
    assert type_sentence == (
        "Told where an expansion is, the model names its type with macro F1 0.74 "
        "(95 % interval 0.67 to 0.81, n = 147): above the best baseline (position_only, 0.47); "
        "not told apart from the best peer (logistic_summaries, 0.80)."
    )
    assert "rule_logistic_summaries, 0.48" in event_sentence
    assert "second pass reaches 0.67" in event_sentence
    assert checks_sentence == (
        "Of the checks, 2 of 2 integrity checks passed and 1 of 2 score checks passed: "
        "target_f1 failed, so this version replaces no champion."
    )


def test_verdict_says_when_a_peer_is_better():
    better = {"logistic_summaries": {"type_f1_macro": score(0.95)}}
    assert "below the best peer (logistic_summaries, 0.95)" in verdict(report_data(peers=better))[0]


def test_verdict_distrusts_numbers_behind_a_failed_integrity_check():
    broken = {"no_leakage": Check(passed=False, kind="integrity", value=2, limit=0)}
    assert "no_leakage failed, so these numbers cannot be trusted" in verdict(report_data(checks=broken))[2]


def test_verdict_names_what_is_missing():
    sentences = verdict(report_data(metrics={}, baselines={}, peers={}, checks={}))
    assert sentences[0] == "Type F1, macro was not measured."
    assert sentences[2] == "No check was recorded, so nothing vouches for these numbers."
    assert "no baseline was scored; no peer was scored" in verdict(report_data(baselines={}, peers={}))[0]


def test_json_keeps_the_contract_and_comes_back_whole():
    data = report_data()
    text = data.model_dump_json()
    assert set(json.loads(text)) >= CONTRACT
    assert set(json.loads(text)["metrics"]["type_f1_macro"]) == {"estimate", "low", "high", "n"}
    assert set(json.loads(text)["checks"]["target_f1"]) == {"passed", "kind", "value", "limit"}
    assert ReportData.model_validate_json(text) == data


def test_an_undefined_number_is_null_in_json():
    undefined = Score(estimate=float("nan"), low=float("nan"), high=float("inf"), n=0)
    assert json.loads(undefined.model_dump_json()) == {"estimate": None, "low": None, "high": None, "n": 0}


def test_an_interval_of_the_bootstrap_is_taken_as_a_score():
    data = report_data(metrics={"type_f1_macro": Interval(0.7, 0.6, float("nan"), 147)})
    assert data.metrics["type_f1_macro"] == Score(estimate=0.7, low=0.6, high=None, n=147)


def test_an_unknown_key_is_refused():
    with pytest.raises(ValidationError, match="accuracy"):
        report_data(accuracy=0.7)


def test_summary_puts_each_score_beside_its_best_rivals():
    lines = summary_lines(report_data())
    assert lines[0].startswith("SIMULATED")
    cells = ["Type F1, macro", "0.74 [0.67, 0.81] n=147", "0.47 position_only", "0.80 logistic_summaries"]
    assert re.split(r"  +", lines[2]) == [*cells, "–"]
    assert lines[-2] == "Failed: target_f1 (0.74, limit 0.75)."
    assert lines[-1] == "The test rows have been scored by 3 model versions."


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=120), st.booleans(), max_size=12))
def test_summary_fits_a_terminal_whatever_the_names(names: dict[str, bool]):
    checks = {
        name: Check(passed=passed, kind="score", value=0.123456, limit=1) for name, passed in names.items()
    }
    peers = {name: scores(0.5, 0.5, 0.5) for name in names}
    assert max(map(len, summary_lines(report_data(checks=checks, peers=peers)))) <= 100


def test_page_is_whole_offline_and_small(rng: np.random.Generator):
    html = render_html(report_data(), [gallery_window(rng) for _ in range(40)], made_curves())
    page = Page(html)
    assert page.open == []
    assert page.addresses == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "url(" not in html and "@import" not in html
    assert len(html.encode()) < 2_000_000


def test_page_shows_every_number_of_the_contract(rng: np.random.Generator):
    data = report_data()
    text = Page(render_html(data, [gallery_window(rng)], made_curves())).text
    for name in [*data.baselines, *data.peers, *data.checks, "event_f1_untyped", "ece", "w0042"]:
        assert name in text
    for sentence in verdict(data):
        assert sentence in text
    assert "0.74 0.67 to 0.81 n 147" in text
    assert "✗ FAILED" in text and "SIMULATED" in text
    assert data.data.sha256 in text and str(data.data.labels_sha256) in text
    assert str(data.data.labels_note) in text


def test_page_on_registered_bars_carries_no_banner():
    facts = DataFacts(simulated=False, sha256="00", looks_at_test=1)
    assert "SIMULATED" not in render_html(report_data(data=facts), [], LossCurves())


def test_page_without_gallery_and_losses_says_so():
    text = Page(render_html(report_data(), [], LossCurves())).text
    assert text.count("No loss was recorded.") == 2
    assert "No window was drawn." in text


def test_every_text_is_escaped(rng: np.random.Generator):
    hostile = "<script>alert('x')</script>&"
    window = gallery_window(
        rng,
        window_id=hostile,
        session=hostile,
        truth=[(3, 5, hostile, 1)],
        predicted=[(3, 5, hostile, -1, 0.5)],
    )
    data = report_data(
        device=hostile,
        profile=hostile,
        peers={hostile: scores(0.9, 0.9, 0.9)},
        checks={hostile: Check(passed=False, kind="score", value=hostile, limit=hostile)},
    )
    html = render_html(data, [window], LossCurves())
    page = Page(html)
    assert "<script" not in html
    assert "script" not in page.tags
    assert page.open == []
    assert hostile in page.text


def test_candles_are_drawn_where_the_prices_lie():
    flat = np.full(WINDOW_BARS, 100.0)
    close = flat.copy()
    close[10] = 110.0
    window = gallery_window(
        np.random.default_rng(0), open=flat, high=close, low=flat, close=close, truth=[], predicted=[]
    )
    drawn = ElementTree.fromstring(candle_picture(window))
    rise = next(path for path in drawn.iter("path") if path.get("class") == "rise")
    bodies = re.findall(r"M([\d.]+) ([\d.]+)h.7V([\d.]+)", str(rise.get("d")))
    assert len(bodies) == WINDOW_BARS
    left, bottom, top = map(float, bodies[10])
    assert left == 10.15
    assert bottom - top == pytest.approx(170 / 1.06, abs=0.2)
    assert not next(path for path in drawn.iter("path") if path.get("class") == "fall").get("d")


def test_an_expansion_is_shaded_from_its_first_bar_through_its_last(rng: np.random.Generator):
    drawn = ElementTree.fromstring(candle_picture(gallery_window(rng)))
    boxes = [rect for rect in drawn.iter("rect") if rect.get("class") == "truth box"]
    assert [(box.get("x"), box.get("width")) for box in boxes] == [
        (svg.percent(44 / WINDOW_BARS), svg.percent(9 / WINDOW_BARS))
    ]
    names = [text.text for text in drawn.iter("text") if (text.get("class") or "").startswith("name")]
    assert names == ["retracement ↑", "retracement ↑ 0.83", "consolidation ↓ 0.40"]


def test_labels_of_neighboring_expansions_stand_in_rows_of_their_own(rng: np.random.Generator):
    crowded = [(first, first + 4, "consolidation", 1) for first in (30, 36, 42, 90)]
    drawn = ElementTree.fromstring(candle_picture(gallery_window(rng, truth=crowded, predicted=[])))
    heights = [text.get("y") for text in drawn.iter("text") if (text.get("class") or "").startswith("name")]
    assert len(set(heights[:3])) == 3
    assert heights[3] == heights[0]


def test_losses_leave_out_what_is_not_a_number():
    curve = LossCurve(seed=0, train=[2.0, float("nan"), 1.0], validation=[float("inf"), 3.0, 2.5])
    drawn = ElementTree.fromstring(loss_picture([curve], "Pretraining") or "")
    points = [len(str(line.get("points")).split()) for line in drawn.iter("polyline")]
    assert points == [2, 2]
    assert len(list(drawn.iter("circle"))) == 1


def test_a_training_of_one_epoch_is_drawn():
    drawn = ElementTree.fromstring(loss_picture([LossCurve(0, [0.0], [0.0])], "Fine-tuning") or "")
    assert [circle.get("cx") for circle in drawn.iter("circle")] == ["50.00%"]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 8))
def test_ticks_are_few_even_and_inside(low: float, span: float, at_most: int):
    ticks = svg.round_ticks(low, low + span, at_most)
    assert 1 <= len(ticks) <= at_most
    assert ticks.min() >= low - 1e-6 * span and ticks.max() <= low + span * (1 + 1e-6)
    assert np.allclose(np.diff(ticks), np.diff(ticks)[0] if len(ticks) > 1 else 0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
