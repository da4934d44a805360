"""Trains in a plain JAX loop: pure functions, optax, and a loss of keras_rmi.

The network learns to find handwritten digits in cluttered scenes. Printed for
each epoch: the loss, and the mean IoU on scenes that it has not seen, with
void pixels left out. Nothing is written.

A batch is split over all devices that JAX sees. To try it on a CPU, set
XLA_FLAGS=--xla_force_host_platform_device_count=2.
"""

import functools
import sys

import loops

loops.use_backend("jax", "optax")  # before Keras is imported

import choices
import jax
import numpy as np
import optax
from jax import lax, nn
from jax.sharding import NamedSharding, PartitionSpec
from scenes import CLASS_NAMES

WIDTHS = (16, 32, 64)


def parameters(key, num_classes):
    """Kernels and biases, as {name: (kernel, bias)}."""
    inputs = (3, *WIDTHS)
    shapes = {
        f"down{i}": (3, 3, a, b) for i, (a, b) in enumerate(zip(inputs, WIDTHS))
    }
    shapes |= {
        f"up{i}": (3, 3, a + b, a)
        for i, (a, b) in enumerate(zip(WIDTHS, WIDTHS[1:]))
    }
    shapes["logits"] = (1, 1, WIDTHS[0], num_classes)
    kernel = nn.initializers.he_normal()
    keys = jax.random.split(key, len(shapes))
    return {
        name: (kernel(key, shape), jax.numpy.zeros(shape[-1]))
        for key, (name, shape) in zip(keys, shapes.items())
    }


def network(parameters, images):
    """Logits (N,H,W,C) of images (N,H,W,3)."""

    def convolve(name, x, stride=1):
        kernel, bias = parameters[name]
        dimensions = ("NHWC", "HWIO", "NHWC")
        return bias + lax.conv_general_dilated(
            x, kernel, (stride, stride), "SAME", dimension_numbers=dimensions
        )

    def resize(x, like, method):
        return jax.image.resize(x, (*like.shape[:3], x.shape[3]), method)

    images = images / 127.5 - 1
    x, maps = images, []
    for i in range(len(WIDTHS)):
        x = nn.relu(convolve(f"down{i}", x, stride=2))
        maps.append(x)
    x = maps.pop()
    for i in reversed(range(len(WIDTHS) - 1)):
        skip = maps.pop()
        x = jax.numpy.concatenate([resize(x, skip, "nearest"), skip], axis=-1)
        x = nn.relu(convolve(f"up{i}", x))
    return resize(convolve("logits", x), images, "bilinear")


def main(arguments=None):
    options = loops.parser(__doc__).parse_args(arguments)
    mesh = jax.make_mesh((jax.device_count(),), ("batch",))
    if options.batch_size % mesh.size:
        sys.exit(f"--batch-size must be a multiple of {mesh.size} devices")
    print(f"{mesh.size} devices")
    # Each device has its share of a batch, and all have all parameters.
    shares = NamedSharding(mesh, PartitionSpec("batch"))
    copies = NamedSharding(mesh, PartitionSpec())
    loss = choices.make(options.loss, reduction=None)
    optimizer = optax.chain(
        # The gradient of a log-determinant grows as the fit improves.
        optax.clip_by_global_norm(1.0),
        optax.adam(options.learning_rate),
    )
    weights = parameters(jax.random.key(options.seed), len(CLASS_NAMES))
    state = jax.device_put((weights, optimizer.init(weights)), copies)

    # A loss is one number an image, so each device computes its own.
    @functools.partial(
        jax.shard_map, mesh=mesh, in_specs=shares.spec, out_specs=shares.spec
    )
    def values(labels, logits):
        return loss(labels, logits)

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state, images, labels):
        weights, moments = state
        value, slopes = jax.value_and_grad(
            lambda w: values(labels, network(w, images)).mean()
        )(weights)
        change, moments = optimizer.update(slopes, moments)
        return (optax.apply_updates(weights, change), moments), value

    predict_ids = jax.jit(lambda w, x: network(w, x).argmax(axis=-1))

    def step(images, labels):
        nonlocal state
        state, value = update(state, *jax.device_put((images, labels), shares))
        return value

    def predict(images):
        return np.asarray(predict_ids(state[0], images))

    loops.run(options, step, predict)


if __name__ == "__main__":
    sys.exit(main())
