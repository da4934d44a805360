"""One run: a row, a seed, the same training as all others, one score.

A run can be killed at any time: it goes on from its last checkpoint, and
ends with the result of a run that was never interrupted.
"""

import json
import platform

import keras
import network
import numpy as np
import rows
from crops import Crops, crop_size
from results import replace, result_path, weights_path, write_json
from scores import as_numbers, confusion, mean_iou, score

WARM_STEPS = 0.02  # of all steps, in which the learning rate grows
PROBES = 4  # batches of training images, for the curve


def build(setting, size):
    """A new network of the setting for images of `size`."""
    return network.find(setting["network"])(tuple(size), setting["classes"])


def run(name, seed, setting, train_data, held_out, folder, weights=None):
    """Trains, or goes on training, and scores once; writes what came out.

    Args:
        name: the row, one of `rows.ROWS`.
        seed: of the weights, the batches and the augmentation.
        setting: what all runs have in common, as it is written.
        train_data, held_out: images and labels to train on, and to score.
        folder: where `results`, `weights` and checkpoints are.
        weights: the file to begin with, if not with new weights.
    """
    checkpoint = _Checkpoint(folder / "checkpoints", f"{name}-{seed}")
    images, labels = train_data
    train_data = images, rows.labels_of(name, labels)
    model = _train(name, seed, setting, train_data, checkpoint, weights)
    trained = build(setting, setting["size"])
    trained.set_weights(model.get_weights())
    confusions = score(
        held_out[1],
        predict(trained, held_out[0], setting["batch_size"]),
        setting["classes"],
    )
    replace(weights_path(folder, name, seed), trained.save_weights)
    result = {
        "row": name,
        "seed": seed,
        "setting": setting,
        **as_numbers(confusions),
        "curve": checkpoint.curve,
        "parameters": trained.count_params(),
        "software": {
            "keras": keras.version(),
            "backend": keras.config.backend(),
            "python": platform.python_version(),
        },
    }
    write_json(result_path(folder, name, seed), result)
    checkpoint.delete()
    return result


def predict(model, images, batch_size):
    """Class ids (N, H, W) of the largest logits."""
    return np.concatenate(
        [
            np.argmax(
                model.predict_on_batch(images[start : start + batch_size]), -1
            ).astype("uint8")
            for start in range(0, len(images), batch_size)
        ]
    )


def compiled(name, setting, size):
    """A new network that is ready to train, and its callbacks."""
    model = build(setting, size)
    loss, callbacks = rows.make(name, setting["steps"] // setting["every"])
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        round((1 - WARM_STEPS) * setting["steps"]),
        warmup_target=setting["learning_rate"],
        warmup_steps=round(WARM_STEPS * setting["steps"]),
    )
    model.compile(
        # The gradient of a log-determinant grows as the fit improves.
        optimizer=keras.optimizers.Adam(rate, global_clipnorm=1.0),
        loss=loss,
    )
    return model, callbacks


def _train(name, seed, setting, train_data, checkpoint, weights):
    keras.utils.set_random_seed(seed)
    size = crop_size(setting["size"])
    model, callbacks = compiled(name, setting, size)
    done = checkpoint.restore(model)
    if weights and not done:
        # Those of no optimiser fit no compiled model.
        begun = build(setting, size)
        begun.load_weights(weights)
        model.set_weights(begun.get_weights())
    before = _steps_before(setting)
    batches = Crops(
        *train_data,
        size=size,
        batch_size=setting["batch_size"],
        seed=seed,
        first=before + done * setting["every"],
        length=setting["every"],
    )
    epochs = setting["steps"] // setting["every"]
    if done < epochs:
        probe = _Probe(batches, before + setting["steps"], setting)
        model.fit(
            batches,
            initial_epoch=done,
            epochs=epochs,
            # The checkpoint comes last: it keeps what the others report.
            callbacks=[*callbacks, probe, checkpoint],
            shuffle=False,
            verbose=0,
        )
    return model


def _steps_before(setting):
    """Of what the runs go on from: the batches are those that come next."""
    begun = setting.get("start")
    if begun is None:
        return 0
    return _steps_before(begun["setting"]) + begun["setting"]["steps"]


class _Probe(keras.callbacks.Callback):
    """Adds the mIoU on crops of training images to what an epoch reports.

    It compares losses whose values cannot be compared. The crops come after
    those of the last step, so that they are the same for all.
    """

    def __init__(self, batches, end, setting):
        super().__init__()
        after = end - batches.first
        pairs = [batches[after + index] for index in range(PROBES)]
        self.images, self.labels = (np.concatenate(a) for a in zip(*pairs))
        self.setting = setting

    def on_epoch_end(self, epoch, logs=None):
        ids = predict(self.model, self.images, self.setting["batch_size"])
        counts = confusion(self.labels, ids, self.setting["classes"])
        logs["train_miou"] = mean_iou(counts)


class _Checkpoint(keras.callbacks.Callback):
    """Keeps the state after each epoch: weights, optimiser, curve.

    The state is what the newest note names. A note is replaced as a whole,
    and only once the weights it names are written.
    """

    def __init__(self, folder, name):
        super().__init__()
        self.folder, self.name = folder, name
        self.note = folder / f"{name}.json"
        self.curve = {}

    def restore(self, model):
        """Puts back the last state, if any; the number of epochs done."""
        if not self.note.exists():
            return 0
        note = json.loads(self.note.read_text())
        model.optimizer.build(model.trainable_variables)
        model.load_weights(self.folder / note["weights"])
        self.curve = note["curve"]
        return note["epochs"]

    def on_epoch_end(self, epoch, logs=None):
        for key, value in logs.items():
            self.curve.setdefault(key, []).append(float(value))
        weights = self.folder / f"{self.name}-{epoch + 1}.weights.h5"
        replace(weights, self.model.save_weights)
        note = {
            "epochs": epoch + 1,
            "weights": weights.name,
            "curve": self.curve,
        }
        write_json(self.note, note)
        self._delete_weights(weights)

    def delete(self):
        self.note.unlink(missing_ok=True)
        self._delete_weights()

    def _delete_weights(self, kept=None):
        for path in self.folder.glob(f"{self.name}-*.weights.h5"):
            if path != kept:
                path.unlink()
