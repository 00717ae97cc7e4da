"""A decoder whose stages make texts together; strategy, fleet and the number of sequences at a time are hyperparameters."""

from __future__ import annotations

import sys
from pathlib import Path

from sedna.common.class_factory import ClassFactory, ClassType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from llm_bench.text_pipeline import TextPipeline

ClassFactory.register(ClassType.GENERAL, alias="TextPipeline")(TextPipeline)
