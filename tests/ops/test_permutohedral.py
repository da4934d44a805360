"""Points on the lattice, and the numbers of its vertices."""

import numpy as np
import pytest
from keras import ops

from keras_rmi import _backend_sparse
from keras_rmi.ops.permutohedral import Embedding, host_repeat
from reference.dense_crf import Lattice
from support import value_and_gradient

# Sizes of images and deviations: coarse, fine, and near what 32 bits hold.
SPACES = [
    ((48, 64), (30, 30), (13, 13, 13)),
    ((48, 64), (2, 5), (13, 5, 7)),
    ((1024, 2048), (50, 50), (3, 3, 3)),
    ((1024, 2048), (3, 3), (13, 13, 13)),
    ((30, 2000), (1, 1), None),
]
every_space = pytest.mark.parametrize("space", SPACES, ids=str)


def tables_and_indices(space, count=500):
    """Corners of the space, and points anywhere in it."""
    (height, width), deviations, colors = space
    lengths = [width, height, *([256] * 3 if colors else [])]
    deviations = [*deviations, *(colors or [])]
    tables = [
        np.arange(length, dtype="float32") / np.float32(deviation)
        for length, deviation in zip(lengths, deviations)
    ]
    rng = np.random.default_rng(0)
    ends = np.stack(np.meshgrid(*[[0, n - 1] for n in lengths]), axis=-1)
    anywhere = [rng.integers(0, n, count) for n in lengths]
    points = np.concatenate(
        [ends.reshape(-1, len(lengths)), np.stack(anywhere, axis=-1)]
    )
    return tables, list(points.T.astype("int32"))


def embed(space):
    """Embedding, codes (D,P), axes, weights, and the points' features."""
    tables, indices = tables_and_indices(space)
    embedding = Embedding(tables)
    coordinates = embedding.look_up(indices, np)
    found = embedding.simplex(coordinates, np, host_repeat)
    features = [table[index] for table, index in zip(tables, indices)]
    return embedding, *found, np.stack(features, axis=-1)


@every_space
def test_every_vertex_has_a_number_of_its_own(space):
    embedding, codes, _, weights, features = embed(space)
    assert embedding.num_codes < 2**32
    keys, expected = Lattice._simplex(Lattice._elevate(features))
    np.testing.assert_array_equal(weights.T, expected)
    for m in range(embedding.side):
        numbers = {}
        for key, code in zip(map(tuple, keys[:, m]), codes[m].tolist()):
            assert numbers.setdefault(key, code) == code
        assert len(set(numbers.values())) == len(numbers)


@every_space
def test_steps_lead_to_the_neighbours_and_to_nothing_else(space):
    embedding, codes, axes, _, features = embed(space)
    keys, _ = Lattice._simplex(Lattice._elevate(features))
    side = embedding.side
    numbers = [
        dict(zip(map(tuple, keys[:, m]), codes[m].tolist()))
        for m in range(side)
    ]
    found = 0
    for axis, m in np.ndindex(side, side):
        for steps, way in (
            (embedding.steps_back, -1),
            (embedding.steps_on, 1),
        ):
            there = numbers[(m + way) % side]
            known = set(there.values())
            move = np.full(side - 1, way)
            move[axis : axis + 1] = -way * (side - 1)
            for key, code in numbers[m].items():
                reached = np.int64(code) + steps[axis, m]
                reached = int(reached.astype("int32"))
                wanted = there.get(tuple((np.array(key) + move).tolist()))
                found += wanted is not None
                assert reached == wanted or reached not in known
    # At least those within the simplex of each point.
    assert found > len(features)
    assert axes.shape == (side - 1, len(features))


def test_coordinates_are_the_same_to_the_last_bit(mode):
    tables, indices = tables_and_indices(SPACES[1])
    embedding = Embedding(tables)
    expected = embedding.simplex(
        embedding.look_up(indices, np), np, host_repeat
    )
    points = np.stack(indices).astype("float32")

    def codes_and_weights(points):
        points = ops.cast(points, "int32")
        # The first two are constants of the program, as in an image.
        constants = [ops.convert_to_tensor(index) for index in indices[:2]]
        found = embedding.simplex(
            embedding.look_up(
                [*constants, *(points[i] for i in (2, 3, 4))], ops
            ),
            ops,
            _backend_sparse.repeat,
        )
        high, low = ops.right_shift(found[0], 16), found[0] & 0xFFFF
        return ops.concatenate(
            [ops.cast(x, "float32") for x in (high, low, *found[1:])], axis=0
        )

    value, _ = value_and_gradient(codes_and_weights, points, mode)
    codes, axes, weights = expected
    whole = np.concatenate([codes >> 16, codes & 0xFFFF, axes])
    np.testing.assert_array_equal(value[: len(whole)], whole)
    np.testing.assert_array_equal(value[len(whole) :], weights)


def test_too_many_numbers_are_told():
    fine = [np.arange(256, dtype="float32")] * 5
    with pytest.raises(OverflowError):
        Embedding(fine)
