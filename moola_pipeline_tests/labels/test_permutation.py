import numpy as np
import pytest

from moola_pipeline.labels.permutation import adjust_families, permutation_p_values


def difference_of_halves(values: np.ndarray):
    half = len(values) // 2

    def statistic(order: np.ndarray) -> np.ndarray:
        moved = values[order]
        return np.array([abs(moved[:half].mean() - moved[half:].mean())])

    return statistic


def test_the_p_value_is_the_share_of_all_orders_as_extreme():
    # halves of four: 6 choices, of which {0, 1} and {2, 3} give the largest difference: p = 1/3
    values = np.array([0.0, 0.0, 1.0, 1.0])
    p = permutation_p_values(difference_of_halves(values), 4, np.random.default_rng(0), 6000)
    assert p[0] == pytest.approx(1 / 3, abs=0.02)


def test_no_effect_gives_p_values_at_most_0_05_in_5_percent_of_cases_however_many_statistics():
    rng = np.random.default_rng(1)
    smallest = []
    for _ in range(300):
        values = rng.normal(size=(24, 6))

        def statistics(order: np.ndarray, values: np.ndarray = values) -> np.ndarray:
            moved = values[order]
            return np.abs(moved[:12].mean(axis=0) - moved[12:].mean(axis=0))

        smallest.append(permutation_p_values(statistics, 24, rng, 99).min())
    assert 0.02 <= np.mean(np.array(smallest) <= 0.05) <= 0.09


def test_a_constant_or_undefined_statistic_has_p_1_and_changes_no_other():
    values = np.repeat([0.0, 1.0], 10)
    halves = difference_of_halves(values)

    def statistics(order: np.ndarray) -> np.ndarray:
        return np.array([halves(order)[0], 3.0, np.nan])

    p = permutation_p_values(statistics, 20, np.random.default_rng(1), 499)
    assert p[0] == pytest.approx(1 / 500)
    assert p[1:].tolist() == [1.0, 1.0]


def test_families_are_adjusted_by_holm():
    families = [np.array([0.02, 0.5]), np.array([0.01]), np.empty(0)]
    adjusted = adjust_families(families)
    assert adjusted[1].tolist() == pytest.approx([0.03])  # smallest of three
    assert adjusted[0].tolist() == pytest.approx([0.04, 1.0])
    assert len(adjusted[2]) == 0


def test_adjusted_p_values_keep_the_order_of_the_families():
    adjusted = adjust_families([np.array([0.03]), np.array([0.04])])
    assert [family[0] for family in adjusted] == pytest.approx([0.06, 0.06])
