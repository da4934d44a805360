"""A scene, a network before and after training, and their statistics."""

import types

import keras
import numpy as np
import scenes
import training

import keras_rmi

EPSILON = 5e-4
RADIUS = POOL_SIZE = 3


def train_and_look(size):
    """Mask, predictions and statistics of one scene, before and after."""
    keras.utils.set_random_seed(0)
    images, labels = scenes.make_scenes(400, size, "train")
    shown, truth = scenes.make_scenes(4, size, "val")
    valid = truth[3] != scenes.VOID
    mask = (valid & (truth[3] > 0)).astype("float32")
    model = training.build_network(size, 1)
    model.compile(
        optimizer=keras.optimizers.Adam(5e-3, global_clipnorm=1.0),
        loss=keras_rmi.RMILoss(from_logits=True, ignore_class=scenes.VOID),
    )

    def look():
        logits = model.predict(shown[3:], verbose=0)[0, ..., 0]
        probability = valid / (1.0 + np.exp(-logits))
        return statistics(mask, probability.astype("float32"))

    before = look()
    digits = np.where((labels > 0) & (labels != scenes.VOID), 1, labels)
    model.fit(images, digits, batch_size=4, epochs=3)
    return types.SimpleNamespace(
        image=shown[3], mask=mask, before=before, after=look()
    )


def statistics(mask, probability):
    """What the region term of RMILoss makes of two maps (H,W).

    `labels` and `predictions` are the region vectors (n,d), `left` what the
    predictions do not explain of the labels, `directions` the d terms whose
    mean is the value.
    """
    pool = keras_rmi.layers.AverageDownsampling2D(POOL_SIZE)
    regions = keras_rmi.layers.RegionVectors2D(RADIUS)
    maps = [pool(x[None, ..., None]) for x in (mask, probability)]
    y, p = (
        np.asarray(keras.ops.convert_to_numpy(regions(x)), "float64")
        for x in maps
    )
    y, p = (x.reshape(-1, RADIUS**2) for x in (y, p))
    centred_y, centred_p = y - y.mean(axis=0), p - p.mean(axis=0)
    ridge = EPSILON * np.eye(RADIUS**2)
    fit = np.linalg.solve(
        centred_p.T @ centred_p + ridge, centred_p.T @ centred_y
    )
    left = centred_y - centred_p @ fit
    # The covariance of what is left; equals left' left but for epsilon.
    posterior = centred_y.T @ left
    sizes = np.linalg.eigvalsh((posterior + posterior.T) / 2)[::-1]
    directions = 0.5 * np.log1p(sizes / EPSILON)
    _check(directions.mean(), maps)
    return types.SimpleNamespace(
        probability=probability,
        small=[keras.ops.convert_to_numpy(x)[0, ..., 0] for x in maps],
        labels=y,
        predictions=p,
        left=left,
        directions=directions,
        value=float(directions.mean()),
    )


def _check(value, maps):
    """The pictures show what the package computes, or nothing."""
    bound = keras_rmi.ops.region_mutual_information(*maps, RADIUS, EPSILON)
    bound = float(keras.ops.convert_to_numpy(bound)[0, 0])
    expected = -bound / RADIUS**2 - 0.5 * np.log(EPSILON)
    if abs(value - expected) > 1e-3:
        raise ArithmeticError(f"{value} here, {expected} by keras_rmi")
