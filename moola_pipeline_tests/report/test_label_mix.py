"""The labels of each month as a picture, whatever split they fell to."""

from moola_pipeline.labels.splits import UNUSED
from moola_pipeline.report.data import MonthMix
from moola_pipeline.report.label_mix import mix_picture


def _month(month: str, split: str, n: int) -> MonthMix:
    return MonthMix(month=month, split=split, retracement=n, consolidation=n, none=0)


def test_windows_that_no_split_took_have_a_column_of_their_own_after_the_others_of_their_month():
    months = [_month("2024-12", UNUSED, 1), _month("2024-12", "train", 3), _month("2025-01", "validation", 2)]
    picture = mix_picture(months)
    assert picture is not None
    assert picture.index("train") < picture.index(UNUSED) < picture.index("validation")


def test_no_labels_make_no_picture():
    assert mix_picture([]) is None
    assert mix_picture([_month("2024-12", "train", 0)]) is None
