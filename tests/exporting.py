"""Models as programs without Keras, for any number of images."""

import numpy as np

from support import BACKEND, COMPILER_READS_KERAS, to_numpy

# Operations of Keras before 3.15 keep the number of images that they are shown.
KEEPS_THE_NUMBER = BACKEND == "torch" and not COMPILER_READS_KERAS
# For the others it needs a converter that would have to be installed.
WRITES_ONNX = BACKEND == "torch"


def export(model, folder):
    """The model as a function of arrays; files go to the folder."""
    return globals()[f"_export_{BACKEND}"](model, folder)


def _export_tensorflow(model, folder):
    import tensorflow as tf

    model.export(folder / "model", format="tf_saved_model", verbose=False)
    loaded = tf.saved_model.load(folder / "model")
    return lambda x: to_numpy(loaded.serve(x))


def _export_jax(model, folder):
    """As Keras does it for TensorFlow, which is not there to write a file."""
    import jax

    (count,) = jax.export.symbolic_shape("count")
    shape = jax.ShapeDtypeStruct((count, *model.input_shape[1:]), "float32")
    exported = jax.export.export(jax.jit(model))(shape)
    return lambda x: to_numpy(exported.call(x))


def _export_torch(model, folder):
    """As the format "torch" of Keras, which 3.10 does not have."""
    import torch

    program = torch.export.export(
        model,
        (torch.ones(2, *model.input_shape[1:]),),
        dynamic_shapes=[({0: torch.export.Dim("count", max=64)},)],
        strict=False,
    )
    torch.export.save(program, folder / "model.pt2")
    loaded = torch.export.load(folder / "model.pt2").module()
    return lambda x: to_numpy(loaded(torch.from_numpy(x)))


def export_onnx(model, folder, runtime):
    """Likewise by `runtime`, which is ONNX Runtime."""
    path = str(folder / "model.onnx")
    # Keras wants it to have been called.
    model(np.ones((1, *model.input_shape[1:]), "float32"))
    model.export(path, format="onnx", verbose=False)
    session = runtime.InferenceSession(path)
    (name,) = (entry.name for entry in session.get_inputs())
    return lambda x: session.run(None, {name: x})[0]
