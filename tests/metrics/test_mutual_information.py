"""The metric against float64: one batch, many batches, and in `fit`."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_rmi.metrics import RegionMutualInformation
from reference import scenes
from reference.metric import bounds, mean_bounds
from support import (
    MODES,
    SAME,
    VALUE,
    assert_finite,
    assert_value,
    relative_error,
    to_numpy,
    value_and_gradient,
)

VOID = 255
# Compiles fast.
SMALL = {
    "radius": (1, 2),
    "pool_size": 2,
    "from_logits": True,
    "ignore_class": VOID,
}


def data(num_classes=3, count=3, height=24, width=21):
    """Labels with a void band, a class that one image lacks, and logits."""
    pairs = [
        scenes.scene(name, height, width, num_classes, seed)
        for seed, name in enumerate(("noisy", "absent noisy", "noisy") * count)
    ]
    labels, logits = map(np.concatenate, zip(*pairs[:count]))
    labels[:, 4:7, 3:15] = VOID
    return labels, logits


def one_hot(labels, num_classes=3):
    return np.float32(labels[..., None] == np.arange(num_classes))


def measure(y_true, y_pred, sample_weight=None, **options):
    """Per class, and the number."""
    options = SMALL | options
    axis = options.get("axis", -1)
    metric = RegionMutualInformation(y_pred.shape[axis], **options)
    update(metric, y_true, y_pred, sample_weight)
    return to_numpy(metric.result_per_class()), float(metric.result())


def update(metric, y_true, y_pred, sample_weight=None):
    """`update_state` as users run it."""

    def state(x):
        before = [variable.value for variable in metric.variables]
        arguments = (y_true, ops.stop_gradient(x), sample_weight)
        return ops.stack(metric.stateless_update_state(before, *arguments))

    after, _ = value_and_gradient(state, y_pred)
    for variable, value in zip(metric.variables, after):
        variable.assign(value)


def expected(y_true, y_pred, sample_weight=None, **options):
    options = SMALL | options
    return mean_bounds(
        *bounds(y_true, y_pred, sample_weight=sample_weight, **options)
    )


@pytest.mark.parametrize(
    "options",
    [
        {"radius": 3, "pool_size": 3},
        {"radius": 1, "epsilon": 1e-2},
        {"radius": (2, 3), "pooling": None},
        {"pooling": "max", "pool_size": 2, "activation": "softmax"},
        {"pooling": "interpolate", "pool_size": (2, 3)},
        {"ignore_class": (VOID, 1)},
    ],
    ids=str,
)
def test_mean_of_each_class_matches_float64(options):
    labels, logits = data()
    per_class, mean = measure(labels, logits, **options)
    reference = expected(labels, logits, **options)
    np.testing.assert_array_equal(np.isnan(per_class), np.isnan(reference))
    assert_value(np.nan_to_num(per_class), np.nan_to_num(reference))
    assert relative_error(mean, np.nanmean(reference)) <= VALUE


def test_labels_of_every_form_have_one_value():
    labels, logits = data()
    reference = expected(labels, logits)
    probabilities = 1 / (1 + np.exp(-logits))
    first = np.ascontiguousarray(np.moveaxis(logits, -1, 1))
    forms = [
        measure(labels[..., None].astype("uint8"), logits),
        measure(one_hot(labels), logits),
        measure(labels, first, axis=1),
        measure(np.moveaxis(one_hot(labels), -1, 1), first, axis=1),
        measure(labels, probabilities, from_logits=False),
    ]
    for per_class, _ in forms:
        assert_value(per_class, reference)


def test_one_channel_is_a_mask():
    labels, logits = data(num_classes=1)
    per_class, mean = measure(labels, logits)
    reference = expected(labels, logits)
    assert_value(per_class, reference)
    assert relative_error(mean, reference[0]) <= SAME


def test_batches_of_any_size_give_the_mean_over_all_images():
    labels, logits = data(count=5)
    weights = np.array([0.5, 3.0, 0.0, 2.0, 1.0], "float32")
    logits[2] = np.nan
    metric = RegionMutualInformation(3, **SMALL)
    for part in (slice(0, 3), slice(3, 4), slice(4, 5)):
        update(metric, labels[part], logits[part], weights[part, None])
    logits[2] = 0.0
    assert_value(
        to_numpy(metric.result_per_class()), expected(labels, logits, weights)
    )


def test_an_image_without_a_class_does_not_count_for_it():
    labels, logits = data(count=2)
    per_class, _ = measure(labels, logits)
    alone, _ = measure(labels[:1], logits[:1])
    assert_value(per_class[2], alone[2], SAME)
    assert abs(per_class[0] - alone[0]) > 0.1
    _, weights = bounds(labels, logits, ignore_class=VOID)
    np.testing.assert_array_equal(weights, [[1, 1, 1], [1, 1, 0]])


def test_class_weights_weigh_the_classes_that_occurred():
    labels, logits = data(count=2)
    weights = [1.0, 0.0, 3.0]
    per_class, mean = measure(labels, logits, class_weights=weights)
    assert relative_error(mean, np.average(per_class, weights=weights)) <= SAME
    per_class, mean = measure(labels[1:], logits[1:], class_weights=weights)
    assert np.isnan(per_class[2])
    assert relative_error(mean, per_class[0]) <= SAME


def test_classes_may_change_places():
    labels, logits = data()
    order = np.array([2, 0, 1])
    moved = np.where(labels == VOID, VOID, np.argsort(order)[labels % VOID])
    assert_value(
        measure(moved, logits[..., order])[0],
        measure(labels, logits)[0][order],
        SAME,
    )


def test_flipped_images_have_the_same_value_where_windows_fit():
    labels, logits = data(height=24, width=24)
    flipped = measure(labels[:, ::-1], logits[:, ::-1], pool_size=1)[0]
    straight = measure(labels, logits, pool_size=1)[0]
    assert_value(flipped, straight, SAME)


def test_what_is_predicted_at_void_pixels_does_not_count():
    labels, logits = data()
    other = np.where((labels == VOID)[..., None], 50.0, logits)
    assert_value(
        measure(labels, other.astype("float32"))[0],
        measure(labels, logits)[0],
        SAME,
    )


def test_weights_keep_the_rules_of_the_loss():
    labels, logits = data()
    plain = measure(labels, logits)[0]
    images = np.array([1.0, 1.0, 2.0], "float32")
    twice = np.array([0, 1, 2, 2])
    pixels = np.full(labels.shape, 0.3, "float32")
    assert_value(measure(labels, logits, 7.0)[0], plain, SAME)
    assert_value(measure(labels, logits, pixels)[0], plain, SAME)
    assert_value(
        measure(labels, logits, images)[0],
        measure(labels[twice], logits[twice])[0],
        SAME,
    )
    pixels[:, 12:, 9:] = 0.0
    void = np.where(pixels == 0, VOID, labels)
    by_weight = measure(labels, logits, pixels[..., None])[0]
    assert_value(by_weight, measure(void, logits)[0], SAME)
    assert np.all(np.abs(by_weight - plain) > 1e-3)


def test_a_perfect_prediction_leaves_epsilon_to_explain():
    labels, _ = data()
    logits = 40 * one_hot(labels) - 20
    per_class, mean = measure(labels, logits)
    perfect = -0.5 * 2 * np.log(2 * 5e-4)
    np.testing.assert_allclose(per_class, perfect, rtol=1e-3)
    assert relative_error(mean, per_class.mean()) <= SAME


def test_nan_stays_with_the_classes_of_its_image():
    labels, logits = data(count=2)
    clean = measure(labels, logits)[0]
    logits[1] = np.nan
    per_class, mean = measure(labels, logits)
    assert np.isnan(per_class[:2]).all()
    assert np.isnan(mean)
    assert_value(per_class[2], clean[2], SAME)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_predictions_lose_nothing(dtype):
    labels, logits = data()
    logits = np.round(logits * 8) / 8
    half = ops.cast(logits, dtype)
    assert_value(measure(labels, half)[0], measure(labels, logits)[0], SAME)


def test_nothing_seen_is_zero_and_so_is_a_reset():
    labels, logits = data()
    metric = RegionMutualInformation(3, **SMALL)
    values = []
    for _ in range(2):
        assert float(metric.result()) == 0.0
        assert np.isnan(to_numpy(metric.result_per_class())).all()
        update(metric, np.full_like(labels, VOID), logits)
        assert float(metric.result()) == 0.0
        update(metric, labels[:0], logits[:0])
        assert float(metric.result()) == 0.0
        update(metric, labels, logits)
        values.append(float(metric.result()))
        metric.reset_state()
    assert values[0] == values[1] != 0


def test_config_keeps_every_option():
    options = {
        "num_classes": 2,
        "radius": [2, 3],
        "pooling": "max",
        "pool_size": 2,
        "activation": "softmax",
        "from_logits": True,
        "ignore_class": [255, -1],
        "class_weights": [1.0, 0.5],
        "epsilon": 1e-3,
        "axis": 1,
        "name": "structure",
        "dtype": "float16",
    }
    metric = RegionMutualInformation(**options)
    text = json.dumps(keras.saving.serialize_keras_object(metric))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(again) is RegionMutualInformation
    config = again.get_config()
    assert config.keys() == options.keys()
    assert json.loads(json.dumps(config)) == options
    assert {str(v.dtype) for v in again.variables} == {"float32"}


def compiled(num_classes=3, size=(24, 21), **options):
    model = keras.Sequential(
        [
            keras.Input((*size, num_classes)),
            keras.layers.Conv2D(num_classes, 3, padding="same"),
        ]
    )
    metric = RegionMutualInformation(
        num_classes,
        name="structure",
        **SMALL,
    )
    model.compile(
        optimizer=keras.optimizers.SGD(0.0),
        loss=lambda y_true, y_pred: ops.mean(y_pred, axis=(1, 2, 3)),
        weighted_metrics=[metric],
        **options,
    )
    return model, metric


def test_keras_reports_the_mean_over_the_epoch():
    labels, images = data(count=5)
    weights = np.linspace(0.5, 2.0, 5, dtype="float32")
    model, metric = compiled(jit_compile="compiled" in MODES)
    history = model.fit(
        images,
        labels,
        sample_weight=weights,
        validation_data=(images[:3], labels[:3], weights[:3]),
        batch_size=2,
        epochs=2,
        verbose=0,
    ).history
    logits = model.predict(images, batch_size=2, verbose=0)
    train = expected(labels, logits, weights)
    val = expected(labels[:3], logits[:3], weights[:3])
    assert_value(history["structure"], [np.nanmean(train)] * 2)
    assert_value(history["val_structure"], [np.nanmean(val)] * 2)
    model.evaluate(images, labels, sample_weight=weights, verbose=0)
    assert_value(to_numpy(metric.result_per_class()), train)


def test_images_of_unknown_size_are_measured():
    labels, images = data(count=2)
    model, _ = compiled(size=(None, None), jit_compile=False)
    values = [
        model.evaluate(images[:, :rows], labels[:, :rows], verbose=0)[1]
        for rows in (24, 17)
    ]
    assert_finite(values)
    logits = model.predict(images[:, :17], verbose=0)
    assert_value(values[1], np.nanmean(expected(labels[:, :17], logits)))


def test_a_saved_model_keeps_its_metric(tmp_path):
    labels, images = data(count=2)
    model, _ = compiled(jit_compile=False)
    model.compile(
        loss="mse",
        metrics=[RegionMutualInformation(3, from_logits=True, radius=(2, 1))],
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    targets = one_hot(labels)
    value = model.evaluate(images, targets, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_value(loaded.evaluate(images, targets, verbose=0), value, SAME)


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("num_classes", {"num_classes": 0}),
        ("radius", {"radius": 0}),
        ("pooling", {"pooling": "mean"}),
        ("pool_size", {"pool_size": (0, 1)}),
        ("activation", {"num_classes": 1, "activation": "softmax"}),
        ("class_weights", {"class_weights": [1.0, 2.0]}),
        ("epsilon", {"epsilon": 0.0}),
        ("axis", {"axis": 2}),
    ],
)
def test_rejects_wrong_options(argument, options):
    with pytest.raises(ValueError, match=f"^Invalid `{argument}`") as caught:
        RegionMutualInformation(**{"num_classes": 3, **options})
    assert f"Received: {argument}={options[argument]!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "shapes"),
    [
        ("y_pred.shape", [(2, 9, 9), (2, 9, 9, 4)]),
        ("y_pred.shape", [(2, 9, 9), (2, 9, 9)]),
        ("y_true.shape", [(2, 9, 8), (2, 9, 9, 3)]),
        ("sample_weight.shape", [(2, 9, 9), (2, 9, 9, 3), (3,)]),
        ("sample_weight.shape", [(2, 9, 9), (2, 9, 9, 3), (2, 9, 8)]),
        ("radius", [(2, 5, 9), (2, 5, 9, 3)]),
    ],
)
def test_rejects_wrong_shapes(argument, shapes):
    arrays = [np.ones(shape, "float32") for shape in shapes]
    metric = RegionMutualInformation(3)
    with pytest.raises(ValueError, match=f"^Invalid `{argument}`"):
        metric.update_state(*arrays)
