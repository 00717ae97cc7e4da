"""References to kept tensors: what is no address is refused. Requests with them: tests of `multiedge.serving.kept`."""

from __future__ import annotations

import pytest

from multiedge.errors import PipelineError

pytest.importorskip("google.protobuf", reason="the extra `remote` (grpcio, protobuf) is not installed")

from multiedge.transports.references import KeptTensor


@pytest.mark.parametrize("text", ["", "key", "host/key", ":80/key", "host:x/key", "host:80/", "host:80/../../x", "host:80/a b"])
def test_what_is_no_kept_tensor_is_refused(text):
    with pytest.raises(PipelineError, match="expected a kept tensor as host:port/key"):
        KeptTensor.parse(text)
