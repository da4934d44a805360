"""Measures time and memory of the losses, side by side.

Every measurement is a process of its own; rounds go over all cases, so that
a machine that slows down for a while slows all alike. Written to --output:
the raw figures (JSON), tables (Markdown) and a chart (PNG), named after what
was measured and the device, such as losses-cpu.json.

Measured are forward and backward of the whole loss: RMILoss of this folder's
sources at several down-sampling factors (DF) and radii (R), its pixel term
alone, Keras' sparse softmax cross entropy, and other implementations when
their checkouts are given. See benchmarks/README.md for how.
"""

import importlib.util
import sys
import time
from pathlib import Path

import figures
import machine
import peers
from launch import Launcher
from options import command, make_parser
from subjects import batches, growth_cases, loss_cases

ROOT = Path(__file__).resolve().parents[1]


def main(arguments=None):
    """Measures, or reads what was measured, and writes the report."""
    parser = make_parser(__doc__)
    options = parser.parse_args(arguments)
    words = command(options, parser)
    complete(options)
    try:
        old = options.from_json and figures.read(options.from_json)
        kind = old.data["kind"] if old else options.kind
        device = old.data["device"] if old else options.device
        paths = {
            ending: options.output / f"{kind}-{device}.{ending}"
            for ending in outputs(options)
        }
        check(options, paths.values())
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if old is None:
        try:
            old = measure(options, paths["json"], words)
        except KeyboardInterrupt:
            where = f"{paths['json']} holds what was measured"
            print(f"stopped; {where}, for --from-json", file=sys.stderr)
            return 130
    write_report(old, paths)
    return verdict(old, options)


def outputs(options):
    """Endings of the files to write."""
    endings = ["md"] if options.no_chart else ["md", "png"]
    return endings if options.from_json else ["json", *endings]


def complete(options):
    """Fills in what depends on other options."""
    batch, peer_batch = batches(options.device)
    options.batch = options.batch or batch
    options.peer_batch = peer_batch
    options.kind = "growth" if options.growth else "losses"


def check(options, paths):
    """Finds out now what would otherwise fail after an hour."""
    for path in paths:
        if path.exists() and not options.overwrite:
            raise ValueError(f"{path} exists; --overwrite replaces it")
    if not options.no_chart and importlib.util.find_spec("matplotlib") is None:
        raise ValueError("the chart needs matplotlib; or use --no-chart")
    if options.from_json:
        return
    needed = list(options.backend)
    for peer in peers.PEERS:
        folder = getattr(options, peer)
        if folder is not None:
            peers.check(peer, folder)
            needed.append("torch")
    for backend in needed:
        if importlib.util.find_spec(backend) is None:
            raise ValueError(f"{backend} is not installed for {sys.executable}")


def measure(options, path, words):
    """Runs all cases, round by round; the file is written after each."""
    cases = growth_cases(options) if options.growth else loss_cases(options)
    rows = [{**vars(case), "runs": []} for case in cases]
    data = {
        "kind": options.kind,
        "device": options.device,
        "command": words,
        "setting": {
            "size": options.size,
            "classes": options.classes,
            "batch": options.batch,
            "peer_batch": options.peer_batch,
            "rounds": options.rounds,
            "repeats": options.repeats,
            "sizes": options.sizes,
            "class_counts": options.class_counts,
        },
        "machine": machine.describe(options.threads),
        "versions": {"python": sys.version.split()[0]},
        "sources": sources(options),
        "cases": rows,
    }
    launcher = Launcher(options, ROOT)
    start, done, total = time.monotonic(), 0, options.rounds * len(cases)
    for index in range(options.rounds):
        for case, row in zip(cases, rows):
            run = launcher.run(case)
            data["versions"].update(run.pop("versions", {}))
            accelerator = run.pop("accelerator", None)
            if accelerator:
                data["machine"]["accelerator"] = accelerator
            row["runs"].append({"round": index, **run})
            figures.write(data, path)
            done += 1
            rest = (time.monotonic() - start) / done * (total - done) / 60
            shown = f"[{done}/{total}, {rest:.0f} min left] {case.title()}"
            print(f"{shown}: {outcome(run)}", file=sys.stderr, flush=True)
    return figures.Figures(data)


def outcome(run):
    """A run in a few words."""
    if "error" in run:
        return f"FAILED: {run['error']}"
    words = f"{1e3 * figures.of_run(run, 'seconds'):.1f} ms"
    memory = run.get("memory")
    return words if memory is None else f"{words}, {memory / 2**20:.0f} MiB"


def sources(options):
    """Commits of what is measured, as far as known."""
    folders = {"keras_rmi": ROOT}
    folders |= {peer: getattr(options, peer) for peer in peers.PEERS}
    found = {n: machine.commit(f) for n, f in folders.items() if f is not None}
    return {name: commit for name, commit in found.items() if commit}


def write_report(read, paths):
    """The Markdown and, unless declined, the chart."""
    from report import report

    paths["md"].parent.mkdir(parents=True, exist_ok=True)
    paths["md"].write_text(report(read), encoding="utf-8")
    if "png" in paths:
        from chart import draw

        draw(read, paths["png"])
    for path in paths.values():
        print(f"wrote {path}")


def verdict(read, options):
    """Exit status: 1 if a case failed or, with --check, a target."""
    from targets import targets

    failed = sum("error" in r for case in read.cases for r in case["runs"])
    if failed:
        print(f"{failed} measurements failed", file=sys.stderr)
    if options.check and read.data["kind"] == "losses":
        rows = targets(read)
        missed = [row for row in rows if row.is_met() is False]
        for row in missed:
            words = f"{row.measure}, {row.backend}: {row.value:.2f}{row.unit}"
            print(f"missed: {words}, {row.limit()}", file=sys.stderr)
        failed += len(missed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
