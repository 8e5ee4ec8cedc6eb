"""The four numbers that GLUE asks for beside accuracy: each is higher for better answers.

All are computed in float64 by scikit-learn and SciPy, which are imported when a number is asked
for. Where a number is not defined, as of answers that are all alike, it is 0: no relation.

References:
    Wang et al., "GLUE: A multi-task benchmark and analysis platform for natural language
    understanding", 2019.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def matthews(given: Any, right: Any) -> float:
    """Matthews' correlation of answers and labels, of any number of classes: CoLA's number.

    Args:
        given: (examples,) classes that a model answered, as numbers or names.
        right: (examples,) those of the data.

    Returns:
        From -1 to 1.
    """
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(np.asarray(right), np.asarray(given)))


def f1_of_class(given: Any, right: Any, positive: Any = 1) -> float:
    """The F1 of one class, which is taken for what is to be found: MRPC's and QQP's number.

    Args:
        given: (examples,) classes that a model answered, as numbers or names.
        right: (examples,) those of the data.
        positive: The class.

    Returns:
        From 0 to 1; 0 if the class is neither answered nor in the data.
    """
    from sklearn.metrics import f1_score

    found, wanted = np.asarray(given) == positive, np.asarray(right) == positive
    return float(f1_score(wanted, found, zero_division=0))


def pearson(given: Any, right: Any) -> float:
    """Pearson's correlation of numbers: how near they are to a line. STS-B's number.

    Args:
        given: (examples,) numbers that a model answered.
        right: (examples,) those of the data.

    Returns:
        From -1 to 1; 0 of fewer than two examples.
    """
    from scipy.stats import pearsonr

    return _correlation(pearsonr, given, right)


def spearman(given: Any, right: Any) -> float:
    """Spearman's correlation of numbers, that of their ranks: how alike their orders are.

    Args:
        given: (examples,) numbers that a model answered.
        right: (examples,) those of the data; equal ones share a rank.

    Returns:
        From -1 to 1; 0 of fewer than two examples.
    """
    from scipy.stats import spearmanr

    return _correlation(spearmanr, given, right)


def _correlation(measure: Any, given: Any, right: Any) -> float:
    given, right = np.asarray(given, np.float64), np.asarray(right, np.float64)
    if any(len(np.unique(numbers)) < 2 for numbers in (given, right)):
        return 0.0
    return float(measure(given, right).statistic)
