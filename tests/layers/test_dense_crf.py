"""The fully connected CRF: pydensecrf's results, gradient, conventions."""

import functools
import os
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import keras_rmi
from keras_rmi.layers import DenseCRF
from keras_rmi.ops import crf_kernels
from keras_rmi.ops.dense_crf import MeanField
from record_dense_crf import CASES, FOLDER, ITERATIONS, blobs, probabilities
from reference import dense_crf as reference
from support import (
    BACKEND,
    CRF_HARD,
    CRF_LARGEST,
    CRF_MEAN,
    DEFAULT_MODE,
    HALF,
    MODES,
    NORM,
    to_numpy,
    value_and_gradient,
)

# A folder with more recorded cases, which need not be free to share.
MORE = os.environ.get("KERAS_RMI_CRF_CASES")
MORE_CASES = sorted(Path(MORE).glob("*.npz")) if MORE else []
IN_EVERY_MODE = "flat_ties", "hard_noise"
SIZE = 12, 14
FAST = {"bilateral_sxy": 8, "bilateral_srgb": 20}


@functools.cache
def scene(seed=0, size=SIZE, num_classes=3):
    """Probabilities (1,H,W,C) and an image (1,H,W,3)."""
    rng = np.random.default_rng(seed)
    image = blobs(rng, *size)
    return probabilities(rng, image, num_classes)[None], image[None]


@pytest.fixture
def branches(monkeypatch):
    """As for large images: a branch for each number of vertices."""
    monkeypatch.setattr(crf_kernels, "_FEW_PIXELS", 0)


@functools.lru_cache(maxsize=1)
def on_one_array(layer):
    """One input, so that nothing is a constant of the program."""
    return lambda x: layer([ops.stop_gradient(x[..., :-3]), x[..., -3:]])


def refine(layer, p, image, mode=DEFAULT_MODE):
    """The value alone, which compiles faster than with its gradient."""
    x = np.concatenate([p, image], axis=-1, dtype="float32")
    return value_and_gradient(on_one_array(layer), x, mode)[0]


def assert_agrees(q, expected, largest=CRF_LARGEST, mean=CRF_MEAN):
    error = np.abs(q - expected)
    assert error.max() <= largest
    assert error.mean() <= mean
    np.testing.assert_array_equal(q.argmax(-1), expected.argmax(-1))


def check_recorded(name, iterations, mode):
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = dict(file)
    layer = DenseCRF(iterations, **CASES[name][3])
    q = refine(
        layer, arrays["probabilities"][None], arrays["image"][None], mode
    )[0]
    expected = arrays[f"q_{iterations}"]
    if name.startswith("hard"):
        assert np.abs(q - expected).max() <= CRF_HARD
    else:
        assert_agrees(q, expected)


@pytest.mark.parametrize(
    ("name", "iterations"),
    [
        *((name, 10) for name in CASES if name not in IN_EVERY_MODE),
        ("blobs", 1),
        ("flat_ties", 5),
    ],
)
def test_agrees_with_pydensecrf(name, iterations):
    check_recorded(name, iterations, DEFAULT_MODE)


@pytest.mark.usefixtures("branches")
@pytest.mark.parametrize("name", IN_EVERY_MODE)
def test_every_mode_agrees_with_pydensecrf(name, mode):
    check_recorded(name, 10, mode)


@pytest.mark.skipif(
    not MORE, reason="KERAS_RMI_CRF_CASES names no folder with recorded cases"
)
@pytest.mark.parametrize("iterations", ITERATIONS)
@pytest.mark.parametrize("path", MORE_CASES, ids=lambda path: path.stem)
def test_agrees_with_further_recorded_cases(path, iterations, mode):
    with np.load(path) as file:
        case = dict(file)
    layer = DenseCRF(
        iterations,
        gaussian_sxy=case["sxy_gaussian"],
        gaussian_compat=float(case["compat_gaussian"]),
        bilateral_sxy=case["sxy_bilateral"],
        bilateral_srgb=case["srgb"],
        bilateral_compat=float(case["compat_bilateral"]),
        epsilon=float(case["clip"]),
    )
    q = refine(layer, case["probs"][None], case["image"][None], mode)
    assert_agrees(q[0], case[f"q_{iterations}"])


