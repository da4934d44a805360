"""What all losses have from their base: how they are printed."""

import keras
import numpy as np
import pytest

import keras_rmi
from cases import CASES


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_printed_loss_is_the_call_that_makes_it(case):
    loss = case.build(name="other")
    again = eval(repr(loss), vars(keras_rmi))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert repr(again) == repr(loss)


@pytest.mark.parametrize("name", keras_rmi.losses.__all__)
def test_defaults_are_not_printed(name):
    loss = getattr(keras_rmi, name)
    if not isinstance(loss, type) or name == "CompositeLoss":
        return
    assert repr(loss()) == f"{name}()"


def test_options_are_printed_in_the_order_of_the_constructor():
    loss = keras_rmi.RMILoss(
        dtype="float16", class_weights=np.ones(2), radius=(5, 3), name="rmi"
    )
    assert repr(loss) == (
        "RMILoss(radius=(5, 3), class_weights=[1.0, 1.0], name='rmi', "
        "dtype='float16')"
    )


def test_the_dtype_of_all_is_not_printed():
    before = keras.config.floatx()
    keras.config.set_floatx("float16")
    try:
        assert repr(keras_rmi.DiceLoss()) == "DiceLoss()"
        shown = repr(keras_rmi.DiceLoss(dtype="float32"))
        assert shown == "DiceLoss(dtype='float32')"
    finally:
        keras.config.set_floatx(before)


def test_parts_and_layers_are_printed():
    dice = keras_rmi.DiceLoss(smooth=1.0)
    loss = keras_rmi.CompositeLoss({"a": (dice, 0.5), "b": dice})
    assert repr(loss) == (
        "CompositeLoss(parts={'a': (DiceLoss(smooth=1.0), 0.5), "
        "'b': DiceLoss(smooth=1.0)})"
    )
    layer = keras_rmi.layers.AffinityFieldWeights(2)
    loss = keras_rmi.AffinityFieldLoss(sizes=(1, 2), adaptive=layer)
    assert repr(loss) == (
        f"AffinityFieldLoss(sizes=(1, 2), adaptive={layer!r})"
    )


class Own(keras_rmi.RMILoss):
    """A loss of a user, whose constructor takes what it likes."""

    def __init__(self, sharpness, **options):
        super().__init__(**options)


def test_a_loss_of_a_user_can_be_printed():
    assert repr(Own(2)) == "Own()"
