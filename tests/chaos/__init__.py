"""Faults by a schedule, against any executor: every item must be answered once, right or with an error of its own.

    python -m tests.chaos --seconds 60 --seed 7 --target tcp

`schedule` draws the faults from a seed, `target` says what an executor must offer to be tested, `driver` runs the items and
judges the answers, `report` holds what came of it. Another executor needs only a Target.
"""
