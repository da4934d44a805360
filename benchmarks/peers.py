"""Other implementations, loaded from a checkout that is given by path.

Their source is read, patched in memory where a CPU or a torch of today needs
it, and executed. Nothing is written and nothing of them is kept here.
"""

import types
from pathlib import Path


class PeerError(ValueError):
    """A folder does not hold the code that is expected there."""


def published(folder, device, classes, factor, radius, double=True):
    """loss(labels, logits (N,C,H,W)) of ZJULearning/RMI, average pooling.

    It works in float64 by naming the CUDA type; on a CPU the plain one takes
    its place, or that of float32. `torch.cholesky` is gone from torch.
    """
    utilities = _execute(
        folder,
        "losses/rmi/rmi_utils.py",
        {"torch.cholesky": "torch.linalg.cholesky"},
    )
    patches = {"from RMI.losses.rmi import rmi_utils": ""}
    if device == "cpu":
        name = "DoubleTensor" if double else "FloatTensor"
        patches["torch.cuda.DoubleTensor"] = f"torch.{name}"
    module = _execute(folder, "losses/rmi/rmi.py", patches, rmi_utils=utilities)
    loss = module.RMILoss(
        num_classes=classes,
        rmi_radius=radius,
        rmi_pool_way=1,
        rmi_pool_size=factor,
        rmi_pool_stride=factor,
        loss_weight_lambda=0.5,
        lambda_way=1,
    )
    return lambda labels, logits: loss(logits, labels)


def relbers(folder, device, classes, factor, radius):
    """loss(labels, logits (N,C,H,W)) of RElbers, average pooling, float64.

    It takes dense labels only, and has no void: the one-hot labels are part
    of what it costs, and void pixels are rows of zeros.
    """
    module = _execute(folder, "rmi/rmi.py", {})
    loss = module.RMILoss(
        with_logits=True,
        radius=radius,
        bce_weight=0.5,
        downsampling_method="avg",
        stride=factor,
        use_double_precision=True,
    )
    one_hot = module.F.one_hot

    def call(labels, logits):
        valid = labels < classes
        dense = one_hot(labels * valid, classes) * valid[..., None]
        return loss(logits, dense.permute(0, 3, 1, 2).to(logits.dtype))

    return call


def check(name, folder):
    """Raises `PeerError` if a peer cannot be loaded from a folder."""
    for file in _FILES[name]:
        _read(folder, file)


_FILES = {
    "published": ("losses/rmi/rmi.py", "losses/rmi/rmi_utils.py"),
    "relbers": ("rmi/rmi.py",),
}
# Their framework, as Keras names it.
BACKEND = "torch"
PEERS = {"published": published, "relbers": relbers}


def _read(folder, file):
    try:
        return Path(folder, file).read_text(encoding="utf-8")
    except OSError as error:
        raise PeerError(f"{folder} has no readable {file}") from error


def _execute(folder, file, patches, **names):
    """The patched source of a file as a module; each patch must apply."""
    source = _read(folder, file)
    for old, new in patches.items():
        if old not in source:
            raise PeerError(f"{file} in {folder} does not hold {old!r}")
        source = source.replace(old, new)
    module = types.ModuleType(Path(file).stem)
    module.__dict__.update(names)
    exec(compile(source, file, "exec"), module.__dict__)
    return module
