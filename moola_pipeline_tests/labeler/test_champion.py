"""What the labeler shows of a champion that a run has trained."""

from dataclasses import replace

from moola_pipeline.bars.store import registered_store
from moola_pipeline.cli.label import _champion
from moola_pipeline.labeler.marks import WindowMarks
from moola_pipeline.labeler.opening import LabelRequest, OpenedLabeler, open_labeler
from moola_pipeline.labels.registry import registered_judgments
from moola_pipeline.storage.home import Home
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST
from moola_pipeline_tests.labeler.served import NoRun

ANN = LabelRequest("ann")


def opened(home: Home, request: LabelRequest) -> OpenedLabeler:
    return open_labeler(home, request, NoRun(), lambda: _champion(home))


def test_a_review_proposes_the_champions_newest_marks_and_keeps_what_is_saved(registered_copy: Home):
    labeler = opened(registered_copy, replace(ANN, listed="review"))
    session, starts = labeler.session, []
    kept = session.shown().window
    assert kept.shows_model
    assert kept.before.spans
    assert all(CORE_FIRST <= span.start <= CORE_LAST and span.type for span in kept.before.spans)
    session.save(4.0, "5-minute")
    while session.current is not None and len(starts) < 3:
        starts.append(session.bars.row_at(session.shown().window.opened_at))
        session.mark(WindowMarks(verdict="nothing"))
        session.save(1.0, "")
    assert starts == sorted(starts, reverse=True)  # newest first
    held = registered_judgments(registered_store(registered_copy).labels).current().values()
    (judgment,) = [one for one in held if one.window_id == kept.window_id]
    assert (judgment.chosen, judgment.saw_model) == ("review", True)
    assert len(judgment.spans) == len(kept.before.spans)


def test_the_champions_marks_of_a_window_are_those_of_its_review(registered_copy: Home):
    labeler = opened(registered_copy, replace(ANN, listed="review"))
    window = labeler.session.shown().window
    row = labeler.session.bars.row_at(window.opened_at)
    assert row is not None
    marks = [(one["start"], one["end"], one["type"]) for one in labeler.model(row)]
    proposed = [(span.start, span.end, span.type) for span in window.before.spans]
    assert set(proposed) <= set(marks)
