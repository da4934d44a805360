"""Models with our layers, exported: any number of any images."""

import keras
import numpy as np
import pytest

import keras_rmi
from exporting import KEEPS_THE_NUMBER, WRITES_ONNX, export, export_onnx
from support import BACKEND, CRF_LARGEST

SIZE = 12, 14
CLASSES = 3


def noise(count):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, *SIZE, 3)).astype("float32")


def network(refine):
    """Probabilities, and what is made of them and of the image."""
    image = keras.Input((*SIZE, 3), name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(
        CLASSES, 3, padding="same", data_format="channels_last"
    )(x)
    return keras.Model(image, refine(keras.layers.Softmax()(x), image))


def crf(probabilities, image):
    layer = keras_rmi.layers.DenseCRF(
        1, bilateral_sxy=8, bilateral_srgb=20, trainable_compat=True
    )
    return layer([probabilities, image])


def others(probabilities, image):
    layers = keras_rmi.layers
    options = {"data_format": "channels_last"}
    x = layers.AverageDownsampling2D((2, 1), **options)(probabilities)
    x = layers.MaxDownsampling2D((1, 2), **options)(x)
    x = layers.InterpolationDownsampling2D((2, 1), **options)(x)
    return layers.RegionVectors2D((1, 2))(x)


def assert_is_the_model(exported, model):
    """For more images than exporters try, with many vertices and with few."""
    for x in noise(3), np.zeros((3, *SIZE, 3), "float32"):
        expected = model.predict(x, verbose=0)
        np.testing.assert_allclose(exported(x), expected, atol=CRF_LARGEST)


@pytest.mark.skipif(
    KEEPS_THE_NUMBER, reason="Keras before 3.15 keeps the number of images"
)
@pytest.mark.parametrize("refine", [crf, others], ids=["crf", "others"])
def test_a_model_is_exported_for_any_number_of_images(refine, tmp_path):
    model = network(refine)
    assert_is_the_model(export(model, tmp_path), model)


@pytest.mark.skipif(
    not WRITES_ONNX, reason=f"Keras needs a converter on {BACKEND}"
)
# The exporter warns of its successor, and of what is no constant.
@pytest.mark.filterwarnings("ignore")
def test_a_crf_is_exported_to_onnx(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    model = network(crf)
    assert_is_the_model(export_onnx(model, tmp_path, runtime), model)
