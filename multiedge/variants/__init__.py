"""Plans that choose a runtime and a precision for each device together with the placement, at a limited loss of accuracy.

`costs` has the times of several variants in one profile, of which strategies take the fastest for what a device holds;
`answers` measures what a mix of them costs in right answers, and `choice` plans again without a variant that costs too many.
"""
