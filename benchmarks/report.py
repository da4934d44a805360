"""The figures of a run as Markdown."""

from figures import MIB, median, spread, successes
from growth import growth_sections
from tables import loss_name, milliseconds, table
from targets import targets


def report(figures):
    """The whole text."""
    if figures.data["kind"] == "growth":
        sections = growth_sections(figures)
    else:
        sections = [
            "# Time and memory of the losses",
            _explanation(figures),
            overview(figures),
            "## Targets",
            "Ratios are taken within each round; shown is their median.",
            target_table(figures),
            "## Every case",
            "Median, and in brackets the range, over the rounds. The first "
            "step traces and compiles. Code and libraries stay in memory "
            "whatever the size of the data.",
            details(figures),
        ]
    return "\n\n".join([*sections, "## Machine", machine(figures)]) + "\n"


def _explanation(figures):
    s = figures.setting
    memory = "the extra peak of the resident set in a step, without the code "
    memory += "and libraries that the loss loads"
    if figures.data["device"] == "gpu":
        memory = "the extra peak of the allocator in a step"
    return (
        f"Forward and backward on logits (N, {s['size'][0]}, {s['size'][1]}, "
        f"{s['classes']}), float32, sparse labels, 5 % void. "
        f"Rounds over all cases: {s['rounds']}; each case in a fresh process, "
        f"repetitions in it: {s['repeats']}. Memory is {memory}; it includes "
        "the gradient. DF = down-sampling factor, R = radius of the regions."
    )


def overview(figures):
    """A row per loss, a column per backend."""
    backends = figures.backends() or ["torch"]
    cases = {}
    for case in figures.cases:
        key = (case["subject"], case["factor"], case["radius"], case["batch"])
        cases.setdefault(key, {})[case["backend"]] = case
    rows = []
    for (subject, factor, radius, batch), by_backend in cases.items():
        if subject == "copies":
            rows += _floor_rows(by_backend, batch, backends)
            continue
        cells = [_cell(by_backend.get(backend)) for backend in backends]
        rows.append([loss_name(subject), factor, radius, batch, *cells])
    return table(["loss", "DF", "R", "N", *backends], rows)


def _cell(case):
    if case is None:
        return None
    if not successes(case):
        return "failed" if case["runs"] else None
    cell = f"{milliseconds(median(case, 'seconds'))} ms"
    memory = median(case, "memory")
    return cell if memory is None else f"{cell}, {memory / MIB:.0f} MiB"


def _floor_rows(by_backend, batch, backends):
    """Three copies move six times the logits, the second floor three."""
    shown = {"three copies of the logits": 1.0}
    shown["reading the logits twice, writing once"] = 0.5
    for words, share in shown.items():
        cells = []
        for backend in backends:
            case = by_backend.get(backend) or by_backend.get("numpy")
            seconds = median(case, "seconds")
            cells.append(seconds and f"{milliseconds(share * seconds)} ms")
        yield [words, None, None, batch, *cells]


def target_table(figures):
    """A row per target and backend."""
    rows = []
    for target in targets(figures):
        met = {True: "yes", False: "**no**", None: None}[target.is_met()]
        value = target.value
        reached = None if value is None else f"{value:.2f}{target.unit}"
        row = [target.measure, target.backend, target.limit(), reached, met]
        rows.append(row)
    return table(["measure", "backend", "target", "reached", "met"], rows)


def details(figures):
    """A row per case, with the range over the rounds."""
    names = ["loss", "DF", "R", "N", "backend", "step, ms", "first step, s"]
    names += ["memory, MiB", "code and libraries, MiB"]
    names += ["first step, MiB", "runs"]
    rows = []
    for case in figures.cases:
        row = [loss_name(case["subject"]), case["factor"], case["radius"]]
        row += [case["batch"], case["backend"]]
        done = len(successes(case))
        row += measurements(case) if done else ["failed", *4 * [None]]
        rows.append([*row, f"{done} of {len(case['runs'])}"])
    return table(names, rows)


def measurements(case):
    """Time of a step and of the first, then the three kinds of memory."""
    low, high = spread(case, "seconds")
    step = milliseconds(median(case, "seconds"))
    first = median(case, "first_call")
    names = ("memory", "code_memory", "first_memory")
    memory = [median(case, name) for name in names]
    return [
        f"{step} ({milliseconds(low)} - {milliseconds(high)})",
        None if first is None else f"{first:.2f}",
        *(None if m is None else f"{m / MIB:.0f}" for m in memory),
    ]


def machine(figures):
    """Where and with what the figures were made."""
    data = figures.data
    lines = [f"- {name}: {value}" for name, value in data["machine"].items()]
    versions = ", ".join(f"{n} {v}" for n, v in data["versions"].items())
    sources = ", ".join(f"{n} {v}" for n, v in data["sources"].items())
    lines += [f"- versions: {versions}", f"- commits: {sources or 'unknown'}"]
    lines.append(f"- command: `{data['command']}`")
    return "\n".join(lines)
