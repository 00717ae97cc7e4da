"""Programs of other Python versions: an interpreter, an environment with pinned packages, and a session in a process of it.

Some converters and runtimes need a Python, or versions of numpy and protobuf, that this process does not have. `interpreters`
finds a Python, `environment` sets up a folder with the packages on first use, `session` talks to a program there.
"""
