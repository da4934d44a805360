"""Argument checks, and the one wording of every error."""

import inspect
import operator


def message(argument, expected, received, fix=None):
    """Words an error: argument, expectation, fix when known, what came."""
    text = f"Invalid `{argument}`: expected {expected}."
    if fix:
        text += f" {fix}"
    return f"{text} Received: {argument}={received!r}"


def check_integer(argument, value, minimum=None):
    """A whole number (bool and float are refused) of at least `minimum`."""
    expected = "an integer"
    if minimum is not None:
        expected += f" >= {minimum}"
    if isinstance(value, bool):
        raise TypeError(message(argument, expected, value))
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(message(argument, expected, value)) from None
    if minimum is not None and value < minimum:
        raise ValueError(message(argument, expected, value))
    return value


def check_pair(argument, value):
    """An integer >= 1, or a pair (rows, columns) of them, as a pair."""
    expected = "an integer >= 1 or a pair (rows, columns) of them"
    sides = value if isinstance(value, (tuple, list)) else (value, value)
    if len(sides) != 2:
        raise ValueError(message(argument, expected, value))
    try:
        return tuple(check_integer(argument, s, minimum=1) for s in sides)
    except (TypeError, ValueError) as error:
        raise type(error)(message(argument, expected, value)) from None


def check_choice(argument, value, choices):
    """One of the listed options."""
    if not isinstance(value, (str, type(None))) or value not in choices:
        raise ValueError(
            message(
                argument,
                "one of " + ", ".join(repr(c) for c in choices),
                value,
            )
        )
    return value


def check_flag(argument, value):
    """True or False."""
    if not isinstance(value, bool):
        raise TypeError(message(argument, "True or False", value))
    return value


def check_number(
    argument,
    value,
    minimum,
    maximum=None,
    open_minimum=False,
    open_maximum=False,
):
    """A finite number within the bounds, as a float."""
    bound = ">" if open_minimum else ">="
    end = ")" if open_maximum else "]"
    expected = (
        f"a finite number {bound} {minimum}"
        if maximum is None
        else f"a number in [{minimum}, {maximum}{end}"
    )
    if isinstance(value, (bool, str, bytes)):
        raise TypeError(message(argument, expected, value))
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(message(argument, expected, value)) from None
    too_small = number <= minimum if open_minimum else number < minimum
    too_large = maximum is not None and (
        number >= maximum if open_maximum else number > maximum
    )
    if number - number != 0 or too_small or too_large:
        raise ValueError(message(argument, expected, value))
    return number


def check_ignore_class(value):
    """None, an integer or several, as a tuple of integers."""
    if value is None:
        return ()
    expected = "None, an integer or a tuple of integers"
    values = value if isinstance(value, (tuple, list)) else (value,)
    try:
        return tuple(check_integer("ignore_class", v) for v in values)
    except TypeError:
        raise TypeError(message("ignore_class", expected, value)) from None


def check_class_weights(value):
    """None, or non-negative finite numbers, as a list of floats."""
    if value is None:
        return None
    expected = "None or a sequence of finite numbers >= 0, one per class"
    if isinstance(value, (str, bytes, dict)) or not hasattr(value, "__len__"):
        raise TypeError(message("class_weights", expected, value))
    # NumPy before 2.0 takes an array of one number for a number.
    if any(
        isinstance(weight, (str, bytes)) or getattr(weight, "ndim", 0)
        for weight in value
    ):
        raise TypeError(message("class_weights", expected, value))
    try:
        weights = [float(weight) for weight in value]
    except (TypeError, ValueError):
        raise TypeError(message("class_weights", expected, value)) from None
    if not weights or not all(0 <= w < float("inf") for w in weights):
        raise ValueError(message("class_weights", expected, value))
    return weights


def check_config(cls, config):
    """A saved config as a dictionary that holds options of `cls` alone."""
    options = tuple(inspect.signature(cls).parameters)
    if not isinstance(config, dict):
        expected = f"a dictionary of options of {cls.__name__}"
        raise TypeError(message("config", expected, config))
    unknown = sorted(map(str, set(config) - set(options)))
    if unknown:
        expected = f"options of {cls.__name__}: {', '.join(options)}"
        raise ValueError(message("config", expected, unknown))
    return dict(config)


def static_shape(argument, x):
    """The shape of a tensor as a tuple, with None for unknown sizes.

    In a graph of TensorFlow the number of axes may be unknown too, as after
    `numpy_function` in a data pipeline.
    """
    try:
        return tuple(x.shape)
    except ValueError:
        raise ValueError(
            message(
                f"{argument}.shape",
                "a known number of axes",
                None,
                fix="Call its `set_shape`, with None for sizes that vary, "
                "where it is made.",
            )
        ) from None


def compatible(shape, expected):
    """Whether two static shapes agree where both are known."""
    return len(shape) == len(expected) and all(
        a is None or b is None or a == b for a, b in zip(shape, expected)
    )
