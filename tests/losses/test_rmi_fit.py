"""Training with Keras' own loop: `compile`, `fit` and `evaluate`."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_rmi
from support import (
    MODES,
    SAME,
    assert_finite,
    assert_value,
    relative_error,
    value_and_gradient,
)

CLASSES = 3
VOID = 255
JIT = "compiled" in MODES


@pytest.fixture
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


def scenes(count=8, height=20, width=16):
    """Images whose colours tell the class, ids with void, pixel weights."""
    rng = np.random.default_rng(4)
    coarse = rng.integers(0, CLASSES, (count, 1 + height // 5, 1 + width // 5))
    ids = coarse.repeat(5, axis=1).repeat(5, axis=2)[:, :height, :width]
    images = np.eye(CLASSES)[ids] + 0.3 * rng.standard_normal((*ids.shape, 3))
    ids[:, 3:5, 2:14] = VOID
    weights = rng.uniform(0.5, 2.0, ids.shape)
    weights[:, 10:12, :7] = 0.0
    return (
        images.astype("float32"),
        ids.astype("uint8"),
        weights.astype("float32"),
    )


def network(size=(20, 16)):
    """Ends with a convolution, whose output reaches the loss as it is."""
    return keras.Sequential(
        [
            keras.Input((*size, 3)),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(CLASSES, 3, padding="same"),
        ]
    )


def compiled(model, jit_compile=JIT, **options):
    options = {"from_logits": True, "ignore_class": VOID, **options}
    model.compile(
        optimizer=keras.optimizers.Adam(0.03),
        loss=keras_rmi.RMILoss(radius=2, pool_size=2, **options),
        jit_compile=jit_compile,
    )
    return model


def assert_falls(losses):
    assert_finite(losses)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("policy", "activation"),
    [
        ("float32", "sigmoid"),
        ("mixed_float16", "sigmoid"),
        ("mixed_bfloat16", "softmax"),
    ],
    indirect=["policy"],
)
def test_fit_lowers_the_loss(policy, activation):
    images, ids, weights = scenes()
    model = compiled(network(), activation=activation)
    assert model.compute_dtype == policy.removeprefix("mixed_")
    history = model.fit(
        images, ids, sample_weight=weights, batch_size=4, epochs=6, verbose=0
    )
    assert_falls(history.history["loss"])


def test_images_of_changing_size_train_a_network_of_unknown_size():
    model = compiled(network((None, None)), jit_compile="auto")
    images, ids, weights = scenes()
    batches = [
        (images, ids, weights),
        tuple(part[:3, :13, 2:] for part in (images, ids, weights)),
    ]
    losses = []
    for _ in range(8):
        model.reset_metrics()
        losses.append([model.train_on_batch(*batch) for batch in batches])
    assert_falls(np.array(losses)[:, 0])
    assert_falls(np.array(losses)[:, 1])


def test_keras_passes_on_every_form_of_labels_and_image_weights():
    images, ids, _ = scenes()
    one_hot = (ids[..., None] == np.arange(CLASSES)).astype("float32")
    weights = np.linspace(0.5, 2.0, len(ids), dtype="float32")
    losses = []
    for labels in (ids, ids[..., None], one_hot):
        keras.utils.set_random_seed(1)
        model = compiled(network(), jit_compile="auto")
        losses.append(model.test_on_batch(images, labels, weights))
    assert_value(losses[1:], [losses[0]] * 2, SAME)


def test_evaluate_is_the_mean_over_images():
    images, ids, weights = scenes()
    model = compiled(network(), jit_compile="auto")
    logits = model.predict(images, batch_size=4, verbose=0)
    value = model.evaluate(
        images, ids, sample_weight=weights, batch_size=4, verbose=0
    )
    expected, _ = value_and_gradient(
        lambda x: model.loss(ids, x, weights), logits
    )
    assert relative_error(value, expected) <= SAME


def test_gradient_passes_the_convolution_before_the_loss():
    images, ids, _ = scenes(2)
    rng = np.random.default_rng(5)
    kernel = rng.standard_normal((1, 1, 3, CLASSES)).astype("float32")

    def loss(logits):
        return keras_rmi.rmi_loss(
            ids,
            logits,
            radius=1,
            pool_size=2,
            from_logits=True,
            activation="softmax",
            ignore_class=VOID,
        )

    _, gradient = value_and_gradient(
        lambda kernel: loss(ops.conv(images, kernel)), kernel
    )
    logits = np.einsum("nhwi,ic->nhwc", images, kernel[0, 0])
    _, by_logits = value_and_gradient(loss, logits)
    expected = np.einsum("nhwi,nhwc->ic", images, by_logits)
    np.testing.assert_allclose(gradient[0, 0], expected, rtol=1e-4, atol=1e-5)
