"""The flattened forest scores as scikit-learn does."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from models.detectors import forest


@pytest.mark.parametrize(
    ("size", "columns", "trees", "fields"),
    [(400, 8, 100, {}), (2, 1, 5, {}), (300, 3, 20, {"max_samples": 64, "max_features": 2})],
)
def test_scores_equal_score_samples(
    size: int, columns: int, trees: int, fields: dict[str, int]
) -> None:
    random = np.random.default_rng(size)
    rows = random.normal(1e3, 5, (size, columns))
    model = IsolationForest(n_estimators=trees, random_state=3, **fields).fit(rows)
    asked = np.concatenate((rows, random.normal(1e3, 50, (700, columns))))
    ours = forest.flatten(model).scores(asked)
    np.testing.assert_allclose(ours, -model.score_samples(asked), rtol=0, atol=1e-12)


def test_the_same_rows_grow_the_same_forest() -> None:
    rows = np.random.default_rng(0).normal(0, 1, (100, 3))
    one, other = (forest.grow(rows, trees=10, rows_a_tree=64, seed=7) for _ in range(2))
    assert one.scores(rows).tobytes() == other.scores(rows).tobytes()
    different = forest.grow(rows, trees=10, rows_a_tree=64, seed=8)
    assert one.scores(rows).tobytes() != different.scores(rows).tobytes()


def test_a_constant_training_set_still_scores() -> None:
    grown = forest.grow(np.ones((50, 2)), trees=5, rows_a_tree=50, seed=0)
    assert np.isfinite(grown.scores(np.array([[1.0, 1.0], [5.0, 5.0]]))).all()


def test_the_example_in_the_docstring() -> None:
    assert doctest.testmod(forest).failed == 0
