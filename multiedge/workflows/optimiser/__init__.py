"""What to run each step of a workflow with: a variant, a batch, replicas and devices, at least cost under a latency bound.

problem.py        what there is to choose from, and what is demanded
configuration.py  one choice for each step: its cost, load, accuracy and least latency
program.py        the integer program, solved by HiGHS
search.py         its answers in ascending cost until one passes the simulator, and what that proves
placing.py        replicas onto the devices of a kind
simulated.py      the p99 latency of a configuration by the simulator
heuristics.py     what InferLine's planner and IPA's program choose, for comparison
"""
