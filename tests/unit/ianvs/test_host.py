import sys
from types import SimpleNamespace

import pytest

from multiedge.errors import MultiedgeError
from multiedge.ianvs import host
from tests.builders import ianvs_standin


def test_in_a_checkout_the_host_stands_beside_the_library():
    assert (host.host_folder() / "core" / "cmd" / "benchmarking.py").is_file()


def test_in_an_installation_it_stands_below(tmp_path, monkeypatch):
    for folder in (tmp_path / "site" / "multiedge" / "_host", tmp_path / "site"):
        (folder / "core" / "common").mkdir(parents=True)
        (folder / "core" / "common" / "user_module.py").touch()
    monkeypatch.setattr(host, "HERE", tmp_path / "site" / "multiedge")
    assert host.host_folder() == tmp_path / "site" / "multiedge" / "_host"


def test_another_package_called_core_is_not_taken_for_the_host(tmp_path, monkeypatch):
    (tmp_path / "core" / "common").mkdir(parents=True)
    monkeypatch.setattr(host, "HERE", tmp_path / "multiedge")
    with pytest.raises(MultiedgeError, match="has no Ianvs host; run: pip install --force-reinstall multi-edge-bench"):
        host.host_folder()


@pytest.fixture
def started(monkeypatch):
    """Fakes what `core` is; the search path at the start of its main."""
    seen = []
    fake = SimpleNamespace(main=lambda: seen.append(list(sys.path)))
    monkeypatch.setattr(host, "import_module", lambda name: fake)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return seen


def test_the_command_runs_our_host_where_ianvs_is_not_installed(started, monkeypatch):
    monkeypatch.setattr(host, "upstream_version", lambda: None)
    assert host.main() == 0
    assert started[0][0] == str(host.host_folder())


def test_the_command_is_ianvss_where_it_is_installed(started, monkeypatch, capsys):
    monkeypatch.setattr(host, "upstream_version", lambda: "0.3.0")
    before = list(sys.path)
    assert host.main() == 0
    assert started == [before]
    assert "KubeEdge Ianvs 0.3.0 is installed" in capsys.readouterr().err


def test_in_a_checkout_of_ianvs_that_is_not_installed_it_prints_which_host_runs(started, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(host, "upstream_version", lambda: None)
    monkeypatch.chdir(ianvs_standin.write(tmp_path / "ianvs"))
    assert host.main() == 0
    assert "is not installed, so the host of multi-edge-bench runs; `python -m core" in capsys.readouterr().err
    monkeypatch.chdir(host.HERE.parent)
    assert host.main() == 0
    assert capsys.readouterr().err == ""
