"""Arguments of the fully connected CRF, checked for its layer and function."""

import numpy as np

from keras_rmi._validation import (
    check_choice,
    check_integer,
    check_number,
    message,
)

NORMALIZATIONS = ("symmetric", "before", "after", None)


def check_options(
    iterations,
    gaussian_sxy,
    bilateral_sxy,
    bilateral_srgb,
    gaussian_normalization,
    bilateral_normalization,
    epsilon,
):
    """The arguments of `MeanField` after the size, checked."""
    return (
        check_integer("iterations", iterations, minimum=0),
        check_deviations("gaussian_sxy", gaussian_sxy, 2),
        check_deviations("bilateral_sxy", bilateral_sxy, 2),
        check_deviations("bilateral_srgb", bilateral_srgb, 3),
        check_choice(
            "gaussian_normalization", gaussian_normalization, NORMALIZATIONS
        ),
        check_choice(
            "bilateral_normalization", bilateral_normalization, NORMALIZATIONS
        ),
        check_number("epsilon", epsilon, 0, 1, open_maximum=True),
    )


def check_deviations(argument, value, count):
    """A number > 0, or `count` of them, as a tuple."""
    expected = f"a number > 0 or {count} of them"
    values = np.ravel(value).tolist() if np.ndim(value) else [value] * count
    if len(values) != count:
        raise ValueError(message(argument, expected, value))
    try:
        return tuple(
            check_number(argument, v, minimum=0, open_minimum=True)
            for v in values
        )
    except (TypeError, ValueError) as error:
        raise type(error)(message(argument, expected, value)) from None


def check_compat(argument, value):
    """A number, a vector or a square matrix, as float or nested lists."""
    expected = "a finite number, one for each class, or a square matrix"
    try:
        numbers = np.asarray(value, "float32")
    except (TypeError, ValueError):
        raise TypeError(message(argument, expected, value)) from None
    if isinstance(value, (bool, str, bytes, type(None))):
        raise TypeError(message(argument, expected, value))
    square = numbers.ndim < 2 or numbers.shape[0] == numbers.shape[1]
    if numbers.ndim > 2 or not square or not np.isfinite(numbers).all():
        raise ValueError(message(argument, expected, value))
    return numbers.tolist() if numbers.ndim else float(value)


def check_classes(argument, compat, num_classes):
    """Whether a checked vector or matrix is for so many classes."""
    if np.ndim(compat) and len(compat) != num_classes:
        raise ValueError(
            message(argument, f"entries for {num_classes} classes", len(compat))
        )
