"""The network of the comparison: compact, trained from nothing."""

import importlib

import keras
from keras import layers

WIDTHS = (16, 32, 64, 128)
BLOCKS = (0, 1, 2, 3)


def find(name):
    """The function that `MODULE:FUNCTION` names, with arguments of `build`."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def build(size, num_classes):
    """A residual encoder and a decoder; logits have the size of the images.

    About a million parameters, and 0.5 giga multiplications for an image of
    180 x 240. The size need not be a multiple of anything.

    Args:
        size: (height, width) of the images, uint8 with three channels.
        num_classes: number of channels of the logits.
    """
    bottom, right = (-extent % 16 for extent in size)
    image = keras.Input((*size, 3), dtype="uint8")
    x = layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = layers.ZeroPadding2D(((0, bottom), (0, right)))(x)
    steps = []
    for width, blocks in zip(WIDTHS, BLOCKS):
        x = _convolve(x, width, strides=2)
        for _ in range(blocks):
            x = _residual(x, width)
        steps.append(x)
    # What the whole scene looks like, for every pixel.
    scene = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Add()([x, layers.Conv2D(WIDTHS[-1], 1)(scene)])
    for width, step in list(zip(WIDTHS, steps))[-2::-1]:
        x = _convolve(x, width, size=1)
        x = layers.UpSampling2D(interpolation="bilinear")(x)
        x = layers.Add()([x, _convolve(step, width, size=1)])
        x = _convolve(x, width)
    x = layers.Conv2D(num_classes, 1)(x)
    x = layers.UpSampling2D(interpolation="bilinear")(x)
    logits = layers.Cropping2D(((0, bottom), (0, right)))(x)
    return keras.Model(image, logits)


def _convolve(x, width, size=3, strides=1):
    x = layers.Conv2D(
        width, size, strides=strides, padding="same", use_bias=False
    )(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))


def _residual(x, width):
    y = _convolve(x, width)
    y = layers.Conv2D(width, 3, padding="same", use_bias=False)(y)
    y = layers.BatchNormalization(momentum=0.95)(y)
    return layers.ReLU()(layers.Add()([x, y]))
