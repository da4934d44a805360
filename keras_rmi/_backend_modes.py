"""How code runs: op by op or compiled, on which device, or on several.

Like `_backend`, a file that names backends.
"""

import contextlib

import keras
from keras import ops

from keras_rmi._backend_choice import BACKEND


def op_by_op():
    """Whether torch runs each operation as it comes, with no compiler."""
    if BACKEND != "torch":
        return False
    import torch

    return not torch.compiler.is_compiling()


def exported():
    """Whether torch writes a program down, for other values than it sees.

    `torch.compile` goes on with a size that it has seen, and compiles again
    for another; a program that is stored, by `torch.export` or as ONNX, would
    keep it. Older versions do not tell that they export.
    https://docs.pytorch.org/docs/stable/export.html
    """
    if BACKEND != "torch":
        return False
    import torch

    is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)
    return is_exporting() or torch.jit.is_tracing()


def exported_to_onnx():
    """Likewise as ONNX, which has no word for some primitives of torch.

    https://onnx.ai/onnx/operators/
    """
    if BACKEND != "torch":
        return False
    import torch

    return torch.onnx.is_in_onnx_export()


def device(x):
    """Where `x` is, "cpu" or "gpu", which stands for any accelerator.

    `keras.ops` does not say.
    """
    if BACKEND == "torch":
        on_cpu = x.device.type == "cpu"
    elif BACKEND == "jax":
        import jax

        on_cpu = jax.default_backend() == "cpu"
    else:
        import tensorflow as tf

        on_cpu = not tf.config.list_physical_devices("GPU")
    return "cpu" if on_cpu else "gpu"


def as_written(function):
    """Keeps AutoGraph of TensorFlow from rewriting `function`.

    There is nothing to rewrite, no branch or loop on tensors, and AutoGraph
    takes 5 s for what is traced in 0.7 s (2.21). `keras.ops` has no word for
    it. https://www.tensorflow.org/api_docs/python/tf/autograph/experimental/do_not_convert
    """
    if BACKEND != "tensorflow":
        return function
    import tensorflow as tf

    return tf.autograph.experimental.do_not_convert(function)


def compiled(function):
    """A function of tensors, compiled where op by op is slow.

    JAX compiles every single operation otherwise. For the other two that
    would take longer than it saves on a few images.
    """
    if BACKEND != "jax":
        return function
    import jax

    return jax.jit(function)


def scope(name, like):
    """Name of what is computed in it; on torch see `surroundings`.

    There names mean nothing, and the compiler does not know
    `keras.name_scope`.
    """
    if BACKEND != "torch":
        return keras.name_scope(name)
    return surroundings(like)


@contextlib.contextmanager
def surroundings(like):
    """On torch: the device of `like`, and float32 as it is written.

    Keras moves tensors to its own device, the first GPU, when a user has
    chosen another for the model. Autocast would multiply float32 matrices in
    half precision, which `matmul` is to keep.
    https://keras.io/api/utils/backend_utils/
    https://docs.pytorch.org/docs/stable/amp.html
    """
    import torch

    if not isinstance(like, torch.Tensor):
        yield
        return
    with torch.autocast(like.device.type, enabled=False):
        if like.device == ops.zeros(()).device:
            yield
        else:
            with keras.device(str(like.device)):
                yield


def by_images(function, x, *others):
    """`function(x, *others)`, arrays or None with the images of `x` first.

    Of no images, the part of a device that a small batch leaves without, there
    is nothing to reshape or to loop over, and frameworks raise: the result is
    that of one image, left out.

    JAX chooses how what is computed in it is shared out among devices, and
    the results are shared out as `x` is. Under a mesh with explicit axes, the
    default of `jax.make_mesh`, it would want to be told at every indexing,
    and its own Cholesky decomposition raises (0.10).
    https://docs.jax.dev/en/latest/notebooks/explicit-sharding.html
    """
    if x.shape[:1] == (0,):
        arrays = keras.tree.map_structure(_with_an_image, (x, *others))
        found = function(*arrays)
        return keras.tree.map_structure(lambda array: array[:0], found)
    if BACKEND != "jax":
        return function(x, *others)
    import jax

    # Older versions have no such meshes, symbols of Keras no sharding.
    if not hasattr(jax.sharding, "auto_axes") or not isinstance(x, jax.Array):
        return function(x, *others)
    sharding = jax.typeof(x).sharding
    if not sharding.mesh.explicit_axes:
        return function(x, *others)
    images = jax.sharding.PartitionSpec(*sharding.spec[:1])
    images = jax.sharding.NamedSharding(sharding.mesh, images)
    return jax.sharding.auto_axes(function, out_sharding=images)(x, *others)


def _with_an_image(x):
    if x is None:
        return None
    x = ops.convert_to_tensor(x)
    if x.shape[:1] == (0,):
        image = ops.ones((1, *x.shape[1:]), dtype=x.dtype)
        return ops.concatenate([x, image], axis=0)
    # What is of no image; or an error of its own, which is to tell what came.
    return x


def operation(name, parameters, shapes):
    """Decorator for what is one operation where others run op by op.

    For `function(arrays, *options, memory)`, a tuple of float32 arrays of
    `shapes(arrays, *options)` without a gradient. `memory` is a dict, and a
    new one where the function does not run as it is; `parameters` are the
    others as torch writes them.

    On torch it works in blocks and in place: written out by the compiler it
    would be a long program, and a slower one. On the others it has loops:
    without a compiler JAX would compile them in every call, and TensorFlow
    run them step by step, in some twenty times the time.
    https://docs.pytorch.org/docs/stable/library.html#torch.library.custom_op
    https://docs.jax.dev/en/latest/_autosummary/jax.lax.scan.html
    """

    def decorate(function):
        if BACKEND != "torch":
            return _whole(function)
        opaque = _opaque(function, name, parameters, shapes)

        def call(arrays, *options, memory):
            if op_by_op():
                return function(arrays, *options, memory=memory)
            return tuple(opaque(list(arrays), *options))

        return call

    return decorate


def _whole(function):
    """The function compiled by JAX, and a graph of TensorFlow in eager mode."""

    def run(arrays, options):
        return function(arrays, *options, memory={})

    if BACKEND == "jax":
        import jax

        whole = jax.jit(run, static_argnums=1)
    else:
        import tensorflow as tf

        graph = tf.function(run, autograph=False, reduce_retracing=True)

        def whole(arrays, options):
            if not tf.executing_eagerly():
                return run(arrays, options)
            return graph(tuple(map(tf.stop_gradient, arrays)), options)

    return lambda arrays, *options, memory: whole(arrays, options)


def _opaque(function, name, parameters, shapes):
    import torch

    def run(arrays, *options):
        with surroundings(arrays[0]):
            found = function(tuple(arrays), *options, memory={})
        return [array.contiguous() for array in found]

    def promise(arrays, *options):
        return [arrays[0].new_empty(s) for s in shapes(arrays, *options)]

    opaque = torch.library.custom_op(
        f"keras_rmi::{name}",
        run,
        mutates_args=(),
        schema=f"({parameters}) -> Tensor[]",
    )
    opaque.register_fake(promise)
    return opaque
