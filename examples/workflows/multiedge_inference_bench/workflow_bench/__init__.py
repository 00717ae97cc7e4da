"""What the examples of workflows need: data that are drawn, spoken or written by a seed, small networks and their training.

Models and pictures that the other examples have as well come from there.
"""

import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[1]
EXAMPLES = BENCH.parents[1]

for _name in ("imagenet", "llm"):
    _folder = str(EXAMPLES / _name / BENCH.name)
    if _folder not in sys.path:
        sys.path.append(_folder)
