"""The JSON contract of the report, and its HTML page."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from pydantic import ValidationError

from moola_pipeline.metrics.bootstrap import Interval
from moola_pipeline.report.data import Check, DataFacts, Score
from moola_pipeline.report.html import LossCurves, ReportData, render_html
from moola_pipeline.report.metric_catalog import PARTS, method_name, metric
from moola_pipeline.report.verdict import verdict
from moola_pipeline_tests.report.reports import (
    full_report,
    gallery_window,
    made_curves,
    minimal_report,
    report_data,
    scores,
)

BREAK = "\N{ZERO WIDTH SPACE}"
CONTRACT = {
    "data",
    "device",
    "profile",
    "metrics",
    "trivial_baselines",
    "baselines",
    "ablations",
    "second_pass",
    "checks",
}
VOID = {"meta", "link", "br", "img", "input", "hr"}
SECTIONS = {
    "verdict",
    "detection",
    "identification",
    "onset",
    "comparison",
    "groups",
    "truth",
    "prior",
    "gallery",
    "training",
    "checks",
    "missing",
    "provenance",
}


@pytest.fixture(scope="module")
def full_html() -> str:
    rng = np.random.default_rng(7)
    gallery = [gallery_window(rng, rank=rank, note="1 found") for rank in ("best", "worst", None)]
    return render_html(full_report(), gallery, made_curves())


@pytest.fixture(scope="module")
def minimal_html() -> str:
    return render_html(minimal_report(), [], LossCurves())


class Page(HTMLParser):
    """Text, tags and addresses of a page; fails if a tag is closed out of order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.folded: set[str] = set()
        self.headings: list[str] = []
        self.texts: list[str] = []
        self.addresses: list[str] = []
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.texts).replace(f" {BREAK} ", ""))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attrs)
        self.addresses += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "data")
        ]
        self.ids += [named["id"] or ""] if "id" in named else []
        if tag == "details":
            self.folded.add(named.get("id") or "")
            assert "open" not in named
        if tag == "wbr":
            self.texts.append(BREAK)
        elif tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)
            self.headings += [data] if self.open[-1] in ("h2", "h3") else []


def test_json_keeps_the_contract_and_comes_back_whole():
    for data in (full_report(), minimal_report()):
        text = data.model_dump_json()
        assert set(json.loads(text)) >= CONTRACT
        assert ReportData.model_validate_json(text) == data
    assert set(json.loads(text)["metrics"]["type_f1_macro"]) == {"estimate", "low", "high", "n"}


def test_an_undefined_number_is_null_in_json():
    undefined = Score(estimate=float("nan"), low=float("nan"), high=float("inf"), n=0)
    assert json.loads(undefined.model_dump_json()) == {"estimate": None, "low": None, "high": None, "n": 0}


def test_a_bootstrap_interval_is_accepted_as_a_score():
    data = report_data(metrics={"type_f1_macro": Interval(0.7, 0.6, float("nan"), 147)})
    assert data.metrics["type_f1_macro"] == Score(estimate=0.7, low=0.6, high=None, n=147)


def test_an_unknown_key_is_refused():
    with pytest.raises(ValidationError, match="accuracy"):
        report_data(accuracy=0.7)


@pytest.mark.parametrize("made", ["full_html", "minimal_html"])
def test_the_page_is_whole_offline_and_has_no_script(made: str, request: pytest.FixtureRequest):
    html = request.getfixturevalue(made)
    page = Page(html)
    assert page.open == []
    assert page.addresses == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?://|@font-face", html)
    assert len(page.ids) == len(set(page.ids))


@pytest.mark.parametrize("made", ["full_html", "minimal_html"])
def test_undefined_values_are_not_printed_as_nan_or_none(made: str, request: pytest.FixtureRequest):
    html = request.getfixturevalue(made)
    assert not re.search(r"\b(nan|None|NaN|inf|undefined variable)\b", html)


def test_a_page_with_40_windows_is_smaller_than_2_mb(rng: np.random.Generator):
    html = render_html(full_report(), [gallery_window(rng) for _ in range(40)], made_curves())
    assert len(html.encode()) < 2_000_000


def test_every_name_and_digest_of_the_report_is_on_the_page(full_html: str):
    data, text = full_report(), Page(full_html).text
    for name in (*data.trivial_baselines, *data.baselines, *data.ablations, *data.checks, *data.metrics):
        assert name in text
    for name in (*data.trivial_baselines, *data.baselines):
        assert method_name(name) in text
    for name in (*data.metrics, *data.details.by_seed):
        assert metric(name).title in text
    for groups in data.details.breakdowns.values():
        assert all(group in text for group in groups)
    assert data.data.sha256 in text and str(data.data.labels_sha256) in text
    assert str(data.data.labels_note) in text and data.run.run_id in text


def test_the_first_screen_holds_verdict_target_table_and_two_charts(full_html: str):
    data = full_report()
    above = full_html.partition("<main>")[0]
    front = Page(above).text
    assert "SIMULATED bars and labels" in front
    assert "NOT MET" in front and "✗" in front
    assert all(answer.short in front for answer in verdict(data))
    assert "0.74 [0.67, 0.81] n 147 expansions" in front
    assert "−0.06 [−0.14, 0.02] no difference shown, p 0.31" in front
    assert "the best was chosen on time folds before the test, not by its test score" in front
    assert above.count('<svg class="drawing"') == 2
    assert above.count("<table") == 1
    assert "Found right" in front and "Found wrong" in front


def test_below_the_first_screen_pictures_come_before_tables(full_html: str):
    below = full_html.partition("<main>")[2]
    unfolded = below.partition("<details")[0]
    assert unfolded.count('<svg class="drawing"') == 7
    assert "<table" not in unfolded
    assert below.index("How this was measured") < below.index("<details")


