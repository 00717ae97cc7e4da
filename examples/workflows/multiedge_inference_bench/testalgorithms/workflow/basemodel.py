"""A workflow whose steps are planned onto devices; document, strategy and fleet are hyperparameters."""

from __future__ import annotations

import sys
from pathlib import Path

from sedna.common.class_factory import ClassFactory, ClassType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from workflow_bench.pipeline import WorkflowPipeline

ClassFactory.register(ClassType.GENERAL, alias="WorkflowPipeline")(WorkflowPipeline)
