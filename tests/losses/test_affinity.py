"""Affinity field loss against float64, and what its pairs are."""

import functools

import keras
import numpy as np
import pytest

import keras_rmi
from keras_rmi.losses import affinity
from keras_rmi.ops.affinity import affinity_terms
from reference import scenes
from reference.affinity import (
    affinity_field_loss,
    numerical_gradient,
    pair_terms,
)
from reference.pixelwise import activate
from support import (
    SAME,
    assert_finite,
    assert_gradient,
    assert_same,
    assert_value,
    value_and_gradient,
)

VOID = 255


def batch(num_classes=3, size=(7, 6)):
    """Two images with a void band: labels (2, H, W), logits (2, H, W, C)."""
    names = ("noisy", "upsampled x8")
    labels, logits = scenes.stacked_scenes(names, *size, num_classes)
    labels[:, 2:4, 1:4] = VOID
    return labels, logits


def evaluate(y_true, y_pred, **options):
    options = {"from_logits": True, "ignore_class": VOID, **options}
    return value_and_gradient(
        lambda x: keras_rmi.affinity_field_loss(y_true, x, **options), y_pred
    )


def assert_matches_reference(y_true, y_pred, **options):
    value, gradient = evaluate(y_true, y_pred, **options)

    def reference(x):
        merged = {"from_logits": True, "ignore_class": VOID, **options}
        return affinity_field_loss(y_true, x, **merged)

    assert value.dtype == "float32"
    assert_value(value, reference(y_pred))
    slope = numerical_gradient(lambda x: reference(x).sum(), y_pred)
    assert_gradient(gradient, slope)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sizes": (1, 3)},
        {"sizes": 2, "margin": 0.5},
        {"margin": 0.0},
        {"edge_weight": 0.0, "affinity_weight": 2.5},
        {"non_edge_weight": 0.0},
        {"class_weights": [0.3, 0.0, 2.0]},
        {"ignore_class": (1, VOID)},
        {"activation": "sigmoid"},
    ],
    ids=str,
)
def test_every_option_matches_float64(options):
    assert_matches_reference(*batch(), **options)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_probabilities_match_float64(activation):
    labels, logits = batch()
    y_pred = activate(logits.astype("float64"), activation)[0]
    # Rows that do not sum to one are made to.
    y_pred = np.float32(0.9 * y_pred)
    assert_matches_reference(
        labels, y_pred, activation=activation, from_logits=False
    )


def test_one_channel_matches_float64():
    assert_matches_reference(*batch(num_classes=1), activation="sigmoid")


def test_soft_labels_and_pixel_weights_match_float64():
    _, logits = batch()
    rng = np.random.default_rng(5)
    y_true = rng.random(logits.shape, "float32")
    weights = rng.random(logits.shape[:3], "float32")
    weights[:, 3:5] = 0.0
    assert_matches_reference(y_true, logits, sample_weight=weights)


def confident(scale, wrong=False):
    labels, _ = batch()
    on = np.eye(3)[np.minimum(labels, 2)]
    if wrong:
        on[:, ::2, :3] = np.roll(on[:, ::2, :3], 1, axis=-1)
    rng = np.random.default_rng(6)
    noise = rng.standard_normal(on.shape)
    return labels, np.float32(scale * on + noise)


@pytest.mark.parametrize("scale", [20.0, 100.0])
def test_confident_mistakes_match_float64(scale):
    assert_matches_reference(*confident(scale, wrong=True))


@pytest.mark.parametrize("scale", [20.0, 100.0])
def test_confident_right_predictions_cost_nothing(scale):
    value, gradient = evaluate(*confident(scale))
    assert_value(value, np.zeros(2))
    assert np.abs(gradient).max() <= 1e-6


def test_pairs_of_confident_pixels_lose_no_digits():
    z = np.float32([[[[-14.0], [-13.0]], [[15.0], [16.5]]]])
    on = np.array([[[[False], [False]], [[True], [True]]]])
    valid = np.array([[[True, True], [True, True]]])

    def cost(z):
        logs = -np.logaddexp(0, -z[0]), -np.logaddexp(0, z[0])
        return pair_terms(*logs, on[0], valid[0], 1, 40.0)

    def others(z):
        return cost(z)[1].sum()

    value, gradient = value_and_gradient(
        lambda z: affinity_terms(z, on, valid, [1], 40.0)[:, 0, 1], z
    )
    z = z.astype("float64")
    assert others(z) < 1e-5
    np.testing.assert_allclose(value.sum(), others(z), rtol=1e-4)
    p, q = np.exp(-np.logaddexp(0, -z)), np.exp(-np.logaddexp(0, z))
    change, rise = q[0, :, 0] - q[0, :, 1], z[0, :, 1] - z[0, :, 0]
    slope = np.stack(
        [
            -change - (p * q)[0, :, 0] * rise,
            change + (p * q)[0, :, 1] * rise,
        ],
        axis=1,
    )
    # Two of the six pairs are no edges, each from both ends.
    np.testing.assert_allclose(gradient[0], slope / 4, rtol=1e-4)


