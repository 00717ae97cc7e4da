"""Conversion of a model into what a backend opens, with proof: only what gives the reference backend's outputs is opened.

`ready` is the way in: it keeps what was converted, and starts a process of its own where there is something to convert
(`worker`). `samples` makes the inputs, `gate` compares the outputs, `bisection` finds the first node that is wrong, and
`record` is what is known of one conversion.
"""
