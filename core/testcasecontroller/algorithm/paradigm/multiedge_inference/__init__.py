"""Multi-edge inference: one model over several devices. In KubeEdge Ianvs, `multiedge attach` puts this folder."""

from .multiedge_inference import MultiedgeInference
from .upstream import is_upstream, keep_finished_cases

__all__ = ["MultiedgeInference"]

if is_upstream():
    keep_finished_cases()
