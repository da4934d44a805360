"""A small network, and its training."""

import dataclasses
import time
import warnings

import keras
import numpy as np
from choices import VOID
from scores import class_iou

# Keras' MeanIoU asks for int64, which JAX does not have by default.
warnings.filterwarnings("ignore", "Explicitly requested dtype int64")

SHOWN = 4  # images in the picture
RARE = keras.initializers.Constant(-2.0)


@dataclasses.dataclass
class Result:
    """What one loss gave."""

    history: dict
    class_iou: np.ndarray
    mean_iou: float
    seconds_per_step: float
    predictions: np.ndarray
    model: keras.Model


def build_network(size, num_classes):
    """An encoder-decoder; its logits have the size of the images."""
    height, width = size
    image = keras.Input((height, width, 3), dtype="uint8")
    bottom, right = -height % 16, -width % 16
    x = keras.layers.ZeroPadding2D(((0, bottom), (0, right)))(image)
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(x)
    x = _convolve(x, 16, size=5, strides=2)
    skips = [x]
    for filters in (32, 64, 128):
        x = keras.layers.MaxPooling2D()(x)
        x = _convolve(x, filters)
        skips.append(x)
    x = _convolve(skips.pop(), 128)
    for skip in reversed(skips):
        filters = skip.shape[-1]
        x = _convolve(x, filters, size=1)
        x = keras.layers.UpSampling2D()(x)
        x = keras.layers.Concatenate()([x, skip])
        x = _convolve(x, filters)
    # At first every class is improbable: a calm start for the sigmoid losses.
    x = keras.layers.Conv2D(num_classes, 1, bias_initializer=RARE)(x)
    x = keras.layers.UpSampling2D(interpolation="bilinear")(x)
    logits = keras.layers.Cropping2D(((0, bottom), (0, right)))(x)
    return keras.Model(image, logits)


def _convolve(x, filters, size=3, strides=1):
    x = keras.layers.Conv2D(
        filters, size, strides=strides, padding="same", use_bias=False
    )(x)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    return keras.layers.ReLU()(x)


class Batches(keras.utils.PyDataset):
    """The same shuffled batches in each run, on each backend."""

    def __init__(self, images, labels, batch_size, seed):
        super().__init__()
        self.images, self.labels = images, labels
        self.batch_size = min(batch_size, len(images))
        self.generator = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self):
        return len(self.order) // self.batch_size

    def __getitem__(self, index):
        start = index * self.batch_size
        chosen = self.order[start : start + self.batch_size]
        return self.images[chosen], self.labels[chosen]

    def on_epoch_end(self):
        self.order = self.generator.permutation(len(self.images))


class StepTimer(keras.callbacks.Callback):
    """Measures the time from the end of one step to the end of the next."""

    def __init__(self):
        super().__init__()
        self.intervals = []

    def on_epoch_begin(self, epoch, logs=None):
        self.last = None

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if self.last is not None:
            self.intervals.append(now - self.last)
        self.last = now

    def median(self):
        return float(np.median(self.intervals or [np.nan]))


def train(
    loss,
    train_data,
    val_data,
    class_names,
    options,
    callbacks=(),
    build=build_network,
):
    """Trains a new network; equal seeds give equal weights and batches."""
    keras.utils.set_random_seed(options.seed)
    images, labels = train_data
    model = build(images.shape[1:3], len(class_names))
    batches = Batches(images, labels, options.batch_size, options.seed)
    schedule = keras.optimizers.schedules.CosineDecay(
        options.learning_rate, options.epochs * len(batches)
    )
    metric = keras.metrics.MeanIoU(
        len(class_names), ignore_class=VOID, sparse_y_pred=False, name="miou"
    )
    # A sum shows its parts.
    parts = loss.part_metrics() if hasattr(loss, "part_metrics") else []
    model.compile(
        # The gradient of a log-determinant grows as the fit improves.
        optimizer=keras.optimizers.Adam(schedule, global_clipnorm=1.0),
        loss=loss,
        metrics=[metric],
        weighted_metrics=parts,
    )
    timer = StepTimer()
    history = model.fit(
        batches,
        validation_data=val_data,
        validation_batch_size=options.batch_size,
        epochs=options.epochs,
        callbacks=[timer, *callbacks],
    )
    scores = model.evaluate(
        *val_data, batch_size=options.batch_size, return_dict=True, verbose=0
    )
    few = val_data[0][:SHOWN]
    return Result(
        history=history.history,
        class_iou=class_iou(keras.ops.convert_to_numpy(metric.total_cm)),
        mean_iou=scores["miou"],
        seconds_per_step=timer.median(),
        predictions=np.argmax(model.predict(few, verbose=0), axis=-1),
        model=model,
    )
