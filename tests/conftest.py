"""Property tests give the same result at every run and on a busy machine; processes that tests start can be interrupted."""

import signal

from hypothesis import settings

settings.register_profile("repository", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("repository")

# Started by nohup, by a background shell or by some CI systems, pytest ignores SIGINT, and so would what it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
