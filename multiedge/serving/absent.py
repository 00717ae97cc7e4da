"""Tensors that an item does not have, as requests to a stage of a workflow say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from multiedge.composed import VOID
from multiedge.serving.inference.contract import Array
from multiedge.serving.inference.wire import Call, GivenTensor, Parameters, WantedOutput
from multiedge.transports.references import ABSENT


class AbsentPlace:
    """The place of inputs that are absent. Outputs that are need none: the service marks them."""

    def note(self, parameters: Parameters) -> None:
        """Nothing is kept from request to request."""

    def has_input(self, parameters: Parameters) -> bool:
        return parameters.get(ABSENT) is True

    def takes_output(self, parameters: Parameters) -> bool:
        return False

    def read(self, tensors: Sequence[GivenTensor], call: Call) -> Mapping[str, Array]:
        return {tensor.name: VOID for tensor in tensors}

    def write(self, output: WantedOutput, array: Array, call: Call) -> Parameters:
        raise NotImplementedError
