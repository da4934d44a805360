"""The figures of a run as a PNG."""

import matplotlib

matplotlib.use("Agg")  # no window, and none is needed

import matplotlib.pyplot as plt
from figures import MIB, median
from growth import series
from subjects import PEERS, RADIUS, SUBJECTS

PEER_COLORS = {"published": "#4d4d4d", "relbers": "#8c8c8c"}
OUR_COLORS = {"torch": "#0b5394", "jax": "#2a83c9", "tensorflow": "#7fb8e6"}
KERAS_COLORS = {"torch": "#b7791f", "jax": "#e8b04a", "tensorflow": "#f5d9a0"}
MEASURES = {
    "seconds": ("time of a step per image, ms", 1e3),
    "memory": ("extra peak memory of a step per image, MiB", 1 / MIB),
}


def draw(figures, path):
    """Writes the chart that goes with the kind of run."""
    if figures.data["kind"] == "growth":
        figure = _growth(figures)
    else:
        figure = _losses(figures)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written through a handle: the name may end in anything.
    with path.open("wb") as file:
        figure.savefig(file, dpi=110, format="png")
    plt.close(figure)


def _losses(figures):
    """Bars: a column per factor, time above, memory below."""
    factors = [c["factor"] for c in figures.cases if c["factor"]]
    factors = sorted(dict.fromkeys(factors), reverse=True) or [None]
    bars = {factor: _bars(figures, factor) for factor in factors}
    # Rows that no factor has are left out, the same ones everywhere.
    used = {bar[0] for group in bars.values() for bar in group if bar[2]}
    for factor, group in bars.items():
        bars[factor] = [bar for bar in group if bar[0] in used]
    figure, grid = plt.subplots(
        len(MEASURES),
        len(factors),
        figsize=(3.2 * len(factors) + 2.0, 0.5 * len(used) + 2.2),
        layout="constrained",
        squeeze=False,
        sharey=True,
    )
    for axes, (measure, (words, unit)) in zip(grid, MEASURES.items()):
        for axis, factor in zip(axes, factors):
            _draw_bars(axis, bars[factor], measure, unit)
            axis.set_xlabel(words, fontsize=8)
            if measure == "seconds":
                _draw_floor(axis, figures, unit)
                title = "no statistics" if factor is None else f"DF {factor}"
                axis.set_title(title, fontsize=10)
    s = figures.setting
    figure.suptitle(
        f"Forward and backward, {s['size'][0]} x {s['size'][1]} pixels, "
        f"{s['classes']} classes, R {RADIUS}, {figures.data['device']}",
        fontsize=11,
    )
    return figure


def _bars(figures, factor):
    """[(label, colour, case or None)], peers first, with their N."""
    s = figures.setting
    batch = min(s["batch"], s["peer_batch"]) if factor == 1 else s["batch"]
    wanted = {"factor": factor, "radius": RADIUS, "batch": batch}
    bars = []
    for peer, backend in PEERS.items():
        case = figures.find(peer, **wanted)
        name = SUBJECTS[peer].partition("/")[0]
        bars.append((f"{name}, {backend}", PEER_COLORS[peer], case))
    for backend in figures.backends():
        case = figures.find("ours", backend, **wanted)
        bars.append((f"RMILoss, {backend}", OUR_COLORS[backend], case))
    for backend in figures.backends():
        case = figures.find("keras", backend)
        bars.append((f"cross entropy, {backend}", KERAS_COLORS[backend], case))
    return bars


def _draw_bars(axis, bars, measure, unit):
    longest = 0.0
    for position, (_, color, case) in enumerate(bars):
        value = median(case, measure)
        if value is None:
            continue
        value = unit * value / case["batch"]
        longest = max(longest, value)
        axis.barh(position, value, color=color, height=0.72)
        axis.annotate(
            f"{value:.3g}" if value < 100 else f"{value:.0f}",
            (value, position),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axis.set_yticks(range(len(bars)), [bar[0] for bar in bars], fontsize=8)
    axis.set_ylim(len(bars) - 0.4, -0.6)
    # Room for the longest bar's number.
    axis.set_xlim(0, 1.2 * longest or 1)
    axis.tick_params(labelsize=8)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_floor(axis, figures, unit):
    """A line at the time of the copies."""
    case = figures.find("copies")
    if case is None:
        return
    value = unit * median(case, "seconds") / case["batch"]
    axis.axvline(value, color="black", linestyle=":", linewidth=1)
    axis.annotate(
        "3 copies",
        (value, 0.01),
        xycoords=("data", "axes fraction"),
        xytext=(2, 0),
        textcoords="offset points",
        fontsize=7,
    )


def _growth(figures):
    """Lines: time left, memory right; pixels above, classes below."""
    figure, grid = plt.subplots(
        2, 2, figsize=(11, 8), layout="constrained", squeeze=False
    )
    for axes, growing in zip(grid, ("pixels", "classes")):
        for axis, (measure, (words, unit)) in zip(axes, MEASURES.items()):
            for key, cases in series(figures).items():
                if key[0] == growing:
                    _draw_line(axis, key, cases, measure, unit)
            _finish_growth(axis, figures, growing, words)
    grid[0][0].legend(fontsize=7)
    return figure


def _draw_line(axis, key, cases, measure, unit):
    growing, subject, factor, backend = key
    points = [(_size(case, growing), median(case, measure)) for case in cases]
    points = [(x, unit * y) for x, y in points if y]
    if not points:
        return
    name, style = "cross entropy", ":"
    if subject == "ours":
        name, style = f"RMILoss, DF {factor}", "-" if factor == 1 else "--"
    axis.plot(
        *zip(*points),
        style,
        marker="o",
        markersize=3,
        color=(KERAS_COLORS if subject == "keras" else OUR_COLORS)[backend],
        label=f"{name}, {backend}",
    )


def _size(case, growing):
    if growing == "pixels":
        return case["height"] * case["width"]
    return case["classes"]


def _finish_growth(axis, figures, growing, words):
    """Logarithmic axes and a guide that shows what linear looks like."""
    s = figures.setting
    axis.set_xscale("log")
    axis.set_yscale("log")
    if axis.has_data():
        (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
        guide = [1.5 * low, 1.5 * low * right / left]
        axis.plot([left, right], guide, color="0.8", zorder=0)
        axis.annotate("linear", (left, guide[0]), fontsize=7, color="0.5")
        axis.set_ylim(low, high)
    if growing == "pixels":
        ticks = {size**2: f"{size}²" for size in s["sizes"]}
        fixed = f"{s['classes']} classes"
    else:
        ticks = {count: str(count) for count in s["class_counts"]}
        fixed = f"{s['size'][0]} x {s['size'][1]} pixels"
    axis.set_xticks(list(ticks), list(ticks.values()))
    axis.minorticks_off()
    axis.set_xlabel(f"{growing} ({fixed})", fontsize=9)
    axis.set_ylabel(words, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