def test_weight_zero_is_cross_entropy():
    labels, logits = batch()
    actual = evaluate(labels, logits, affinity_weight=0.0)
    expected = value_and_gradient(
        lambda x: keras_rmi.softmax_crossentropy(
            labels, x, from_logits=True, ignore_class=VOID
        ),
        logits,
    )
    for mine, other in zip(actual, expected):
        np.testing.assert_array_equal(mine, other)


def test_a_uniform_prediction_costs_the_margin_at_every_edge():
    labels, logits = batch()
    value, _ = evaluate(labels, 0 * logits, margin=2.5)
    assert_value(value, np.full(2, np.log(3) + 2.5))


ORDER = np.array([2, 0, 1])
TURNS = {
    "as it is": lambda x: x,
    "rows": lambda x: x[:, ::-1],
    "columns": lambda x: x[:, :, ::-1],
    "transposed": lambda x: x.swapaxes(1, 2),
}


@functools.cache
def variants():
    """Values and gradients of changed inputs, by name; compiled once."""
    labels, logits = batch(size=(7, 7))
    ones = np.ones(labels.shape, "float32")
    inputs = {
        name: (turn(labels), turn(logits), ones) for name, turn in TURNS.items()
    }
    moved = np.where(labels == VOID, VOID, np.argsort(ORDER)[labels % 3])
    inputs["order"] = (moved, logits[..., ORDER], ones)
    changed = np.where(labels[..., None] == VOID, np.float32(50), logits)
    inputs["void"] = (labels, changed, ones)
    inputs["weights"] = (labels, logits, ones / 4)
    y_true, y_pred, weights = map(np.concatenate, zip(*inputs.values()))
    parts = evaluate(y_true, y_pred, sample_weight=weights, sizes=(1, 2))
    parts = zip(*(np.split(part, len(inputs)) for part in parts))
    return dict(zip(inputs, parts)) | {"labels": labels}


@pytest.mark.parametrize("turn", TURNS)
def test_turning_image_and_labels_makes_no_difference(turn):
    value, gradient = variants()["as it is"]
    assert_same(variants()[turn], (value, TURNS[turn](gradient)))


def test_the_order_of_the_classes_makes_no_difference():
    value, gradient = variants()["as it is"]
    assert_same(variants()["order"], (value, gradient[..., ORDER]))


def test_void_pixels_are_in_no_pair():
    value, gradient = variants()["as it is"]
    assert_same(variants()["void"], (value, gradient))
    assert not gradient[variants()["labels"] == VOID].any()


def test_equal_weights_of_pixels_make_no_difference():
    assert_same(variants()["weights"], variants()["as it is"])


def test_pairs_end_at_the_border():
    labels, logits = batch()
    inner, _ = evaluate(labels, logits)
    frame = [(0, 0), (1, 1), (1, 1)]
    labels = np.pad(labels, frame, constant_values=VOID)
    framed, _ = evaluate(labels, np.pad(logits, [*frame, (0, 0)]))
    assert_value(framed, inner, SAME)


def test_an_image_of_one_class_has_no_edge():
    labels, logits = batch()
    labels[:] = 1
    with_edges, _ = evaluate(labels, logits)
    without, _ = evaluate(labels, logits, edge_weight=0.0)
    np.testing.assert_array_equal(with_edges, without)


def test_scattered_pixels_have_no_pair():
    labels, logits = batch(size=(8, 8))
    scattered = np.full_like(labels, VOID)
    scattered[:, ::2, ::2] = labels[:, ::2, ::2] % 3
    value, gradient = evaluate(scattered, logits)
    alone, slope = evaluate(scattered, logits, affinity_weight=0.0)
    assert_finite(value, gradient)
    assert_value(value, alone, SAME)
    np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sizes", [0, (), (1, 1), (1, -2)])
def test_sizes_are_distances(sizes):
    with pytest.raises(ValueError, match=r"`sizes`.*Received: sizes="):
        keras_rmi.AffinityFieldLoss(sizes=sizes)


