"""Tests give the same result at every run and on every machine, busy or not; processes that they start can be interrupted."""

import os
import signal

from hypothesis import settings

settings.register_profile("repository", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("repository")

# Plans of tests do not depend on the machine, and commands that tests start do not calibrate it.
os.environ["MULTIEDGE_REFERENCE"] = "declared"

# Started by nohup, by a background shell or by some CI systems, pytest ignores SIGINT, and so would what it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
