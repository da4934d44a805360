"""What is measured: one `Case` per row, and the lists of them."""

import dataclasses

# The peers are written for torch and are run there, whatever is chosen.
PEERS = {"published": "torch", "relbers": "torch"}
SUBJECTS = {
    "ours": "RMILoss",
    "pixel": "RMILoss(rmi_weight=0)",
    "keras": "SparseCategoricalCrossentropy",
    "published": "ZJULearning/RMI",
    "relbers": "RElbers/region-mutual-information-pytorch",
    "copies": "three copies of the logits",
}
RADIUS = 3


@dataclasses.dataclass(frozen=True)
class Case:
    """One loss on one backend, on logits of one shape.

    `factor` (DF) and `radius` (R) are None where the subject has none.
    """

    subject: str
    backend: str
    batch: int
    height: int
    width: int
    classes: int
    factor: int | None = None
    radius: int | None = None

    def title(self):
        """A short name for progress lines."""
        words = [self.subject, self.backend]
        if self.factor is not None:
            words.append(f"DF {self.factor} R {self.radius}")
        words.append(
            f"({self.batch}, {self.height}, {self.width}, {self.classes})"
        )
        return " ".join(words)


def small(case):
    """The same loss where the data is next to nothing, or None for copies.

    What its step keeps in memory are compiled code and libraries.
    """
    if case.subject == "copies":
        return None
    side = max(33, (case.factor or 1) * ((case.radius or 1) + 2))
    return dataclasses.replace(case, batch=1, height=side, width=side)


def batches(device):
    """N by default: of every case, and of the peers at DF 1.

    At DF 1 the published code needs about 2 GB for a single image.
    """
    return (16, 16) if device == "gpu" else (2, 1)


def loss_cases(options):
    """The comparison of all losses at one size.

    Ours is measured at DF 1 with the batch of the peers and, to compare it
    with DF 4, with the batch of all other cases.
    """
    batch, peer_batch = options.batch, min(options.batch, options.peer_batch)
    shape = {
        "height": options.size[0],
        "width": options.size[1],
        "classes": options.classes,
    }
    cases = []

    def add(subject, backend, batch, factor=None, radius=None):
        if subject in options.subjects:
            cases.append(
                Case(
                    subject,
                    backend,
                    batch,
                    factor=factor,
                    radius=radius,
                    **shape,
                )
            )

    add_floors(add, options, batch)
    for factor in options.factors:
        at_peers = peer_batch if factor == 1 else batch
        if factor in (1, 3, 4):
            for peer, backend in PEERS.items():
                if getattr(options, peer) is not None:
                    add(peer, backend, at_peers, factor, RADIUS)
        for backend in options.backend:
            for radius in options.radii:
                add("ours", backend, batch, factor, radius)
            if at_peers != batch and RADIUS in options.radii:
                add("ours", backend, at_peers, factor, RADIUS)
    for backend in options.backend:
        add("pixel", backend, batch)
        add("keras", backend, batch)
    return cases


def add_floors(add, options, batch):
    """Copies by numpy threads on a CPU, by the framework on a GPU."""
    if options.device == "cpu":
        add("copies", "numpy", batch)
    else:
        for backend in options.backend:
            add("copies", backend, batch)


def growth_cases(options):
    """Images of growing size, then of growing class counts, one at a time."""
    height, width = options.size
    shapes = [(size, size, options.classes) for size in options.sizes]
    shapes += [(height, width, classes) for classes in options.class_counts]
    cases = []
    for height, width, classes in dict.fromkeys(shapes):
        for backend in options.backend:
            subjects = [("ours", factor, RADIUS) for factor in (4, 1)]
            subjects.append(("keras", None, None))
            cases += [
                Case(subject, backend, 1, height, width, classes, factor, r)
                for subject, factor, r in subjects
                if subject in options.subjects
            ]
    return cases