@pytest.mark.parametrize("sizes", [1.5, "12", None, (1, True)])
def test_sizes_are_integers(sizes):
    with pytest.raises(TypeError, match=r"`sizes`.*Received: sizes="):
        keras_rmi.AffinityFieldLoss(sizes=sizes)


def test_sizes_must_fit_into_the_map():
    labels, logits = batch()
    expected = r"`sizes`.* map, \(7, 6\)\. Received: sizes=\(1, 6\)"
    with pytest.raises(ValueError, match=expected):
        keras_rmi.affinity_field_loss(labels, logits, sizes=(1, 6))


def test_sizes_are_checked_before_anything_is_computed(monkeypatch):
    def computed(*arguments):
        raise AssertionError("computed before the check")

    monkeypatch.setattr(affinity, "pixel_and_region_loss", computed)
    logits = np.zeros((1, 4, 4, 2), "float32")
    with pytest.raises(ValueError, match="`sizes`"):
        keras_rmi.affinity_field_loss(
            np.zeros((1, 4, 4), "int32"), logits, sizes=4
        )


@pytest.mark.parametrize(
    "argument", ["margin", "affinity_weight", "edge_weight", "non_edge_weight"]
)
@pytest.mark.parametrize(
    ("value", "error"),
    [(-1.0, ValueError), (float("nan"), ValueError), ("1", TypeError)],
)
def test_numbers_are_not_negative(argument, value, error):
    with pytest.raises(error, match=f"`{argument}`.*{argument}={value!r}"):
        keras_rmi.AffinityFieldLoss(**{argument: value})


def test_softmax_needs_two_channels():
    with pytest.raises(ValueError, match=r"`activation`.*one channel"):
        keras_rmi.affinity_field_loss(*batch(num_classes=1))


def test_adaptive_is_a_layer_with_shares():
    with pytest.raises(TypeError, match=r"`adaptive`.*adaptive=3"):
        keras_rmi.AffinityFieldLoss(adaptive=3)


def adaptive_model():
    layer = keras_rmi.layers.AffinityFieldWeights(2)
    model = keras.Sequential(
        [keras.Input((7, 6, 3)), keras.layers.Conv2D(3, 1), layer]
    )
    loss = keras_rmi.AffinityFieldLoss(
        sizes=(1, 2), adaptive=layer, from_logits=True, ignore_class=VOID
    )
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss=loss)
    return model, layer


def test_adaptive_weights_replace_the_mean():
    model, layer = adaptive_model()
    labels, logits = batch()
    scores = np.random.default_rng(7).standard_normal((2, 2, 3))
    layer.set_weights([scores])
    shares = np.exp(scores) / np.exp(scores).sum(axis=0)
    value, _ = value_and_gradient(lambda x: model.loss.call(labels, x), logits)
    expected = affinity_field_loss(
        labels,
        logits,
        sizes=(1, 2),
        shares=shares,
        from_logits=True,
        ignore_class=VOID,
    )
    assert_value(value, expected)


def test_adaptive_weights_are_trained_to_make_the_loss_large():
    model, layer = adaptive_model()
    labels, images = batch()
    model.layers[0].trainable = False
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss=model.loss)
    before = model.evaluate(images, labels, verbose=0)

    def reference(scores):
        shares = np.exp(scores) / np.exp(scores).sum(axis=0)
        return affinity_field_loss(
            labels,
            logits,
            sizes=(1, 2),
            shares=shares,
            from_logits=True,
            ignore_class=VOID,
        ).mean()

    logits = model.predict(images, verbose=0)
    model.fit(images, labels, epochs=1, verbose=0)
    rise = numerical_gradient(reference, np.zeros((2, 2, 3)))
    np.testing.assert_allclose(
        layer.get_weights()[0], rise, rtol=1e-3, atol=1e-6
    )
    assert model.evaluate(images, labels, verbose=0) > before


def test_a_loaded_model_must_be_given_its_own_adaptive_layer(tmp_path):
    model, layer = adaptive_model()
    labels, images = batch()
    layer.set_weights([np.arange(12).reshape(2, 2, 3)])
    value = model.evaluate(images, labels, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"`adaptive`.*its own layer"):
        loaded.evaluate(images, labels, verbose=0)
    loaded.compile(
        loss=keras_rmi.AffinityFieldLoss(
            sizes=(1, 2),
            adaptive=loaded.layers[-1],
            from_logits=True,
            ignore_class=VOID,
        )
    )
    again = loaded.evaluate(images, labels, verbose=0)
    assert_value(np.array(again), np.array(value), SAME)
