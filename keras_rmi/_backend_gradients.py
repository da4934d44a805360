"""Functions with a gradient of their own, as each framework wants them.

Like `_backend`, a file that names backends.
"""

import functools

from keras import ops

from keras_rmi._backend_choice import BACKEND
from keras_rmi._backend_modes import exported_to_onnx, op_by_op, surroundings


def custom_gradient(function, x, arrays=()):
    """The value of `function(x, *arrays)`, which returns it and its gradient.

    `gradient(upstream)` returns the cotangent of `x`; `arrays` have none.
    They are tensors, tuples of them, None, and instances of classes marked by
    `holds_arrays`. All tensors that `function` needs must be among them: JAX
    calls it again when the code round it is gone, as in a compiled function
    that is differentiated from outside, in a loop, a branch or a checkpoint.
    https://docs.jax.dev/en/latest/_autosummary/jax.custom_vjp.html
    """
    if BACKEND != "jax":
        return _with_rule(lambda x: function(x, *arrays), x)
    import jax

    def forward(x, arrays):
        return jax.vjp(
            lambda x: _with_rule(lambda x: function(x, *arrays), x), x
        )

    call = jax.custom_vjp(lambda x, arrays: function(x, *arrays)[0])
    call.defvjp(forward, lambda pull, upstream: (*pull(upstream), None))
    return call(x, tuple(arrays))


def _with_rule(function, x):
    """`keras.ops.custom_gradient`, whose signature differs.

    The upstream gradient comes alone, first, or by name, which depends on the
    backend and, on torch, on the version of Keras. There Keras also answers
    any exception of the function by calling it again, so the first one is
    kept and raised at once.
    https://keras.io/api/ops/core/#custom_gradient-function
    """
    raised = []

    def or_raise_again(x):
        if raised:
            raise raised[0]
        try:
            return function(x)
        except BaseException as error:
            raised.append(error)
            raise

    call = or_raise_again if op_by_op() else function

    def wrapped(x):
        value, gradient = call(x)
        return value, functools.partial(_rule, gradient)

    return ops.custom_gradient(wrapped)(x)


def _rule(gradient, *received, upstream=None):
    upstream = received[0] if upstream is None else upstream
    if BACKEND != "torch":
        return gradient(upstream)
    # The scope of the function is no more.
    with surroundings(upstream):
        return gradient(upstream)


def linear(function, transpose, x, arrays):
    """`function(x, arrays)`, linear in `x`; the gradient is its transpose.

    `transpose(upstream, arrays)` returns the cotangent of `x`. On JAX nothing
    else is kept for it: in a loop that would be once for each of its steps. In
    ONNX there are no gradients, and no word for a function that has one.
    """
    if exported_to_onnx():
        return function(x, arrays)
    if BACKEND != "jax":

        def with_transpose(x):
            return function(x, arrays), lambda y: transpose(y, arrays)

        return _with_rule(with_transpose, x)
    import jax

    call = jax.custom_vjp(lambda x, arrays: function(x, arrays))
    call.defvjp(
        lambda x, arrays: (function(x, arrays), arrays),
        lambda arrays, y: (transpose(y, arrays), None),
    )
    return call(x, arrays)


def holds_arrays(*names):
    """Marks a class for `arrays` of `custom_gradient`.

    The attributes `names` hold arrays as described there, all others numbers
    and the like. JAX wants to know.
    https://docs.jax.dev/en/latest/custom_pytrees.html
    """

    def mark(cls):
        if BACKEND != "jax":
            return cls
        import jax

        def flatten(instance):
            rest = dict(vars(instance))
            arrays = tuple(rest.pop(name) for name in names)
            return arrays, tuple(sorted(rest.items()))

        def unflatten(rest, arrays):
            instance = object.__new__(cls)
            vars(instance).update(dict(rest), **dict(zip(names, arrays)))
            return instance

        jax.tree_util.register_pytree_node(cls, flatten, unflatten)
        return cls

    return mark