def test_how_it_was_measured_states_n_seeds_comparisons_and_looks(full_html: str):
    shown = Page(full_html.partition('<section class="protocol">')[2].partition("</section>")[0]).text
    for text in (
        "147 expansions (type F1) and 147 windows (event F1)",
        "mean over seeds 0, 1, 2",
        "7 baselines, 7 trivial baselines and 3 ablations",
        "P-values after Holm: type F1 0.31, event F1 0.64",
        "95 %, bootstrap over trading sessions",
        "3 model versions, including this one, scored on the test rows",
        "2 of 2 integrity checks passed",
    ):
        assert text in shown


def test_the_verdict_in_full_is_folded(full_html: str):
    folded = Page(full_html.partition('<details id="verdict">')[2].partition("</details>")[0]).text
    assert all(answer.sentence in folded for answer in verdict(full_report()))


def test_everything_else_is_folded(full_html: str):
    assert Page(full_html).folded == SECTIONS


def test_a_method_without_a_headline_score_is_named_below_the_table(full_html: str):
    text = Page(full_html).text
    assert "Trivial baselines with other scores only: always the training share (training_share)." in text
    assert "Baselines with other scores only" not in text


def test_ground_truth_scores_of_model_and_labels_are_in_one_table(full_html: str):
    truth = Page(full_html.partition('<details id="truth">')[2].partition("</details>")[0]).text
    assert "Simulated ground truth How many of the simulated expansions does the model find?" in truth
    assert "Moola 0.38 [0.31, 0.45] n 147 0.52 [0.45, 0.59] n 147 0.77 [0.70, 0.84] n 79" in truth
    assert "labels 0.66 [0.59, 0.73] n 147" in truth
    assert "AUCPR" not in truth


def test_the_stress_test_has_the_kept_and_the_re_estimated_prior(full_html: str):
    shown = Page(full_html.partition('<details id="prior">')[2].partition("</details>")[0])
    rows = ("prior kept", "prior re-estimated", "at 23 %, prior kept", "at 23 %, prior re-estimated")
    places = [shown.text.index(f" {row} 0.78 [0.71, 0.85] n 79") for row in rows]
    assert places == sorted(places)
    assert shown.text.count("0.14 [0.07, 0.21]") == 4


def test_an_empty_part_is_listed_as_not_measured_and_has_no_section(minimal_html: str):
    page = Page(minimal_html)
    assert page.folded == {"verdict", "identification", "missing", "provenance"}
    missing = Page(minimal_html.partition('<details id="missing">')[2].partition("</details>")[0]).text
    for name in ("learning_curve", "delay_curve", "confusion", "calibration", "class_mix", "event_study"):
        assert f"{PARTS[name]} not part of this report" in missing
    for name in (
        "second_pass",
        "previous",
        "trivial_baselines",
        "baselines",
        "gallery",
        "breakdowns",
        "null",
    ):
        assert f"{PARTS[name]} not part of this report" in missing
    assert "<figure" not in minimal_html
    assert not re.search(r"<tbody>\s*</tbody>|<dl>\s*</dl>", minimal_html)


def test_a_missing_part_has_its_reason(full_html: str):
    missing = full_html.partition('<details id="missing">')[2].partition("</details>")[0]
    assert "<dt>The same network, not pretrained</dt><dd>no network was trained from scratch</dd>" in missing


def test_a_single_seed_leaves_the_spread_unknown():
    text = Page(render_html(report_data(seeds=[0]), [], LossCurves())).text
    assert "this profile trains one seed, so the spread between seeds is unknown" in text
    assert "Scores by seed" not in text


def test_a_control_interval_without_zero_is_reported_as_a_leak():
    leaking = full_report().details.model_copy(update={"null": Score(estimate=0.2, low=0.1, high=0.3, n=9)})
    text = Page(render_html(report_data(details=leaking), [], LossCurves())).text
    assert "not consistent with zero: labels leak into the inputs" in text


def test_registered_bars_carry_no_banner():
    facts = DataFacts(simulated=False, sha256="00", looks_at_test=1)
    assert "SIMULATED" not in render_html(report_data(data=facts), [], LossCurves())


def test_windows_are_grouped_by_rank_with_their_notes(full_html: str):
    gallery = full_html.partition('<details id="gallery">')[2].partition("</details>")[0]
    page = Page(gallery)
    assert [heading for heading in page.headings if heading != "Charts of test windows"] == [
        "Best predictions",
        "Worst predictions",
        "Other test windows",
    ]
    assert page.text.count("1 found") == 3


def test_the_precision_follows_the_device():
    texts = {
        precision: Page(render_html(report_data(device="cuda", precision=precision), [], LossCurves())).text
        for precision in ("", "TF32")
    }
    assert "cuda, TF32" in texts["TF32"]
    assert "cuda" in texts[""] and "cuda," not in texts[""]


def test_every_text_is_escaped(rng: np.random.Generator):
    hostile = "<script>alert('x')</script>&"
    window = gallery_window(
        rng,
        window_id=hostile,
        session=hostile,
        note=hostile,
        truth=[(3, 5, hostile, 1)],
        predicted=[(3, 5, hostile, -1, 0.5)],
    )
    details = full_report().details.model_copy(update={"not_measured": {hostile: hostile}})
    data = report_data(
        device=hostile,
        profile=hostile,
        baselines={hostile: scores(0.9, 0.9, 0.9)},
        checks={hostile: Check(passed=False, kind="score", value=hostile, limit=hostile)},
        details=details,
    )
    html = render_html(data, [window], LossCurves())
    page = Page(html)
    assert "<script" not in html
    assert "script" not in page.tags
    assert page.open == []
    assert hostile in page.text


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
