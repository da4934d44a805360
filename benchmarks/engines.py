"""How each framework runs a training step of a loss: the timed part.

An engine puts arrays on the device, warms up, makes the step and waits for
its result. `step(loss, logits, labels)` returns a function of no arguments
that gives (value, gradient with respect to the logits). `loss` is called as
loss(labels, logits). `watch()` is a context manager that sees the
peak memory, see `memory`.
"""

from memory import PeakResident


class NoDevice(RuntimeError):
    """The framework does not see the accelerator that is asked for."""


class TorchEngine:
    """Eager, as Keras runs it: the loss, then `backward`."""

    def __init__(self, device, threads):
        import torch  # noqa: TID251 - a benchmark names what it measures

        self.torch, self.on_gpu = torch, device == "gpu"
        if self.on_gpu and not torch.cuda.is_available():
            raise NoDevice("torch sees no GPU")
        if threads:
            torch.set_num_threads(threads)
        self._device = "cuda" if self.on_gpu else "cpu"
        self.version = torch.__version__

    def put(self, array):
        """A tensor on the device."""
        return self.torch.from_numpy(array).to(self._device)

    def warm_up(self, logits):
        """Starts threads and kernels, and the thread of `backward`."""
        logits.sum().item()
        self.torch.ones(8, requires_grad=True).sum().backward()

    def step(self, loss, logits, labels):
        """See the module."""
        logits.requires_grad_(True)

        def run():
            value = loss(labels, logits)
            value.backward()
            gradient, logits.grad = logits.grad, None
            return value.detach(), gradient

        return run

    def wait(self, result):
        """Returns when the device has finished."""
        if self.on_gpu:
            self.torch.cuda.synchronize()

    def is_finite(self, x):
        """Whether no entry is NaN or infinite."""
        return bool(self.torch.isfinite(x).all())

    def copy(self, x):
        """A function that copies `x` into existing memory."""
        target = self.torch.empty_like(x)
        return lambda: target.copy_(x)

    def watch(self):
        """Peak memory inside of a with block."""
        if not self.on_gpu:
            return PeakResident()
        cuda = self.torch.cuda
        return _PeakAllocated(
            cuda.memory_allocated,
            cuda.max_memory_allocated,
            cuda.reset_peak_memory_stats,
        )

    def accelerator(self):
        """Name of the device, None on a CPU."""
        return self.torch.cuda.get_device_name() if self.on_gpu else None


class JaxEngine:
    """`jax.jit` of `value_and_grad`."""

    def __init__(self, device, threads):
        import jax  # noqa: TID251 - a benchmark names what it measures

        self.jax, self.on_gpu = jax, device == "gpu"
        if self.on_gpu and jax.default_backend() != "gpu":
            raise NoDevice("jax sees no GPU")
        self._device = jax.devices()[0]
        self.version = jax.__version__

    def put(self, array):
        """An array on the device."""
        return self.jax.device_put(array, self._device).block_until_ready()

    def warm_up(self, logits):
        """Starts the compiler and its threads on something trivial."""
        self.jax.jit(lambda x: x.sum())(logits).block_until_ready()

    def step(self, loss, logits, labels):
        """See the module."""
        compiled = self.jax.jit(
            self.jax.value_and_grad(lambda x, y: loss(y, x))
        )
        return lambda: compiled(logits, labels)

    def wait(self, result):
        """Returns when the device has finished."""
        self.jax.block_until_ready(result)

    def is_finite(self, x):
        """Whether no entry is NaN or infinite."""
        return bool(self.jax.numpy.isfinite(x).all())

    def copy(self, x):
        """A function that copies `x`; the factor keeps XLA from skipping it.

        The result takes the place of the one before: the allocator of a GPU
        hands out the same memory again without touching it.
        """
        scaled = self.jax.jit(lambda x, factor: x * factor)
        return lambda: scaled(x, 1.0)

    def watch(self):
        """Peak memory inside of a with block.

        The peak of the allocator cannot be reset: on a GPU it includes what
        the compiler tried out.
        """
        if not self.on_gpu:
            return PeakResident()

        def read(name):
            return lambda: self._device.memory_stats()[name]

        return _PeakAllocated(
            read("bytes_in_use"), read("peak_bytes_in_use"), lambda: None
        )

    def accelerator(self):
        """Name of the device, None on a CPU."""
        return self._device.device_kind if self.on_gpu else None


class TensorFlowEngine:
    """`tf.function(jit_compile=True)` with a gradient tape."""

    def __init__(self, device, threads):
        import tensorflow as tf  # noqa: TID251 - as above

        self.tf, self.on_gpu = tf, device == "gpu"
        self._devices = tf.config.list_physical_devices("GPU")
        if self.on_gpu and not self._devices:
            raise NoDevice("tensorflow sees no GPU")
        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        self.version = tf.__version__

    def put(self, array):
        """A tensor on the device."""
        with self.tf.device("GPU:0" if self.on_gpu else "CPU:0"):
            return self.tf.identity(self.tf.constant(array))

    def warm_up(self, logits):
        """Starts the compiler and its threads on something trivial."""
        trivial = self.tf.function(self.tf.reduce_sum, jit_compile=True)
        trivial(logits).numpy()

    def step(self, loss, logits, labels):
        """See the module."""
        tf = self.tf

        @tf.function(jit_compile=True)
        def compiled(x, y):
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = loss(y, x)
            return value, tape.gradient(value, x)

        return lambda: compiled(logits, labels)

    def wait(self, result):
        """Returns when the device has finished."""
        if self.on_gpu:
            self.tf.test.experimental.sync_devices()

    def is_finite(self, x):
        """Whether no entry is NaN or infinite."""
        return bool(self.tf.reduce_all(self.tf.math.is_finite(x)))

    def copy(self, x):
        """As for jax; assigning to a variable would only share memory."""
        scaled = self.tf.function(self.tf.multiply, jit_compile=True)
        factor = self.tf.constant(1.0)
        return lambda: scaled(x, factor)

    def watch(self):
        """Peak memory inside of a with block."""
        if not self.on_gpu:
            return PeakResident()
        experimental = self.tf.config.experimental

        def read(name):
            return lambda: experimental.get_memory_info("GPU:0")[name]

        return _PeakAllocated(
            read("current"),
            read("peak"),
            lambda: experimental.reset_memory_stats("GPU:0"),
        )

    def accelerator(self):
        """Name of the device, None on a CPU."""
        if not self.on_gpu:
            return None
        details = self.tf.config.experimental.get_device_details
        return details(self._devices[0]).get("device_name")


class _PeakAllocated:
    """Like `PeakResident`, from the counters of an allocator."""

    def __init__(self, now, peak, reset):
        self._now, self._peak, self._reset = now, peak, reset
        self.start = self.peak = None

    def __enter__(self):
        self._reset()
        self.start = self._now()
        return self

    def __exit__(self, *error):
        self.peak = self._peak()


ENGINES = {
    "torch": TorchEngine,
    "jax": JaxEngine,
    "tensorflow": TensorFlowEngine,
}
