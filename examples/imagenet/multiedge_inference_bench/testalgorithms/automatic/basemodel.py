"""Parts by a strategy that is chosen by name: the paradigm plans for the fleet's devices and cuts the model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sedna.common.class_factory import ClassFactory, ClassType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from imagenet_bench.pipeline_model import PipelineModel


@ClassFactory.register(ClassType.GENERAL, alias="AutomaticPipeline")
class AutomaticPipeline(PipelineModel):
    """`strategy` is any name in `partitioners`; partition points in the fleet's file are not read."""

    def __init__(self, strategy: str, fleet: str, **options: Any) -> None:
        super().__init__(fleet=fleet, strategy=strategy, **options)
