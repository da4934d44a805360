"""Trains in a tf.function with a GradientTape, and a loss of keras_rmi.

The network learns to find handwritten digits in cluttered scenes. Printed for
each epoch: the loss, and the mean IoU on scenes that it has not seen, with
void pixels left out. Nothing is written.
"""

import sys

import loops

loops.use_backend("tensorflow")  # before Keras is imported

import choices
import keras
import numpy as np
import tensorflow as tf
from scenes import CLASS_NAMES
from training import build_network


def main(arguments=None):
    parser = loops.parser(__doc__)
    parser.add_argument(
        "--jit-compile",
        action="store_true",
        help="compile the step with XLA, the loss included",
    )
    options = parser.parse_args(arguments)
    keras.utils.set_random_seed(options.seed)
    model = build_network(options.size, len(CLASS_NAMES))
    loss = choices.make(options.loss)
    # The gradient of a log-determinant grows as the fit improves.
    optimizer = keras.optimizers.Adam(options.learning_rate, global_clipnorm=1)
    # Variables are not made inside of a tf.function.
    optimizer.build(model.trainable_variables)

    # Without autograph there is nothing to rewrite, and tracing is faster.
    @tf.function(
        autograph=False, jit_compile=options.jit_compile, reduce_retracing=True
    )
    def update(images, labels):
        with tf.GradientTape() as tape:
            value = loss(labels, model(images, training=True))
        slopes = tape.gradient(value, model.trainable_variables)
        optimizer.apply(slopes, model.trainable_variables)
        return value

    @tf.function(autograph=False)
    def predict_ids(images):
        return tf.argmax(model(images, training=False), axis=-1)

    def step(images, labels):
        # Tensors: an array of NumPy would be a constant, and a new trace.
        return update(tf.constant(images), tf.constant(labels)).numpy()

    def predict(images):
        return np.asarray(predict_ids(tf.constant(images)))

    loops.run(options, step, predict)


if __name__ == "__main__":
    sys.exit(main())
