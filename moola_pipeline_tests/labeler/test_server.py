import json
from typing import Any

import pytest

from moola_pipeline.bars.store import registered_store
from moola_pipeline.labeler.messages import MAX_MESSAGE_BYTES
from moola_pipeline.labels.definitions import definition_texts
from moola_pipeline.labels.registry import registered_labels
from moola_pipeline_tests.labeler.served import TAB, Served

EMPTY: dict[str, Any] = {"spans": [], "verdict": None}
NOTHING: dict[str, Any] = {"spans": [], "verdict": "nothing"}


def marked(start: int, end: int, kind: str | None = "retracement") -> dict[str, Any]:
    return {"spans": [{"start": start, "end": end, "type": kind}], "verdict": None}


def test_a_window_is_opened_marked_saved_and_the_next_one_comes(served: Served, home):
    first = served.act("open")
    assert first["view"]["core"] == [30, 74]
    answer = served.act("mark", marks=marked(41, 46))
    assert answer["window"]["status"] == "draft"
    assert "view" not in answer
    saved = served.act("save", seconds=9.5, context=["5-minute", "15-minute"])
    assert saved["window"]["name"] != first["window"]["name"]
    assert "view" in saved
    assert sum(saved["progress"]["counts"].values()) == 1
    rows = registered_labels(registered_store(home).labels)
    assert rows["label"].tolist() == ["retracement"]
    (judgment,) = served.opened.session.journal.judgments
    assert judgment.context == "15-minute, 5-minute"


def test_the_page_does_not_learn_how_a_window_was_chosen(served: Served):
    answer = json.dumps(served.act("open"))
    assert not any(word in answer for word in ("random", "doubt", "repeat", "chosen"))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/page/app.js",
        "/state",
        "/token-of-a-tesX/",
        "/token-of-a-test2/state",
        "//state",
        "/%74oken/state",
    ],
)
def test_nothing_is_answered_without_the_token(served: Served, path: str):
    status, text, _ = served.get(path)
    assert status == 403
    assert text == "The link must hold the token of this start. Open the link that moola label printed.\n"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1:1", "localhost", "127.0.0.1.evil.example:80", ""]
)
def test_another_host_name_is_refused(served: Served, host: str):
    status, text, _ = served.get(f"/{served.token}/", host=host)
    assert status in (400, 403)
    assert "Moola" not in text


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_request_of_another_origin_is_refused(served: Served, headers: dict[str, str]):
    status, answer = served.send({"kind": "open", "tab": TAB}, **headers)
    assert (status, answer["error"]) == (403, "Requests must come from the labeler's own page.\n")


@pytest.mark.parametrize(
    "name",
    [
        "../server.py",
        "..%2fserver.py",
        "%2e%2e/server.py",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "page/app.js",
        "nothing.js",
        "__init__.py",
    ],
)
def test_no_path_from_the_page_reaches_a_file(served: Served, name: str):
    status, text, _ = served.get(f"/{served.token}/page/{name}")
    assert status in (403, 404)
    assert "import" not in text
    assert "root:" not in text


def test_every_answer_forbids_other_origins_and_scripts(served: Served):
    for path in ("", "page/app.js", "state", "missing"):
        _, _, headers = served.get(f"/{served.token}/{path}")
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"{", "A message must be as the page sends it"),
        (b"[]", "A message must be as the page sends it"),
        (b'{"kind": "delete"}', "A message must be as the page sends it"),
        (b'{"kind": "open", "tab": 5}', "tab"),
        (b'{"kind": "open", "tab": "12345678", "more": 1}', "more"),
        (b"\xff\xfe", "A message must be as the page sends it"),
        (b" " * (MAX_MESSAGE_BYTES + 1), "at most"),
        (b"[" * 60_000, "A message must be as the page sends it"),
    ],
)
def test_a_message_that_the_page_would_not_send_is_one_line(served: Served, message: bytes, said: str):
    status, answer = served.send(message)
    assert status == 400
    assert said in answer["error"]
    assert "\n" not in answer["error"]


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        (marked(29, 40), "greater than or equal to 30"),
        (marked(75, 80), "less than or equal to 74"),
        (marked(40, 105), "less than 105"),
        (marked(46, 41), "must end at bar 46 or later"),
        (marked(41, 46, "trend"), "consolidation"),
        ({"spans": marked(41, 46)["spans"], "verdict": "nothing"}, "must hold no expansion"),
        ({"spans": [*marked(41, 46)["spans"], *marked(45, 50)["spans"]], "verdict": None}, "border bar"),
        ({"spans": [{"start": 40.5, "end": 46, "type": None}], "verdict": None}, "integer"),
        ({"spans": [], "verdict": "perhaps"}, "nothing"),
    ],
)
def test_marks_outside_the_rules_are_refused_and_nothing_changes(served: Served, marks: dict, said: str):
    served.act("open")
    before = served.opened.session.revision
    message = {"kind": "mark", "tab": TAB, "revision": before, "window": served.opened.session.current}
    status, answer = served.send(message | {"marks": marks})
    assert status == 400
    assert said in answer["error"]
    assert served.opened.session.revision == before


def test_a_form_of_another_page_is_no_message(served: Served):
    body = json.dumps({"kind": "open", "tab": TAB}).encode()
    status, text, _ = served.request("POST", f"/{served.token}/message", body, {"content-type": "text/plain"})
    assert status == 400
    assert "application/json" in text


def test_a_second_tab_is_told_and_can_take_over(served: Served):
    served.act("open")
    status, answer = served.send({"kind": "open", "tab": "second-tab"})
    assert (status, answer["conflict"]) == (409, True)
    status, _ = served.send({"kind": "open", "tab": "second-tab", "take_over": True})
    assert status == 200
    message = {"kind": "mark", "tab": TAB, "revision": served.opened.session.revision, "marks": NOTHING}
    status, answer = served.send(message | {"window": served.opened.session.current})
    assert (status, answer["error"]) == (409, "Another tab has taken over.")


def test_a_tab_that_closes_or_falls_silent_leaves_room_for_another(served: Served, monkeypatch):
    served.act("open")
    served.send({"kind": "beat", "tab": TAB, "closing": True})
    assert served.send({"kind": "open", "tab": "second-tab"})[0] == 200
    monkeypatch.setattr("moola_pipeline.labeler.server.TAB_SECONDS", 0.0)
    assert served.send({"kind": "open", "tab": "third-tab"})[0] == 200


def test_a_page_that_is_out_of_date_is_told_and_changes_nothing(served: Served):
    served.act("open")
    stale = {"kind": "mark", "tab": TAB, "revision": served.opened.session.revision}
    stale |= {"window": served.opened.session.current, "marks": marked(50, 55)}
    served.act("mark", marks=marked(41, 46))
    status, answer = served.send(stale)
    assert (status, answer["conflict"]) == (409, True)
    assert served.opened.session.shown().marks.spans[0].start == 41


def test_a_definition_is_kept_from_the_page(served: Served, home):
    served.act("open")
    served.act("define", text="An expansion moves twice the ATR.")
    assert definition_texts(registered_store(home).labels) == {1: "An expansion moves twice the ATR."}


def test_the_models_marks_are_not_given_before_a_window_is_saved(served: Served):
    served.act("open")
    message = {"kind": "model", "tab": TAB, "revision": served.opened.session.revision}
    status, answer = served.send(message | {"window": served.opened.session.current})
    assert status == 400
    assert "after saving" in answer["error"]
