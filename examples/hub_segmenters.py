"""Segmenters of KerasHub: small ones, and those of a preset.

Trained is `network`, a plain Keras model round the segmenter: `fit` of a
KerasHub task does not shuffle arrays, and a task that is saved comes back
without its loss.
"""

import keras
from keras import layers
from keras_hub import models

CLASSES = {
    "deeplab_v3_plus": models.DeepLabV3ImageSegmenter,
    "segformer": models.SegFormerImageSegmenter,
}
# The encoders make maps of a 16th or a 32nd of the image.
MULTIPLE = 32


class PresetError(ValueError):
    """The preset cannot be had, or it is no segmenter that this knows."""


def deeplab_v3_plus(size, num_classes):
    """DeepLabV3+ on a ResNet of three blocks, with random weights."""
    encoder = models.ResNetBackbone(
        # KerasHub wants 64 first.
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64, 64],
        stackwise_num_blocks=[1, 1, 1],
        stackwise_num_strides=[1, 2, 2],
        block_type="basic_block",
    )
    backbone = models.DeepLabV3Backbone(
        encoder,
        spatial_pyramid_pooling_key="P4",
        low_level_feature_key="P2",
        upsampling_size=4,
        dilation_rates=[1, 2],
        projection_filters=32,
    )
    return _from_scratch("deeplab_v3_plus", backbone, num_classes)


def segformer(size, num_classes):
    """SegFormer on a transformer of three blocks, with random weights."""
    # Its transformer takes the square root of the number of pixels as a side.
    side = max(_round_up(extent) for extent in size)
    encoder = models.MiTBackbone(
        image_shape=(side, side, 3),
        num_layers=3,
        # KerasHub names layers by these: no two may be equal.
        hidden_dims=[32, 48, 64],
        layerwise_depths=[1, 1, 1],
        layerwise_num_heads=[1, 2, 4],
        layerwise_sr_ratios=[4, 2, 1],
        layerwise_patch_sizes=[7, 3, 3],
        layerwise_strides=[4, 2, 2],
        max_drop_path_rate=0.0,
    )
    backbone = models.SegFormerBackbone(encoder, projection_filters=64)
    return _from_scratch("segformer", backbone, num_classes)


def _from_scratch(name, backbone, num_classes):
    """A task whose preprocessor brings colours to -1..1."""
    kind = CLASSES[name]
    preprocessor = kind.preprocessor_cls(
        kind.preprocessor_cls.image_converter_cls(scale=1 / 127.5, offset=-1.0)
    )
    return kind(backbone, num_classes, preprocessor=preprocessor)


def from_preset(preset, num_classes):
    """The trained backbone of a preset under a new head, which gives logits.

    A preset's own head has other classes, and may end with a softmax.

    Args:
        preset: name, handle or folder, as `keras_hub` takes them.
        num_classes: number of channels of the logits.
    """
    try:
        backbone = models.Backbone.from_preset(preset)
        segmenter = _segmenter_class(backbone)
        preprocessor = models.ImageSegmenterPreprocessor.from_preset(preset)
    # No network, no such file, no such name, no client for the host.
    except (OSError, ValueError, ImportError) as error:
        first_line = str(error).partition("\n")[0]
        raise PresetError(f"preset {preset!r}: {first_line}") from error
    return segmenter(backbone, num_classes, preprocessor=preprocessor)


def _segmenter_class(backbone):
    for kind in CLASSES.values():
        if isinstance(backbone, kind.backbone_cls):
            return kind
    raise ValueError(f"a {type(backbone).__name__}, not DeepLabV3 or SegFormer")


def network(segmenter, size):
    """Images (N, *size, 3) of uint8 to logits (N, *size, C).

    The labels stay as they are: images are brought to the size that the
    segmenter wants, and its logits back.
    """
    converter = segmenter.preprocessor.image_converter
    wanted = tuple(
        fixed or _round_up(extent)
        for fixed, extent in zip(segmenter.input_shape[1:3], size)
    )
    image = keras.Input((*size, 3), dtype="uint8")
    x = layers.Rescaling(converter.scale or 1.0, converter.offset or 0.0)(image)
    if wanted != size:
        x = layers.Resizing(*wanted)(x)
    # The layers of the task without the task itself.
    x = keras.Model(segmenter.input, segmenter.output, name="segmenter")(x)
    if wanted != size:
        x = layers.Resizing(*size)(x)
    return keras.Model(image, x)


def _round_up(extent):
    return -(-extent // MULTIPLE) * MULTIPLE
