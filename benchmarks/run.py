"""Every benchmark, each in its own process; then docs/benchmarks.md is made from the records of all.

python benchmarks/run.py                 # all of them; about half an hour
python benchmarks/run.py split plan      # only these; the others keep their last records
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.page import BENCHMARKS
from benchmarks.record import RESULTS

REPOSITORY = Path(__file__).resolve().parent.parent
TIMEOUT_S = 1800


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which benchmarks (default: all)")
    failed = [name for name in parser.parse_args().names or BENCHMARKS if not run(name)]
    page = subprocess.run([sys.executable, REPOSITORY / "docs" / "generate.py"], check=False)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else page.returncode


def run(name: str) -> bool:
    """Whether the benchmark ran through; its record is written then."""
    print(f"== {name}", flush=True)
    command = [sys.executable, str(REPOSITORY / "benchmarks" / f"{name}.py"), "--json", str(RESULTS / f"{name}.json")]
    return subprocess.run(command, timeout=TIMEOUT_S, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
