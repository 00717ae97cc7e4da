"""Sessions of composed files: the models of a workflow, the functions between them, conditions and joins.

Any backend opens the models; what lies between them is computed here, whatever the backend. A tensor that a condition keeps
from an item is VOID; what reads it is not computed.
"""
