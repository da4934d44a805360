"""Tolerances and helpers; with conftest.py the one place to name a backend."""

import contextlib
import functools
import pathlib
import types

import keras
import numpy as np

BACKEND = keras.backend.backend()
MODES = {
    "tensorflow": ("eager", "graph", "compiled"),
    "jax": ("eager", "compiled"),
    "torch": ("eager",),
}[BACKEND]
# Modes in which what is made has the size that its values ask for.
SIZES_DEPEND_ON_VALUES = () if BACKEND == "jax" else ("eager",)
# A compiler that no mode stands for, because Keras does not use it.
HAS_OWN_COMPILER = BACKEND == "torch"
# How Keras before 3.15 walks through arguments is what this compiler cannot
# read. https://github.com/keras-team/keras/blob/v3.14.1/keras/src/tree/torchtree_impl.py
_keras_version = tuple(map(int, keras.version().split(".")[:2]))
COMPILER_READS_KERAS = _keras_version >= (3, 15)
# What an example of a loop without `fit` can do besides what all can.
LOOP_OPTIONS = {
    "tensorflow": ("--jit-compile",),
    "jax": (),
    "torch": ("--autocast",),
}[BACKEND]
LOOP_SPLITS_BATCHES = BACKEND == "jax"
# Whether the type of an array says how it is shared out among devices.
HAS_SHARDED_TYPES = BACKEND == "jax"
# Environment of a process with several devices on a CPU. XLA has a thread for
# each core, where devices wait for each other; those of two cores ran out.
# https://github.com/openxla/xla/blob/main/xla/pjrt/utils.cc
ROOM = {"NPROC": "16"} if BACKEND == "jax" else {}
# How users run it; op by op, JAX compiles every single operation.
DEFAULT_MODE = "compiled" if BACKEND == "jax" else "eager"
# Devices of the CPU in the tests of many: processes, on torch.
MANY = {"tensorflow": 2, "jax": 4, "torch": 2}[BACKEND]

# Against the recorded figures.
RECORDED_VALUE = 1e-5
RECORDED_DIRECTION = 1e-6
RECORDED_NORM = 1e-4
# Against float64 where float32 implementations break.
HARD_VALUE = 1e-3
HARD_DIRECTION = 1e-4
HARD_NORM = 1e-2
# The value where covariances are singular but for epsilon.
SHAPE_VALUE = 1e-5
# A gradient that is zero, against that of an ordinary prediction.
NEGLIGIBLE = 1e-5
# Against float64 on ordinary inputs; between two forms of one input.
VALUE = 1e-5
DIRECTION = 1e-6
NORM = 1e-4
SAME = 1e-5
# Many devices against one, relative to the largest entry of an array.
DEVICES = 1e-5
# A training that was interrupted and went on, against one that was not.
RESUMED = 5e-3
# Of a CRF, against pydensecrf: the largest and the mean difference; and the
# largest for noise and black images, where builds of pydensecrf differ too.
CRF_LARGEST = 1e-5
CRF_MEAN = 5e-7
CRF_HARD = 1e-3
# Relative rounding of a half precision number, stored once.
HALF = {"float16": 2.0**-10, "bfloat16": 2.0**-8}

RECORDED = pathlib.Path(__file__).parent / "recorded"
RECORDED_CASES = tuple(sorted(path.stem for path in RECORDED.glob("*.npz")))


def modes_of(main):
    """As users run it and compiled; all modes of a main case."""
    return [m for m in MODES if main or m in (DEFAULT_MODE, "compiled")]


