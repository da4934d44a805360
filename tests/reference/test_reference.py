"""The reference itself: recorded figures, and derivatives of its values."""

import numpy as np
import pytest

import record_dense_crf
from reference import scenes
from reference.dense_crf import dense_crf
from reference.regions import (
    posterior_log_determinant,
    qr_oracle,
    schur_oracle,
)
from reference.rmi import lower_bound, rmi_loss
from support import (
    CRF_LARGEST,
    RECORDED_CASES,
    assert_direction,
    assert_norm,
    assert_value,
    central_difference,
    load_recorded,
)

ORACLES = (schur_oracle, qr_oracle)


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("name", RECORDED_CASES)
def test_reproduces_the_recorded_rmi(name, oracle):
    case = load_recorded(name)
    value, gradient = rmi_loss(
        case.labels,
        case.logits,
        from_logits=True,
        rmi_weight=1.0,
        oracle=oracle,
        **case.options,
    )
    shift = case.logits.shape[-1] * lower_bound()
    # The published code adds 1e-8 to the Cholesky diagonal inside its log.
    assert_value(value + shift, case.rmi_value, 1e-7)
    assert_direction(gradient / len(value), case.rmi_gradient, 1e-12)
    assert_norm(gradient / len(value), case.rmi_gradient, 1e-6)


@pytest.mark.parametrize("name", RECORDED_CASES)
def test_reproduces_the_recorded_cross_entropy(name):
    case = load_recorded(name)
    value, gradient = rmi_loss(
        case.labels,
        case.logits,
        from_logits=True,
        rmi_weight=0.0,
        **case.options,
    )
    assert_value(value, case.pixel_value, 1e-9)
    assert_direction(gradient / len(value), case.pixel_gradient, 1e-12)
    assert_norm(gradient / len(value), case.pixel_gradient, 1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", record_dense_crf.CASES)
def test_reproduces_the_recorded_crf(name, dtype):
    with np.load(record_dense_crf.FOLDER / f"{name}.npz") as file:
        case = dict(file)
    options = record_dense_crf.CASES[name][3]
    p, image = case["probabilities"], case["image"]
    for count in record_dense_crf.ITERATIONS:
        q = dense_crf(p, image, count, **options, dtype=dtype)
        # Noise multiplies the rounding of float32 with every iteration.
        limit = CRF_LARGEST if dtype == "float32" else 10 * CRF_LARGEST
        assert np.abs(q - case[f"q_{count}"]).max() <= limit


@pytest.mark.parametrize("name", scenes.LOGITS)
@pytest.mark.parametrize("radius", [1, 3, (2, 4)])
def test_both_oracles_agree(name, radius):
    labels, logits = scenes.scene(name, 33, 41, num_classes=2)
    results = [
        rmi_loss(
            labels,
            logits,
            from_logits=True,
            rmi_weight=1.0,
            radius=radius,
            oracle=oracle,
        )
        for oracle in ORACLES
    ]
    assert_value(results[0][0], results[1][0], 1e-9)
    scale = np.linalg.norm(results[1][1]) + 1e-12
    assert np.linalg.norm(results[0][1] - results[1][1]) < 1e-5 * scale


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize(
    ("pooling", "pool_size", "radius"),
    [
        ("avg", 3, 3),
        ("avg", (2, 3), (2, 1)),
        ("max", 2, 2),
        ("interpolate", 2, 3),
        (None, 1, 3),
    ],
)
def test_gradient_of_the_loss_is_its_derivative(
    pooling, pool_size, radius, activation, from_logits
):
    labels, logits = scenes.scene("noisy", 14, 17, num_classes=3)
    labels[:, 3:5, 4:9] = 255
    weights = 0.5 + np.random.default_rng(3).random(labels.shape)
    y_pred = logits.astype("float64")
    if not from_logits:
        y_pred = 0.02 + 0.96 / (1.0 + np.exp(-y_pred))

    def loss(prediction):
        return rmi_loss(
            labels,
            prediction,
            sample_weight=weights,
            pooling=pooling,
            pool_size=pool_size,
            radius=radius,
            activation=activation,
            from_logits=from_logits,
            ignore_class=255,
            class_weights=[1.0, 0.5, 2.0],
        )

    gradient = loss(y_pred)[1]
    positions, slopes = central_difference(lambda x: loss(x)[0].sum(), y_pred)
    np.testing.assert_allclose(
        gradient[positions], slopes, rtol=1e-5, atol=1e-8
    )


@pytest.mark.parametrize("oracle", ORACLES)
def test_gradient_to_the_labels_is_its_derivative(oracle):
    rng = np.random.default_rng(0)
    labels, probabilities = rng.random((2, 2, 9, 11, 2))

    def value(labels):
        return posterior_log_determinant(
            labels, probabilities, (3, 2), 5e-4, oracle
        )

    gradient = value(labels)[1]
    positions, slopes = central_difference(lambda x: value(x)[0].sum(), labels)
    np.testing.assert_allclose(
        gradient[positions], slopes, rtol=1e-6, atol=1e-9
    )