def test_a_matrix_and_a_vector_may_stand_for_a_number():
    p, image = scene()
    forms = [3, [-3.0] * 3, (-3 * np.eye(3)).tolist()]
    expected, *others = (
        refine(DenseCRF(2, bilateral_compat=form), p, image) for form in forms
    )
    for q in others:
        np.testing.assert_allclose(q, expected, atol=1e-6)


def test_without_iterations_probabilities_stay():
    p, image = scene()
    q = refine(DenseCRF(0), p, image)
    p = p.clip(1e-5)
    np.testing.assert_allclose(q, p / p.sum(-1, keepdims=True), atol=1e-6)


def test_an_image_of_a_batch_is_as_the_image_alone():
    # Images of one vertex and of many: rows of vertices are shared.
    scenes = [scene(0), scene(1)]
    flat = scenes[0][0], np.full((1, *SIZE, 3), 40, "uint8")
    noise = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), "uint8")
    scenes += [flat, (scenes[1][0], noise)]
    layer = DenseCRF(5, **FAST)
    p, image = map(np.concatenate, zip(*scenes))
    together = refine(layer, p, image)
    for b, alone in enumerate(scenes):
        # Vector units round another exponential than what is left of a row.
        np.testing.assert_allclose(
            together[b : b + 1], refine(layer, *alone), atol=CRF_LARGEST
        )


def test_no_images_have_no_maps():
    p, image = (x[:0] for x in scene())
    assert refine(DenseCRF(2, **FAST), p, image).shape == p.shape


@pytest.mark.skipif(
    MODES == ("eager",),
    reason=f"{BACKEND} itself vectorises no custom gradient",
)
def test_images_can_be_vectorised():
    p, image = map(np.concatenate, zip(scene(0), scene(1)))
    layer = DenseCRF(2, **FAST)
    q, _ = value_and_gradient(
        lambda x: ops.vectorized_map(
            lambda x: on_one_array(layer)(x[None])[0], ops.convert_to_tensor(x)
        ),
        np.concatenate([p, image], axis=-1, dtype="float32"),
    )
    np.testing.assert_allclose(q, refine(layer, p, image), atol=1e-5)