@functools.cache
def load_recorded(name):
    """A recorded case as labels, logits, options and expected results."""
    with np.load(RECORDED / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    pooling = str(arrays["pooling"])
    ignored = int(arrays["ignore_class"])
    options = {
        "radius": int(arrays["radius"]),
        "pooling": None if pooling == "None" else pooling,
        "pool_size": int(arrays["pool_size"]),
        "ignore_class": None if ignored == -1 else ignored,
    }
    return types.SimpleNamespace(
        labels=arrays["labels"],
        logits=arrays["logits"],
        options=options,
        rmi_value=arrays["rmi_per_image"],
        rmi_gradient=arrays["rmi_grad"],
        pixel_value=arrays["bce_per_image"],
        pixel_gradient=arrays["bce_grad"],
    )


def to_numpy(x):
    if BACKEND == "torch":
        # Not the one of Keras: NumPy 2 deprecates how it calls torch.
        # https://github.com/keras-team/keras/blob/v3.15.1/keras/src/backend/torch/core.py
        return x.detach().cpu().float().numpy()
    return np.asarray(keras.ops.convert_to_numpy(x))


def value_and_gradient(
    function, x, mode=DEFAULT_MODE, traced_shape=None, constants=()
):
    """The value of `function` at `x` and the gradient of the value's sum.

    `traced_shape` is the static shape seen by the TensorFlow modes, with
    None for sizes that are known only when the graph runs. `constants` are
    further arguments, which a compiled function does not hold.
    """
    assert mode in MODES, f"{BACKEND} has no mode {mode!r}"
    differentiate = globals()[f"_differentiate_{BACKEND}"]
    value, gradient = differentiate(function, x, mode, traced_shape, constants)
    return to_numpy(value), to_numpy(gradient)


def _differentiate_tensorflow(function, x, mode, traced_shape, constants):
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    signature = [tf.TensorSpec(traced_shape or x.shape, x.dtype)]
    if mode != "eager":
        constants = [tf.convert_to_tensor(c) for c in constants]
        signature += [tf.TensorSpec(c.shape, c.dtype) for c in constants]
    gradient = _tensorflow_gradient(function, mode, tuple(signature))
    return gradient(x, *constants)


# Cached, so that one function compiles once for all its inputs. Few: a program
# takes memory maps, of which a process has 65530.
@functools.lru_cache(maxsize=4)
def _tensorflow_gradient(function, mode, signature):
    import tensorflow as tf

    def both(x, *constants):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x, *constants)
            total = tf.reduce_sum(value)
        return value, tape.gradient(
            total, x, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )

    if mode == "eager":
        return both
    return tf.function(
        both,
        input_signature=signature,
        jit_compile=mode == "compiled",
        autograph=False,
    )


def trace_without_rank(function, dtype):
    """Traces `function` of a tensor whose number of axes is not known."""
    import tensorflow as tf

    signature = [tf.TensorSpec(None, dtype)]
    tf.function(
        function, input_signature=signature, autograph=False
    ).get_concrete_function()


def _differentiate_jax(function, x, mode, traced_shape, constants):
    import jax

    x = jax.numpy.asarray(x)
    (_, value), gradient = _jax_gradient(function, mode)(x, *constants)
    return value, gradient


@functools.lru_cache(maxsize=4)
def _jax_gradient(function, mode):
    import jax

    def total(x, *constants):
        value = function(x, *constants)
        return value.sum(), value

    both = jax.value_and_grad(total, has_aux=True)
    return jax.jit(both) if mode == "compiled" else both


def _differentiate_torch(function, x, mode, traced_shape, constants):
    x = keras.ops.convert_to_tensor(x).detach().clone().requires_grad_()
    value = function(x, *constants)
    if value.requires_grad:
        value.sum().backward()
    gradient = keras.ops.zeros_like(x) if x.grad is None else x.grad
    return value, gradient


def as_users_wrap_it(function):
    """`function(x, *constants)`, computed once more for its gradient.

    Where there is a compiler it has seen all of it before a gradient is asked
    for, and what is in a loop there.
    """
    if BACKEND == "torch":
        from torch.utils.checkpoint import checkpoint

        return functools.partial(checkpoint, function, use_reentrant=False)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(tf.recompute_grad(function), autograph=False)
    import jax

    def loop(*arrays):
        def step(carry, arrays):
            return carry, jax.checkpoint(function)(*arrays)

        once = jax.tree.map(lambda x: x[None], arrays)
        return jax.lax.scan(step, None, once)[1][0]

    return jax.jit(loop)


@contextlib.contextmanager
def search_for_nan():
    """With what users of the framework look for the first NaN or infinity."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tf.debugging.enable_check_numerics()
        try:
            yield
        finally:
            tf.debugging.disable_check_numerics()
    elif BACKEND == "jax":
        import jax

        with jax.debug_nans(True):
            yield
    else:
        import torch

        with torch.autograd.set_detect_anomaly(True):
            yield


def in_one_graph(function):
    """`function` as the compiler of the user's own loop sees it, and a list.

    Without code generation, which needs a C++ compiler; a graph break is an
    error. The list gets an entry for each graph.
    """
    import torch

    torch.compiler.reset()
    lower = torch._dynamo.lookup_backend("aot_eager")
    graphs = []

    def compiler(graph, inputs):
        graphs.append(graph)
        return lower(graph, inputs)

    return torch.compile(function, backend=compiler, fullgraph=True), graphs


@contextlib.contextmanager
def explicit_mesh(entered):
    """A mesh as the framework makes it, and what shares out a batch over it.

    Users enter the mesh, or only share out arrays.
    """
    import jax

    mesh = jax.make_mesh((jax.device_count(),), ("batch",))
    shares = jax.sharding.NamedSharding(
        mesh, jax.sharding.PartitionSpec("batch")
    )
    context = jax.set_mesh(mesh) if entered else contextlib.nullcontext()
    with context:
        yield lambda x: jax.device_put(x, shares)


def in_half_precision():
    """A context in which the framework multiplies in bfloat16."""
    import torch

    return torch.autocast("cpu", torch.bfloat16)


def without_data():
    """A mode in which tensors have a shape and no numbers, as for estimates."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode()


