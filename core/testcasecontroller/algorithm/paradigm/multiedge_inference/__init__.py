"""Multi-edge inference: one model over several devices."""

from .multiedge_inference import MultiedgeInference

__all__ = ["MultiedgeInference"]
