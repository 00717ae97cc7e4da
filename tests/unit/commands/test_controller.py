"""`multiedge controller`: options that it refuses, and a cluster that is not there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from multiedge.cli import main


def test_an_address_for_workers_is_checked_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["controller", "--image", "image", "--url", "controller:8480"]) == 1
    assert "--url: expected the address of a controller, such as http://HOST:8480" in capsys.readouterr().err


def test_without_kopf_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "kopf", None)
    monkeypatch.delitem(sys.modules, "multiedge.serving.kubernetes.operator", raising=False)
    assert main(["controller", "--image", "image"]) == 1
    assert "package 'kopf' is not installed; run: pip install 'multi-edge-bench[kubernetes]'" in capsys.readouterr().err


def test_without_a_cluster_the_error_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("kopf", reason="pip install 'multi-edge-bench[kubernetes]'")
    pytest.importorskip("kubernetes_asyncio", reason="pip install 'multi-edge-bench[kubernetes]'")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert main(["controller", "--image", "image", "--listen", "127.0.0.1:0"]) == 1
    assert "kubernetes: no cluster is configured" in capsys.readouterr().err