def record_operations():
    """A mode that lists what reaches a device, or is a view, by its name."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Record(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.names = []

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.names.append(str(function))
            return function(*args, **(kwargs or {}))

    return Record()


def without_gradients():
    """Contexts in which nothing is kept for a gradient."""
    import torch

    return torch.no_grad(), torch.inference_mode()


def use_full_precision():
    """No reduced-precision matrix products anywhere in the tests."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif BACKEND == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
    elif BACKEND == "torch":
        import torch

        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False


@contextlib.contextmanager
def reduced_matrix_precision():
    """The fast matrix products that a user may have switched on."""
    try:
        if BACKEND == "tensorflow":
            import tensorflow as tf

            tf.config.experimental.enable_tensor_float_32_execution(True)
        elif BACKEND == "jax":
            import jax

            jax.config.update("jax_default_matmul_precision", "bfloat16")
        elif BACKEND == "torch":
            import torch

            torch.set_float32_matmul_precision("medium")
            torch.backends.cudnn.allow_tf32 = True
        yield
    finally:
        use_full_precision()


def relative_error(actual, expected):
    """Largest error, relative to max(1, |expected|)."""
    (actual, expected) = (np.asarray(actual), np.asarray(expected))
    scale = np.maximum(1.0, np.abs(expected))
    return float(np.max(np.abs(actual - expected) / scale))


def one_minus_cosine(actual, expected):
    actual = np.asarray(actual, "float64").ravel()
    expected = np.asarray(expected, "float64").ravel()
    # Half the squared distance of the unit vectors: 1 - cos itself would
    # lose half of the digits.
    assert actual.any(), "no gradient"
    difference = actual / np.linalg.norm(actual)
    difference = difference - expected / np.linalg.norm(expected)
    return float(0.5 * np.dot(difference, difference))


def norm_ratio(actual, expected):
    actual = np.linalg.norm(np.asarray(actual, "float64"))
    return float(actual / np.linalg.norm(np.asarray(expected, "float64")))


def assert_finite(*arrays):
    for array in arrays:
        assert np.all(np.isfinite(array)), "NaN or infinity"


def assert_same(actual, expected):
    """Values and gradients that differ by rounding only."""
    assert_value(actual[0], expected[0], SAME)
    np.testing.assert_allclose(actual[1], expected[1], rtol=1e-4, atol=1e-6)


def assert_value(actual, expected, tolerance=VALUE):
    assert np.shape(actual) == np.shape(expected)
    error = relative_error(actual, expected)
    assert error <= tolerance, f"value is off by {error:.3g}"


def assert_direction(actual, expected, tolerance=DIRECTION):
    assert np.shape(actual) == np.shape(expected)
    angle = one_minus_cosine(actual, expected)
    assert angle <= tolerance, f"1 - cosine of the gradient is {angle:.3g}"


def assert_norm(actual, expected, tolerance=NORM):
    error = abs(norm_ratio(actual, expected) - 1.0)
    assert error <= tolerance, f"gradient norm is off by {error:.3g}"


def assert_gradient(actual, expected):
    assert_finite(actual)
    assert_direction(actual, expected)
    assert_norm(actual, expected)


def central_difference(function, x, step=1e-6, count=40, seed=0):
    """Slopes of a scalar float64 `function` at `count` random entries."""
    rng = np.random.default_rng(seed)
    count = min(count, x.size)
    chosen = rng.choice(x.size, size=count, replace=False)
    positions = np.unravel_index(chosen, x.shape)
    slopes = []
    for position in zip(*positions, strict=True):
        (above, below) = (x.astype("float64"), x.astype("float64"))
        above[position] += step
        below[position] -= step
        slopes.append((function(above) - function(below)) / (2 * step))
    return positions, np.array(slopes)
