"""Multi-edge inference: one model over several devices. In KubeEdge Ianvs, `multiedge attach` puts this folder."""

from .multiedge_inference import MultiedgeInference

__all__ = ["MultiedgeInference"]
