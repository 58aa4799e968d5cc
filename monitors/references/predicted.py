"""What a model predicted, as a column of training data: a class or a number, as it is logged."""

import numpy as np

from stats.arrays import FloatArray

CLASS, VALUE = "prediction", "prediction_value"
"""Signals of what a model predicted."""
_CLASSES = 1_000
"""Whole numbers below it are classes."""


def feature_of_numbers(values: FloatArray) -> str:
    """Return the signal of a column `prediction` of numbers, in which NaN is missing."""
    known = values[~np.isnan(values)]
    is_class = bool(np.all((known == np.round(known)) & (np.abs(known) < _CLASSES)))
    return CLASS if is_class else VALUE


def class_names(values: FloatArray) -> list[str | None]:
    """Return whole numbers as the words that a model's answers are logged as.

    Beside gaps a file and a DataFrame have 1.0 where the model answers 1.
    """
    return [None if np.isnan(value) else str(int(value)) for value in values.tolist()]