@pytest.mark.usefixtures("branches")
def test_more_vertices_than_expected_are_all_there():
    size = 30, 34
    p, photograph = scene(0, size)
    rng = np.random.default_rng(0)
    shape = (1, *size, 3)
    few = np.clip(photograph // 3 + rng.integers(0, 4, shape), 0, 255)
    noise = rng.integers(0, 256, shape, "uint8")
    layer, counts = DenseCRF(5), []
    for image in (few, photograph, noise):
        features = reference.bilateral_features(image[0], 30, 13)
        counts.append(len(reference.Lattice(features).keys))
        expected = reference.dense_crf(p[0], image[0], dtype="float32")
        q = refine(layer, p, image)
        assert np.abs(q[0] - expected).max() <= CRF_HARD
    # Six classes; one of them has more than the mean.
    shares = np.array(counts) / 6 / (size[0] * size[1])
    low, middle, _ = crf_kernels._SHARES
    assert shares[0] < 0.8 * low
    assert 1.1 * low < shares[1] < 0.8 * middle
    assert 1.1 * middle < shares[2]


@functools.cache
def slopes(iterations):
    """A direction, and the derivative of a weighted sum along it."""
    p, image = scene()
    kernels = reference.kernels_of(image[0], bilateral_sxy=8, bilateral_srgb=20)
    rng = np.random.default_rng(1)
    weights = rng.random(p.shape)
    direction = rng.standard_normal((4, *p[0].shape))

    def total(x):
        q = reference.mean_field(x, kernels, (3, 10), iterations)
        return np.sum(weights[0] * q)

    step = 1e-6
    found = [
        (total(p[0] + step * v) - total(p[0] - step * v)) / (2 * step)
        for v in direction * p[0]
    ]
    return weights.astype("float32"), direction * p[0], np.array(found)


@pytest.mark.usefixtures("branches")
def test_gradient_matches_float64_differences(mode):
    p, image = scene()
    weights, directions, expected = slopes(3)
    layer = DenseCRF(3, **FAST)
    _, gradient = value_and_gradient(
        lambda x: ops.multiply(layer([x[..., :3], x[..., 3:]]), weights),
        np.concatenate([p, image], axis=-1, dtype="float32"),
        mode,
    )
    found = np.tensordot(directions, gradient[0, ..., :3].astype("float64"), 3)
    assert np.linalg.norm(found - expected) <= NORM * np.linalg.norm(expected)


@pytest.mark.usefixtures("branches")
@pytest.mark.parametrize(
    "compat",
    [10.0, [-4.0, -10.0, -7.0], [[-9.0, 1.0, 2.0], [0, -8, 1], [3, 0, -7]]],
    ids=("number", "vector", "matrix"),
)
def test_weights_of_the_kernels_have_their_gradient(compat):
    p, image = scene()
    kernels = reference.kernels_of(image[0], bilateral_sxy=8, bilateral_srgb=20)
    weights = np.random.default_rng(1).random(p.shape)
    compats = 3.0 * np.ones_like(compat), np.array(compat)
    program = MeanField(
        SIZE, 3, (3, 3), (8, 8), (20, 20, 20), "symmetric", "symmetric", 1e-5
    )
    x = np.stack(compats).astype("float32")
    _, gradient = value_and_gradient(
        lambda x: ops.multiply(program(p, image, [x[0], x[1]]), weights),
        x,
        MODES[-1],
    )

    def total(compats):
        return np.sum(
            weights[0] * reference.mean_field(p[0], kernels, compats, 3)
        )

    step = 1e-5
    expected = [
        (total(x + step * v) - total(x - step * v)) / (2 * step)
        for v in np.eye(x.size).reshape(-1, *x.shape)
    ]
    error = np.linalg.norm(gradient.reshape(-1) - expected)
    assert error <= NORM * np.linalg.norm(expected)


def test_the_image_has_no_gradient():
    p, image = scene()
    layer = DenseCRF(1, **FAST)
    _, gradient = value_and_gradient(
        lambda x: layer([x[..., :3], x[..., 3:]]),
        np.concatenate([p, image], axis=-1, dtype="float32"),
    )
    assert gradient[..., :3].any()
    assert not gradient[..., 3:].any()


def test_levels_are_rounded_and_clipped():
    p, image = scene()
    layer = DenseCRF(2, **FAST)
    expected = refine(layer, p, image)
    near = image + 0.4 * np.where(image % 2, 1, -1)
    near = np.where(image == 255, 300.0, near)
    np.testing.assert_array_equal(refine(layer, p, near), expected)
    q, _ = value_and_gradient(lambda p: layer([ops.stop_gradient(p), image]), p)
    assert image.dtype == "uint8"
    np.testing.assert_array_equal(q, expected)


def test_config_makes_the_same_layer():
    options = {
        "iterations": 2,
        "gaussian_sxy": (2, 3.5),
        "gaussian_compat": [1.0, 2.0, 0.5],
        "bilateral_sxy": 20,
        "bilateral_srgb": (10, 11, 12),
        "bilateral_compat": np.eye(3),
        "gaussian_normalization": None,
        "bilateral_normalization": "after",
        "epsilon": 1e-3,
        "trainable_compat": True,
    }
    layer = DenseCRF(**options, name="crf")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    for name, value in options.items():
        assert np.array_equal(getattr(again, name), value)
    p, image = scene()
    np.testing.assert_array_equal(
        refine(again, p, image), refine(layer, p, image)
    )


def model(layer, size=SIZE):
    """Images in, probabilities of a convolution refined by them out."""
    image = keras.Input((*size, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(3, 3, padding="same", activation="softmax")(x)
    return keras.Model(image, layer([x, image]))


def test_models_work_and_survive_saving(tmp_path):
    image = np.concatenate([scene(seed)[1] for seed in range(3)])
    image = image.astype("float32")
    crf = model(DenseCRF(2, trainable_compat=True, **FAST))
    assert crf.output_shape == (None, *SIZE, 3)
    expected = crf.predict(image, batch_size=2, verbose=0)
    inner = keras.Model(crf.inputs, crf.layers[-2].output)
    p = inner.predict(image, batch_size=2, verbose=0)
    np.testing.assert_allclose(
        expected[1],
        reference.dense_crf(p[1], image[1], 2, 3, 3, 8, 20),
        atol=CRF_LARGEST,
    )
    crf.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.predict(image, batch_size=2, verbose=0), expected, atol=1e-6
    )


@pytest.mark.usefixtures("branches")
def test_training_improves_the_weights_of_the_kernels():
    scenes = [scene(seed) for seed in range(2)]
    p, image = map(np.concatenate, zip(*scenes))
    image = image.astype("float32")
    truth = reference.dense_crf(p[0], image[0], 1, 3, 4, 8, 20, 6)
    other = reference.dense_crf(p[1], image[1], 1, 3, 4, 8, 20, 6)
    labels = np.eye(3)[np.stack([truth, other]).argmax(-1)]
    layer = DenseCRF(
        1,
        gaussian_compat=0.5,
        bilateral_compat=0.5,
        trainable_compat=True,
        **FAST,
    )
    inputs = [keras.Input((*SIZE, 3)), keras.Input((*SIZE, 3))]
    crf = keras.Model(inputs, layer(inputs))
    crf.compile(
        optimizer=keras.optimizers.Adam(0.3),
        loss="categorical_crossentropy",
        jit_compile="compiled" in MODES,
    )
    before = crf.evaluate([p, image], labels, verbose=0)
    crf.fit([p, image], labels, epochs=5, verbose=0)
    after = crf.evaluate([p, image], labels, verbose=0)
    assert after < 0.9 * before
    assert len(crf.trainable_weights) == 2
    for weight in crf.get_weights():
        assert weight > 1.0


def test_weights_are_constants_unless_they_are_trained():
    layer = DenseCRF()
    layer.build([(None, *SIZE, 3), (None, *SIZE, 3)])
    assert layer.weights == []


@pytest.mark.skipif(
    "graph" not in MODES, reason=f"{BACKEND} knows every size before it runs"
)
def test_the_batch_may_be_of_unknown_size():
    p, image = map(np.concatenate, zip(scene(0), scene(1)))
    both = np.concatenate([p, image.astype("float32")], axis=-1)
    layer = DenseCRF(2, **FAST)
    q, gradient = value_and_gradient(
        lambda x: layer([x[..., :3], x[..., 3:]]),
        both,
        "graph",
        traced_shape=(None, *both.shape[1:]),
    )
    np.testing.assert_allclose(q, refine(layer, p, image), atol=1e-6)
    assert gradient[..., :3].any()


@pytest.mark.parametrize("dtype", HALF)
def test_mixed_precision_gives_half_precision_maps(dtype):
    p, image = scene()
    rough = to_numpy(ops.cast(ops.cast(p, dtype), "float32"))
    layer = DenseCRF(2, dtype=f"mixed_{dtype}", **FAST)
    q = layer([p, image])
    assert keras.backend.standardize_dtype(q.dtype) == dtype
    expected = refine(DenseCRF(2, **FAST), rough, image)
    np.testing.assert_allclose(
        to_numpy(ops.cast(q, "float32")), expected, atol=HALF[dtype]
    )


def test_the_function_refines_one_image_of_numpy():
    p, image = scene()
    options = {"gaussian_compat": [-1.0, -2.0, -3.0], **FAST}
    q = keras_rmi.ops.dense_crf(p[0], image[0], 2, **options)
    assert isinstance(q, np.ndarray)
    assert q.dtype == "float32"
    q[0, 0] = 0.0  # its memory is the caller's
    q = keras_rmi.ops.dense_crf(p[0], image[0], 2, **options)
    expected = refine(DenseCRF(2, **options), p, image)
    np.testing.assert_allclose(q, expected[0], atol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "error"),
    [
        (
            (np.ones((1, 4, 4, 2)), np.ones((4, 4, 3))),
            "`probabilities`.*DenseCRF",
        ),
        ((np.ones((4, 4, 2)), np.ones((4, 5, 3))), r"`image`.*\(4, 4, 3\)"),
        ((np.ones((4, 4, 2)), np.full((4, 4, 3), 0.5)), "`image`.*normalized"),
        ((np.ones((4, 4, 2)), np.full((4, 4, 3), -1)), r"`image`.*\(-1\.0"),
    ],
)
def test_the_function_rejects_other_arrays(arrays, error):
    with pytest.raises(ValueError, match=error):
        keras_rmi.ops.dense_crf(*arrays)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"bilateral_sxy": 1, "bilateral_srgb": 1}, ("srgb", "sxy")),
        ({"bilateral_sxy": 0.5, "bilateral_srgb": 2}, ("srgb", "sxy")),
        ({"gaussian_sxy": 1e-3}, ("gaussian_sxy",)),
    ],
)
def test_a_lattice_that_is_too_fine_is_refused(options, names):
    layer = DenseCRF(**options)
    shape = None, 360, 480
    with pytest.raises(ValueError, match=r"fit into 32 bits.*Increase") as text:
        layer.build([(*shape, 11), (*shape, 3)])
    for name in names:
        assert name in str(text.value)


