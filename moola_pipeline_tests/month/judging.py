"""Windows judged through the messages of the labeler's page."""

import json
import urllib.error
import urllib.request
from typing import Any

from moola_pipeline_tests.month.moves import require

TAB = "tab-of-the-month"
MARKS = {"spans": [{"start": 41, "end": 52, "type": "retracement"}], "verdict": None}


class Judge:
    """An annotator at the page of a labeler.

    Attributes:
        saved: Names of the windows that were acknowledged as saved.
    """

    def __init__(self, link: str) -> None:
        self.link = link
        self.saved: list[str] = []

    def judge(self) -> str:
        """Mark and save the window on the page; the labeler's refusal, or nothing.

        A page that was refused shows the present state when it is opened again.
        """
        page = self._send({"kind": "open", "take_over": True})
        if "error" in page:
            return page["error"]
        window = page["window"]["name"]
        for message in ({"kind": "mark", "marks": MARKS}, {"kind": "save", "seconds": 9.5, "context": []}):
            page = self._send({**message, "revision": page["revision"], "window": window})
            if "error" in page:
                return page["error"]
        require(page["window"]["name"] != window, f"the page must go on after {window}, but it stayed")
        self.saved.append(window)
        return ""

    def _send(self, message: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"tab": TAB, **message}).encode()
        request = urllib.request.Request(f"{self.link}message", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            return json.load(refusal)
