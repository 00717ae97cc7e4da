"""An audit of plans: figures, feasibility and bounds, computed once more from profile and fleet.

Nothing here uses the strategies, `multiedge.planning` or what Graph and Profile derive from their fields, so an error there is
not repeated here. The equations are those of docs/cost-model.md.
"""
