"""What `_backend` promises has one meaning on every backend."""

import functools
import inspect
import itertools

import numpy as np
import pytest
from keras import ops

import keras_rmi
from cases import CASES
from keras_rmi import (
    _backend,
    _backend_blocks,
    _backend_gradients,
    _backend_modes,
    _backend_regions,
)
from keras_rmi.ops.pooled_maps import read_pooling
from reference.pixelwise import activate, log_softmax
from support import (
    BACKEND,
    DEFAULT_MODE,
    MODES,
    SAME,
    assert_value,
    record_operations,
    reduced_matrix_precision,
    to_numpy,
    value_and_gradient,
    without_data,
    without_gradients,
)

FRAMEWORK = inspect.getmodule(type(ops.ones(())))
READ_PRECISION = getattr(FRAMEWORK, "get_float32_matmul_precision", None)
UNIQUE = itertools.count(1)
# Op by op, maps are worked on in blocks; a compiler gets them whole.
WORKS_IN_BLOCKS = MODES == ("eager",)
op_by_op = pytest.mark.skipif(
    not WORKS_IN_BLOCKS,
    reason=f"{BACKEND} compiles whole maps, and their constants with them",
)


def matrices(rows=6, inner=500, columns=5, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((2, rows, inner)).astype("float32")
    b = rng.standard_normal((2, inner, columns)).astype("float32")
    return a, b


def product_error(actual, a, b):
    """Error of a product, relative to that of the absolute values."""
    a, b = a.astype("float64"), b.astype("float64")
    return np.max(np.abs(actual - a @ b) / (np.abs(a) @ np.abs(b)))


def test_the_gradient_is_the_one_that_is_given(mode):
    x = np.arange(6, dtype="float32").reshape(2, 3)
    weights = ops.convert_to_tensor([2.0, -1.0], "float32")

    def squares(x):
        # Not the derivative, so that it can be told apart.
        return ops.sum(
            x * x, axis=1
        ), lambda upstream: 3.0 * upstream[:, None] + ops.zeros_like(x)

    value, gradient = value_and_gradient(
        lambda x: weights * _backend_gradients.custom_gradient(squares, x),
        x,
        mode,
    )
    assert value.tolist() == [10.0, -50.0]
    assert gradient.tolist() == [[6.0] * 3, [-3.0] * 3]


def test_an_exception_of_the_function_comes_out_at_once():
    calls = []

    def fails(x):
        calls.append(x)
        raise ValueError("the map is too small")

    with pytest.raises(ValueError, match=r"^the map is too small"):
        _backend_gradients.custom_gradient(fails, ops.ones((2, 3)))
    assert len(calls) == 1


# Fewer classes than a vector of torch has numbers, as many, and more.
@pytest.mark.parametrize("classes", [2, 7, 8, 15, 16, 21])
def test_softmax_and_its_logarithm_are_those_of_float64(classes):
    rng = np.random.default_rng(classes)
    x = rng.standard_normal((5, 4, classes)).astype("float32")
    x *= np.float32([1e-3, 1.0, 30.0, 1e30])[:, None]
    weights = rng.standard_normal(x.shape).astype("float32")
    exact = x.astype("float64")
    p, adjoint = activate(exact, "softmax")

    def weighted(x):
        return ops.sum(
            _backend.softmax(x) * ops.convert_to_tensor(weights), axis=-1
        )

    value, gradient = value_and_gradient(weighted, x)
    np.testing.assert_allclose(value, (weights * p).sum(-1), atol=1e-6)
    np.testing.assert_allclose(gradient, adjoint(weights), atol=1e-6)
    value, _ = value_and_gradient(_backend.log_softmax, x)
    np.testing.assert_allclose(value, log_softmax(exact), rtol=1e-6, atol=1e-6)


@op_by_op
@pytest.mark.parametrize("case", CASES, ids=str)
def test_only_the_first_step_brings_numbers_from_the_host(case, monkeypatch):
    """A GPU waits for each of them."""
    loss = case.build()
    labels, logits = map(ops.convert_to_tensor, case.inputs())
    logits.requires_grad_()

    def step():
        ops.sum(loss(labels, logits)).backward()

    step()
    as_tensor, brought = FRAMEWORK.as_tensor, []

    def spy(data, *arguments, **options):
        if not ops.is_tensor(data):
            brought.append(data)
        return as_tensor(data, *arguments, **options)

    monkeypatch.setattr(FRAMEWORK, "as_tensor", spy)
    step()
    assert brought == []
    ops.convert_to_tensor(1.0)
    assert brought == [1.0]


@op_by_op
@pytest.mark.parametrize("pooling", ["avg", "max", "interpolate"])
def test_ids_are_pooled_in_few_operations(pooling):
    """Sixteen one-hot maps took more than a hundred."""
    ids = ops.convert_to_tensor(np.arange(2 * 9 * 9).reshape(2, 9, 9) % 4 - 1)
    downsampling, _ = read_pooling(pooling, 4)
    with record_operations() as record:
        downsampling.one_hot(ids, 3)
    assert 0 < len(record.names) <= 30, record.names


@op_by_op
def test_a_constant_of_inference_takes_part_in_gradients_later():
    like = ops.ones(())
    for context in without_gradients():
        with context:
            _backend.constant(0.123, like)
    value, gradient = value_and_gradient(
        lambda x: x * _backend.constant(0.123, like), np.float32([2.0])
    )
    np.testing.assert_allclose(value, [0.246])
    np.testing.assert_allclose(gradient, [0.123])


@op_by_op
def test_constants_of_tensors_without_data_are_their_own():
    def value():
        return _backend.constant(0.456, ops.ones((2,))) * ops.ones((2,))

    with without_data():
        assert value().shape == (2,)
    assert to_numpy(value()).tolist() == np.float32([0.456] * 2).tolist()
    with without_data():
        assert value().shape == (2,)


def test_matmul_is_exact_while_fast_products_are_on(mode):
    # Products of a CPU are exact anyway: this is for a GPU.
    a, b = matrices()
    with reduced_matrix_precision():
        value, _ = value_and_gradient(
            lambda x: _backend.matmul(x, ops.convert_to_tensor(b)), a, mode
        )
    assert product_error(value, a, b) < 1e-6


@pytest.mark.skipif(
    READ_PRECISION is None,
    reason=f"{BACKEND} needs no setting of the process for one product",
)
def test_matmul_leaves_the_precision_of_the_process(monkeypatch):
    a, b = map(ops.convert_to_tensor, matrices())
    seen, matmul = [], ops.matmul

    def spy(*arguments):
        seen.append(READ_PRECISION())
        return matmul(*arguments)

    monkeypatch.setattr(_backend.ops, "matmul", spy)
    with reduced_matrix_precision():
        reduced = READ_PRECISION()
        _backend.matmul(a, b)
        assert READ_PRECISION() == reduced
        with pytest.raises(RuntimeError):
            _backend.matmul(a, a)
        assert READ_PRECISION() == reduced
    assert seen == ["highest", "highest"]
    assert reduced != "highest"


def rounded(x):
    """To 11 bits, as TF32 has them."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.round(mantissa * 2**11) / 2**11, exponent)


def truncated(x):
    return (x.view("int32") & ~0x1FFF).view("float32")


@pytest.mark.parametrize("cut", [rounded, truncated])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_split_matmul_survives_operands_of_11_bits(cut, scale, monkeypatch):
    a, b = matrices()
    a *= scale

    def matmul(a, b):
        product = cut(to_numpy(a)) @ cut(to_numpy(b))
        return ops.convert_to_tensor(product)

    monkeypatch.setattr(_backend.ops, "matmul", matmul)
    tensors = [ops.convert_to_tensor(x) for x in (a, b)]
    assert product_error(to_numpy(matmul(*tensors)), a, b) > 1e-5
    value = to_numpy(_backend.split_matmul(*tensors))
    assert product_error(value, a, b) < 1e-6


def test_split_matmul_is_a_matmul_in_every_mode(mode):
    a, b = matrices()
    value, _ = value_and_gradient(
        lambda x: _backend.split_matmul(x, ops.convert_to_tensor(b)), a, mode
    )
    assert product_error(value, a, b) < 1e-6


def one_after_the_other(a, b):
    """A product that adds its terms in their order, as some of a GPU do."""
    terms = to_numpy(a)[..., None] * to_numpy(b)[..., None, :, :]
    return ops.convert_to_tensor(np.cumsum(terms, axis=-2)[..., -1, :])


@pytest.mark.parametrize("width", [3, 512, 30001])
def test_moments_on_a_gpu_survive_products_that_lose_digits(width, monkeypatch):
    rng = np.random.default_rng(0)
    # Nearly equal terms, which are rounded one way.
    maps = 0.37 + 1e-7 * rng.standard_normal((2, 2, 2, width))
    maps = ops.convert_to_tensor(maps, "float32")
    z = _backend_regions.samples(maps, (1, 1), 1, {})
    rows = to_numpy(maps).astype("float64").reshape(2, 2, -1)
    rows = np.concatenate([rows, np.ones_like(rows[:, :1])], axis=1)
    scale = np.diag([1.0, 3.0, 1.0])
    scaling = ops.convert_to_tensor(np.stack(2 * [scale[:2]]), "float32")

    def errors():
        found = _backend_regions.second_moments(z)
        yield product_error(to_numpy(found), rows, rows.swapaxes(1, 2))
        found = _backend_regions.second_moments_of(scaling, z)
        scaled = scale @ rows
        yield product_error(to_numpy(found), scaled, scaled.swapaxes(1, 2))

    monkeypatch.setattr(_backend_regions, "matmul", one_after_the_other)
    monkeypatch.setattr(_backend_regions, "device", lambda x: "gpu")
    assert max(errors()) < 2e-5
    if width > 1024:
        # What the pieces are for.
        monkeypatch.setattr(_backend_regions, "_PIECE", 2**20)
        assert min(errors()) > 1e-4


@pytest.mark.skipif(
    WORKS_IN_BLOCKS, reason=f"{BACKEND} runs it as it is written"
)
def test_an_operation_is_traced_once_for_a_shape_and_its_options():
    traces = []

    @_backend_modes.operation("", "", None)
    def scaled(arrays, factor, memory):
        traces.append(factor)
        return (factor * arrays[0],)

    for factor in (2.0, 2.0, 3.0):
        for number in (1.0, 5.0):
            x = ops.convert_to_tensor([number])
            (found,) = scaled((x,), factor, memory={})
            assert to_numpy(found).tolist() == [factor * number]
    assert traces == [2.0, 3.0]


@pytest.mark.parametrize("bytes_per_row", [1, 2**19, 2**30])
@pytest.mark.parametrize(("rows", "multiple"), [(1, 1), (7, 3), (101, 4)])
def test_row_blocks_cover_all_rows_by_whole_windows(
    rows, multiple, bytes_per_row
):
    like = ops.ones((1,))
    blocks = _backend_blocks.row_blocks(rows, multiple, bytes_per_row, like)
    starts, stops = zip(*blocks)
    assert starts == (0, *stops[:-1])
    assert stops[-1] == rows
    assert all(start % multiple == 0 for start in starts)
    if bytes_per_row == 2**30:
        expected = -(-rows // multiple) if WORKS_IN_BLOCKS else 1
        assert len(blocks) == expected


def test_an_unknown_number_of_rows_is_one_block():
    blocks = _backend_blocks.row_blocks(None, 3, 2**30, ops.ones((1,)))
    assert blocks == [(0, None)]


@pytest.mark.parametrize("cuts", [(0, 7), (0, 3, 7), (0, 1, 5, 6, 7)])
@pytest.mark.parametrize("axis", [0, 1])
def test_assemble_joins_blocks_in_their_order(axis, cuts):
    x = np.arange(98, dtype="float32").reshape(7, 7, 2)
    tensor = ops.convert_to_tensor(x)
    index = [slice(None)] * 3

    def block(start, stop):
        index[axis] = slice(start, stop)
        return 2 * tensor[tuple(index)]

    blocks = list(itertools.pairwise(cuts))
    whole = _backend_blocks.assemble(block, blocks, axis, 7)
    np.testing.assert_array_equal(to_numpy(whole), 2 * x)


@pytest.mark.parametrize("bytes_per_plane", [1, 2**22, 2**30])
def test_map_planes_sees_each_plane_once(bytes_per_plane, mode):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 4, 3)).astype("float32")
    scale = np.arange(5, dtype="float32")

    def squares(arrays):
        plane, factor = arrays
        transposed = ops.swapaxes(plane, -1, -2)
        return transposed @ plane, factor * ops.sum(plane, axis=(-2, -1))

    def both(x):
        arrays = ops.stop_gradient(x), ops.convert_to_tensor(scale)
        product, total = _backend_blocks.map_planes(
            squares, arrays, bytes_per_plane
        )
        assert tuple(product.shape) == (5, 3, 3)
        return ops.sum(product, axis=(1, 2)) + total + ops.sum(x, axis=(1, 2))

    value, _ = value_and_gradient(both, x, mode)
    expected = np.sum(x.swapaxes(1, 2) @ x, axis=(1, 2))
    expected += (scale + 1.0) * x.sum(axis=(1, 2))
    assert_value(value, expected, SAME)


@pytest.mark.skipif(WORKS_IN_BLOCKS, reason=f"{BACKEND} traces nothing")
@pytest.mark.parametrize("mode", MODES[1:])
def test_a_loop_in_a_loop_is_traced_once(mode):
    traces = []

    def of_band(band):
        traces.append(band.shape)
        return ops.sum(band, axis=(-2, -1))

    def of_plane(arrays):
        return (_backend_blocks.sum_bands(of_band, *arrays, 2, 2, 0),)

    def value(x):
        arrays = (ops.stop_gradient(x),)
        (sums,) = _backend_blocks.map_planes(of_plane, arrays, 1)
        return sums + ops.sum(x, axis=(1, 2))

    x = np.arange(60, dtype="float32").reshape(5, 4, 3)
    sums, _ = value_and_gradient(value, x, mode)
    np.testing.assert_array_equal(sums, 2 * x.sum(axis=(1, 2)))
    assert traces == [(2, 3)]


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("leading", [(), (2, 3)], ids=str)
def test_bands_are_summed_and_overlap(count, leading, mode):
    rng = np.random.default_rng(0)
    rows, overlap = 3, 2
    height = count * rows + overlap
    x = rng.standard_normal((*leading, height, 4)).astype("float32")

    def both(x):
        weights = ops.reshape(ops.arange(1.0, rows + overlap + 1), (-1, 1))
        total = _backend_blocks.sum_bands(
            lambda band: ops.sum(weights * band, axis=(-2, -1)),
            x,
            *(count, rows, overlap),
        )
        (spread,) = _backend_blocks.overlap_bands(
            lambda band: (weights * band,), x, *(count, rows, overlap)
        )
        assert tuple(spread.shape) == x.shape
        return ops.sum(spread, axis=(-2, -1)) + 0.5 * total

    weights = np.arange(1.0, rows + overlap + 1)[:, None]
    bands = [
        x[..., k : k + rows + overlap, :] for k in range(0, count * rows, rows)
    ]
    expected = sum(
        1.5 * np.sum(weights * band, axis=(-2, -1)) for band in bands
    )
    value, _ = value_and_gradient(both, x, mode)
    assert_value(value, expected, SAME)


@pytest.mark.parametrize(
    ("radius", "size"),
    [((1, 3), 1), ((2, 2), 7300), ((2, 2), 11600), ((5, 2), 5000)],
    ids=str,
)
def test_statistics_do_not_depend_on_their_bands(
    radius, size, mode, monkeypatch
):
    asked = []

    def band_bytes(like):
        asked.append(size)
        return size

    value, gradient = statistics_of_one_band(radius)
    monkeypatch.setattr(_backend_blocks, "band_bytes", band_bytes)
    actual = statistics(radius, mode)
    assert asked
    assert_value(actual[0], value, SAME)
    np.testing.assert_allclose(actual[1], gradient, atol=1e-6)


def statistics(radius, mode=DEFAULT_MODE):
    """The bound and its gradient, from a trace of their own."""
    rng = np.random.default_rng(0)
    labels = (rng.random((1, 42, 9, 1)) < 0.5).astype("float32")
    predictions = rng.random((1, 42, 9, 1)).astype("float32")
    # As good as the same number, but no other trace is used for it.
    epsilon = 5e-4 + next(UNIQUE) * 2e-19
    return value_and_gradient(
        lambda x: keras_rmi.ops.region_mutual_information(
            labels, x, radius=radius, epsilon=epsilon
        ),
        predictions,
        mode,
    )


@functools.cache
def statistics_of_one_band(radius):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_backend_blocks, "band_bytes", lambda like: 2**20)
        return statistics(radius)


@op_by_op
@pytest.mark.parametrize("height", [12, 13, 14, 15])
@pytest.mark.parametrize(
    "options",
    [
        {"pooling": None},
        {"pool_size": 2},
        {"pool_size": (3, 2), "activation": "softmax"},
        {"pooling": "max", "pool_size": 2},
        {"pooling": "max", "pool_size": 3},
        {"pooling": "max", "pool_size": (4, 1), "rmi_weight": 1.0},
        {"pooling": "interpolate"},
        {"rmi_weight": 0.0},
    ],
    ids=str,
)
def test_the_loss_does_not_depend_on_its_blocks(options, height, monkeypatch):
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 3, (2, height, 9))
    logits = rng.standard_normal((2, height, 9, 3)).astype("float32")
    options = {"radius": 2, "from_logits": True, **options}

    def measure():
        return value_and_gradient(
            lambda x: keras_rmi.rmi_loss(labels, x, **options), logits
        )

    counts = []

    def row_blocks(windows, num_rows, multiple, bytes_per_row, like):
        edges = [*range(0, num_rows, windows * multiple), num_rows]
        counts.append(len(edges) - 1)
        return list(itertools.pairwise(edges))

    expected = measure()
    for windows in (1, 2, 99):
        blocks = functools.partial(row_blocks, windows)
        monkeypatch.setattr(_backend_blocks, "row_blocks", blocks)
        value, gradient = measure()
        assert_value(value, expected[0], SAME)
        np.testing.assert_allclose(gradient, expected[1], atol=1e-6)
    assert max(counts) > min(counts) == 1
