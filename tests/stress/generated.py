"""Draws thousands of legal and illegal cases for the running backend.

KERAS_BACKEND=jax python tests/stress/generated.py

Prints the seed, the counts and the largest errors; the exit code is 1 if a
case fails. A case is one evaluation of value and gradient with contents of
its own, checked as `checks.py` says. A program is a row of the table with
options, shapes and dtypes; a compiled program serves many cases, because
compiling takes a hundred times as long as running.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from stress.campaign import Campaign
from support import BACKEND, MODES, use_full_precision

# Of the legal cases: programs and contents of each, by mode. Op by op, a case
# takes a second where every loop is compiled anew.
PLANS = {
    ("eager",): {"eager": (5200, 2)},
    ("eager", "compiled"): {"compiled": (148, 68), "eager": (37, 2)},
    ("eager", "graph", "compiled"): {
        "eager": (370, 1),
        "graph": (37, 100),
        "compiled": (74, 85),
    },
}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        metavar="X",
        help="so many times the usual number of programs (default: 1)",
    )
    options = parser.parse_args(arguments)
    use_full_precision()
    campaign, start = Campaign(options.seed), time.monotonic()
    for mode, (programs, contents) in PLANS[MODES].items():
        campaign.legal(max(1, round(options.scale * programs)), contents, mode)
        passed = time.monotonic() - start
        print(f"{mode} done after {passed:.0f} s", file=sys.stderr, flush=True)
    campaign.illegal(max(1, round(options.scale * 1000)))
    print(f"{BACKEND}, seed {options.seed}, {time.monotonic() - start:.0f} s")
    print("\n".join(campaign.report()))
    return 1 if campaign.failures else 0


if __name__ == "__main__":
    sys.exit(main())
