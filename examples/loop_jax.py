"""Trains in a plain JAX loop: pure functions, optax, and a loss of keras_rmi.

The network learns to find handwritten digits in cluttered scenes. Printed for
each epoch: the loss, and the mean IoU on scenes that it has not seen, with
void pixels left out. Nothing is written.

A batch is split over all devices that JAX sees.
"""

import sys

import loops

loops.use_backend("jax", "optax")  # before Keras is imported

import choices
import jax
import numpy as np
import optax
from jax import lax, nn
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from scenes import CLASS_NAMES

WIDTHS = (16, 32, 64, 128)


def parameters(key, num_classes):
    """Kernels and biases, as {name: (kernel, bias)}."""
    shapes = {"logits": (1, 1, WIDTHS[0], num_classes)}
    for i, (a, b) in enumerate(zip((3, *WIDTHS), WIDTHS)):
        shapes |= {f"down{i}": (3, 3, a, b), f"up{i}": (3, 3, a + b, a)}
    kernel = nn.initializers.he_normal()
    keys = jax.random.split(key, len(shapes))
    return {
        name: (kernel(key, shape), jax.numpy.zeros(shape[-1]))
        for key, (name, shape) in zip(keys, shapes.items())
    }


def network(parameters, images):
    """Logits (N,H,W,C) of images (N,H,W,3), by an encoder and a decoder."""

    def convolve(name, x, strides=(1, 1)):
        kernel, bias = parameters[name]
        axes = ("NHWC", "HWIO", "NHWC")
        args = (x, kernel, strides, "SAME")
        return bias + lax.conv_general_dilated(*args, dimension_numbers=axes)

    def resize(x, like, method):
        return jax.image.resize(x, (*like.shape[:3], x.shape[3]), method)

    maps = [images / 127.5 - 1]
    for i in range(len(WIDTHS)):
        maps.append(nn.relu(convolve(f"down{i}", maps[-1], (2, 2))))
    x = maps.pop()
    for i in reversed(range(1, len(WIDTHS))):
        x = jax.numpy.concatenate([resize(x, maps[i], "nearest"), maps[i]], -1)
        x = nn.relu(convolve(f"up{i}", x))
    return resize(convolve("logits", x), images, "bilinear")


def main(arguments=None):
    parser = loops.parser(__doc__)
    options = parser.parse_args(arguments)
    mesh = jax.make_mesh(
        (jax.device_count(),), ("batch",), axis_types=(AxisType.Auto,)
    )
    if options.batch_size % mesh.size:
        parser.error(f"--batch-size: a multiple of the {mesh.size} devices")
    print(f"{mesh.size} devices")
    # Each has its share of a batch and all parameters; XLA does the rest.
    shares = NamedSharding(mesh, PartitionSpec("batch"))
    copies = NamedSharding(mesh, PartitionSpec())
    loss = choices.make(options.loss)
    # The gradient of a log-determinant grows as the fit improves.
    clip = optax.clip_by_global_norm(1.0)
    optimizer = optax.chain(clip, optax.adam(options.learning_rate))
    weights = parameters(jax.random.key(options.seed), len(CLASS_NAMES))
    state = jax.device_put((weights, optimizer.init(weights)), copies)

    def update(state, images, labels):
        weights, moments = state
        value, slopes = jax.value_and_grad(
            lambda w: loss(labels, network(w, images))
        )(weights)
        change, moments = optimizer.update(slopes, moments)
        return (optax.apply_updates(weights, change), moments), value

    update = jax.jit(update, donate_argnums=0)
    classes = jax.jit(lambda w, x: network(w, x).argmax(axis=-1))

    def step(images, labels):
        nonlocal state
        state, value = update(state, *jax.device_put((images, labels), shares))
        return value

    loops.run(options, step, lambda x: np.asarray(classes(state[0], x)))


if __name__ == "__main__":
    sys.exit(main())