def test_too_many_images_at_once_are_refused():
    layer = DenseCRF()
    with pytest.raises(
        ValueError, match=r"`probabilities`.*at most 128 images"
    ):
        layer.build([(400, 1024, 2048, 2), (400, 1024, 2048, 3)])


@pytest.mark.parametrize(
    ("shapes", "error"),
    [
        ([(None, None, 5, 2), (None, None, 5, 3)], "H and W must be static"),
        ([(None, 4, None, 2), (None, 4, None, 3)], "H and W must be static"),
        ([(None, 4, 5, None), (None, 4, 5, 3)], "only N may be unknown"),
        ([(4, 5, 2), (4, 5, 3)], "only N may be unknown"),
        ([(1, 4, 5, 2), (1, 4, 5, 1)], r"`image`.*\(1, 4, 5, 3\)"),
        ([(1, 4, 5, 2), (1, 5, 4, 3)], r"`image`.*\(1, 4, 5, 3\)"),
        ([(1, 4, 5, 2), (2, 4, 5, 3)], r"`image`.*\(1, 4, 5, 3\)"),
        ((1, 4, 5, 2), r"`inputs`.*\[probabilities, image\]"),
    ],
)
def test_rejects_wrong_shapes(shapes, error):
    with pytest.raises(ValueError, match=error):
        DenseCRF().compute_output_shape(shapes)
    with pytest.raises(ValueError, match=error):
        DenseCRF().build(shapes)


