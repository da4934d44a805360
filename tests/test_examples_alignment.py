"""Published interpolation asks for moved predictions, aligned for true ones."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import keras_rmi
from reference.downsampling import bilinear_matrix, nearest_matrix

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
alignment = importlib.import_module("alignment")
choices = importlib.import_module("choices")
evidence_tables = importlib.import_module("evidence_tables")
rows = importlib.import_module("rows")
scenes = importlib.import_module("scenes")
scores = importlib.import_module("scores")


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("length", [4, 13, 24])
def test_labels_are_moved_to_where_predictions_are_taken(length, factor):
    moved = alignment.moved(length, factor)
    labels = np.arange(length)
    taken = nearest_matrix(length, factor) @ labels[moved]
    place = bilinear_matrix(length, factor) @ labels
    assert abs(taken - place).max() <= 0.5
    unread = ~nearest_matrix(length, factor).any(axis=0)
    np.testing.assert_array_equal(moved[unread], labels[unread])


@pytest.mark.parametrize(
    ("pool_size", "best"), [(3, {1}), (4, {1, 2}), (6, {2, 3})]
)
def test_which_shift_of_the_truth_has_the_least_loss(pool_size, best):
    options = {"pool_size": pool_size, "rmi_weight": 1.0}
    published = keras_rmi.RMILoss(pooling="interpolate", **options)
    assert best_shift(published) in best
    assert best_shift(alignment.AlignedRMILoss(**options)) == 0
    for pooling in ("avg", "max", None):
        other = keras_rmi.RMILoss(pooling=pooling, **options)
        assert best_shift(other) == 0


def best_shift(loss):
    noise = np.random.default_rng(0).normal(size=(136, 136, 3))
    ids = ndimage.gaussian_filter(noise, (6, 6, 0)).argmax(axis=-1)[None]
    labels = ids[:, 8:128, 8:128]
    values = {}
    for shift in range(-4, 5):
        inside = slice(8 - shift, 128 - shift)
        moved = np.eye(3, dtype="float32")[ids[:, inside, inside]]
        values[shift] = float(loss(labels, 0.05 + 0.85 * moved))
    return min(values, key=values.get)


def test_only_the_region_term_of_the_row_sees_moved_labels():
    labels = scenes.make_scenes(2, (48, 64), "train")[1]
    logits = np.random.default_rng(0).normal(0, 2, (*labels.shape, 11))
    logits = logits.astype("float32")
    by_row, by_column = (alignment.moved(length, 4) for length in (48, 64))
    moved = labels[:, by_row][:, :, by_column]
    region = keras_rmi.RMILoss(
        pooling="interpolate",
        pool_size=4,
        rmi_weight=1.0,
        from_logits=True,
        ignore_class=scenes.VOID,
    )
    pixel = choices.make("bce")
    expected = 0.5 * pixel(labels, logits) + 0.5 * region(moved, logits)
    loss, _ = rows.make("rmi-aligned4", epochs=4)
    np.testing.assert_allclose(loss(labels, logits), expected, rtol=1e-6)
    assert abs(float(region(labels, logits) - region(moved, logits))) > 1e-3


def test_moved_predictions_fit_where_they_were_moved_from():
    labels = scenes.make_scenes(2, (48, 64), "train")[1]
    ids = np.roll(labels, (2, -1), axis=(1, 2))
    ids[ids == scenes.VOID] = 0
    found = scores.moved(labels, ids, 11)
    assert all(len(values) == 7 for values in found.values())
    best = {key: int(np.argmax(values)) - 3 for key, values in found.items()}
    assert best == {"down": 2, "right": -1}


def test_the_score_of_no_shift_is_that_of_the_part_inside():
    labels = scenes.make_scenes(2, (48, 64), "train")[1]
    ids = np.random.default_rng(0).integers(0, 11, labels.shape)
    bands = np.stack([scores.boundary_band(m, 11, 3) for m in labels])
    found = scores.moved(labels, ids, 11)
    inside = np.s_[:, 3:-3]
    expected = scores.confusion(labels[inside], ids[inside], 11, bands[inside])
    assert found["down"][3] == scores.mean_iou(expected)


def test_the_table_of_shifts_has_means(tmp_path):
    runs = [
        {"row": "rmi", "seed": seed, "down": [first, 0.5], "right": [0.1, 0.2]}
        for seed, first in enumerate((0.3, 0.4))
    ]
    (tmp_path / "shifts").mkdir()
    content = json.dumps({"shifts": [0, 1], "runs": runs})
    (tmp_path / "shifts" / "shifts.json").write_text(content)
    assert evidence_tables.make("shifts", tmp_path).splitlines() == [
        "| loss | seeds | moved | 0 | +1 |",
        "| --- | --- | --- | --- | --- |",
        "| RMI | 2 | down | 35.0 | 50.0 |",
        "| RMI | 2 | right | 10.0 | 20.0 |",
    ]
