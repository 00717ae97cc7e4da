"""Property tests give the same result at every run and on a busy machine."""

from hypothesis import settings

settings.register_profile("repository", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("repository")