@pytest.mark.parametrize("name", ["gaussian_compat", "bilateral_compat"])
@pytest.mark.parametrize("compat", [[1.0, 2.0], np.eye(4).tolist()])
def test_compat_must_be_for_the_classes(name, compat):
    layer = DenseCRF(**{name: compat})
    with pytest.raises(ValueError, match=f"`{name}`.*3 classes"):
        layer.build([(None, 4, 4, 3), (None, 4, 4, 3)])


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("iterations", -1, ValueError),
        ("iterations", 1.5, TypeError),
        ("gaussian_sxy", 0, ValueError),
        ("gaussian_sxy", (3, 3, 3), ValueError),
        ("bilateral_sxy", "30", TypeError),
        ("bilateral_srgb", (13, 13), ValueError),
        ("bilateral_srgb", (13, 13, -1), ValueError),
        ("bilateral_srgb", float("inf"), ValueError),
        ("gaussian_compat", None, TypeError),
        ("gaussian_compat", [[1.0, 2.0]], ValueError),
        ("gaussian_compat", [[1.0], [1.0, 2.0]], TypeError),
        ("bilateral_compat", "3", TypeError),
        ("bilateral_compat", float("nan"), ValueError),
        ("gaussian_normalization", "mean", ValueError),
        ("bilateral_normalization", 1, ValueError),
        ("epsilon", 1.0, ValueError),
        ("epsilon", -0.1, ValueError),
        ("trainable_compat", 1, TypeError),
    ],
)
def test_rejects_wrong_options(name, value, error):
    with pytest.raises(error, match=rf"Invalid `{name}`.*{name}=") as caught:
        DenseCRF(**{name: value})
    assert str(caught.value).endswith(f"{name}={value!r}")
