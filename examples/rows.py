"""The rows of the tables, by name, and the order in which they are run."""

from collections import namedtuple

import choices

Row = namedtuple(
    "Row",
    "title loss options warm filled aligned",
    defaults=({}, False, False, False),
)

ROWS = {
    "ce": Row("CE", "ce"),
    "bce": Row("BCE", "bce"),
    "affinity": Row("Affinity", "affinity"),
    "pyramid": Row("Pyramid", "pyramid"),
    "dice": Row("Dice", "dice"),
    "lovasz": Row("Lovasz", "lovasz"),
    "rmi": Row("RMI", "rmi"),
    "rmi-softmax": Row("RMI, softmax", "rmi", {"activation": "softmax"}),
    "rmi-warm": Row("RMI, warm-up", "rmi", warm=True),
    "rmi-filled": Row("RMI, void filled", "rmi", filled=True),
    "rmi-softmax-w0.1": Row(
        "RMI, softmax, weight 0.1",
        "rmi",
        {"activation": "softmax", "rmi_weight": 0.1},
    ),
    "rmi-dice": Row("RMI + Dice", "rmi+dice"),
    **{
        f"rmi-{pooling}4": Row(
            f"{pooling}, DF 4", "rmi", {"pooling": pooling, "pool_size": 4}
        )
        for pooling in ("interpolate", "max")
    },
    "rmi-aligned4": Row("interpolate, aligned, DF 4", "rmi", aligned=True),
    **{
        f"rmi-df{factor}": Row(
            f"avg, DF {factor}", "rmi", {"pool_size": factor}
        )
        for factor in (1, 2, 4, 6)
    },
    **{
        f"rmi-r{side}": Row(f"R {side}", "rmi", {"radius": side})
        for side in (1, 2, 4, 5)
    },
    **{
        f"rmi-w{weight}": Row(f"weight {weight}", "rmi", {"rmi_weight": weight})
        for weight in (0.1, 0.25, 0.75, 0.9)
    },
}
# What is made of the predictions of a trained row, by iterations of the CRF.
REFINED = {
    f"ce-crf{count}": (f"CE & CRF-{count}", "ce", count) for count in (1, 5, 10)
}
# Most important first; in a group, all rows of one seed before the next.
PLAN = (
    ("ce", "bce", "rmi", "rmi-softmax"),
    (
        *("rmi-df1", "rmi-df2", "rmi-df4"),
        *("rmi-softmax-w0.1", "rmi-warm", "rmi-filled"),
        *("affinity", "pyramid", "dice", "lovasz", "rmi-dice"),
        *("rmi-w0.1", "rmi-w0.25", "rmi-w0.75", "rmi-w0.9"),
        *("rmi-r1", "rmi-r2", "rmi-r4", "rmi-r5"),
        *("rmi-df6", "rmi-interpolate4", "rmi-aligned4", "rmi-max4"),
    ),
)
# What the tables of the page show, in this order.
TABLES = {
    "losses": (
        *("ce", "bce", *REFINED, "affinity", "pyramid", "dice", "lovasz"),
        *("rmi", "rmi-softmax", "rmi-softmax-w0.1", "rmi-dice"),
    ),
    "causes": (
        *("ce", "bce", "rmi", "rmi-softmax", "rmi-softmax-w0.1"),
        *("rmi-warm", "rmi-filled"),
    ),
    "downsampling": (
        *("rmi-interpolate4", "rmi-aligned4", "rmi-max4", "rmi-df4"),
        *("rmi-df1", "rmi-df2", "rmi", "rmi-df6"),
    ),
    "region": ("rmi-r1", "rmi-r2", "rmi", "rmi-r4", "rmi-r5"),
    "weight": ("rmi-w0.1", "rmi-w0.25", "rmi", "rmi-w0.75", "rmi-w0.9"),
}
RMI_SHARE = 0.5  # of RMI in a sum with BCE, as in RMILoss
WARM_SHARE = 0.25  # of the training, in which the weight of RMI grows


def title(name):
    """What the tables call a row."""
    return REFINED[name][0] if name in REFINED else ROWS[name].title


def ordered(groups, seeds):
    """(row, seed) of all runs, in the order of importance."""
    return [
        (name, seed) for group in groups for seed in seeds for name in group
    ]


def make(name, epochs):
    """The loss of a row, and the callbacks that go with it."""
    row = ROWS[name]
    if row.warm:
        return _warm(epochs)
    if row.filled:
        return _filled(), []
    if row.aligned:
        return _aligned(), []
    return choices.make(row.loss, **row.options), []


def labels_of(name, labels):
    """The labels that a row is trained on, of those that all have."""
    if not ROWS[name].filled:
        return labels
    import void

    return void.fill(labels)


def _filled():
    """RMI with the void of its statistics filled, and that of BCE not."""
    import void

    return _halves(void.FilledRMILoss(rmi_weight=1.0, from_logits=True))


def _aligned():
    """RMI with labels where predictions are interpolated; BCE as ever."""
    import alignment

    region = alignment.AlignedRMILoss(
        pool_size=4,
        rmi_weight=1.0,
        from_logits=True,
        ignore_class=choices.VOID,
    )
    return _halves(region)


def _halves(region):
    """BCE and a region term, weighted as in RMILoss."""
    import keras_rmi

    return keras_rmi.CompositeLoss(
        {
            "bce": (choices.make("bce"), 1.0 - RMI_SHARE),
            "rmi": (region, RMI_SHARE),
        }
    )


def _warm(epochs):
    """Cross entropy alone at first, then more and more of RMI."""
    import keras_rmi
    from keras_rmi.callbacks import LossWeightSchedule

    region = choices.make("rmi", rmi_weight=1.0)
    loss = keras_rmi.CompositeLoss(
        {"bce": (choices.make("bce"), 1.0), "rmi": (region, 0.0)}
    )

    def share(epoch):
        return RMI_SHARE * min(1.0, epoch / (WARM_SHARE * epochs))

    return loss, [
        LossWeightSchedule(loss, "rmi_weight", share),
        LossWeightSchedule(loss, "bce_weight", lambda t: 1.0 - share(t)),
    ]
