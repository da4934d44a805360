"""Results of runs as files: a JSON file for each row and seed."""

import json
import os

UNFINISHED = "unfinished."  # begins the name of a file that is being written


def result_path(folder, name, seed):
    return folder / "results" / f"{name}-{seed}.json"


def weights_path(folder, name, seed):
    return folder / "weights" / f"{name}-{seed}.weights.h5"


def read_files(folder):
    """The results in a folder, in the order of their names."""
    return [
        json.loads(path.read_text())
        for path in sorted(folder.glob("*.json"))
        if not path.name.startswith(UNFINISHED)
    ]


def read_all(folder):
    """The results in a folder, by row and then by seed."""
    found = {}
    for result in read_files(folder):
        runs = found.setdefault(result["row"], {})
        if result["seed"] in runs:
            raise ValueError(
                f"{folder} has two results of {result['row']}, "
                f"seed {result['seed']}"
            )
        runs[result["seed"]] = result
    return found


def write_json(path, content, indent=None):
    replace(path, lambda p: p.write_text(json.dumps(content, indent=indent)))


def replace(path, write):
    """Writes a file that is there as a whole or not at all.

    What a process that is killed leaves behind is written over when the run
    goes on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(UNFINISHED + path.name)
    write(temporary)
    os.replace(temporary, path)
