import json
import subprocess
import sys
from types import SimpleNamespace

import onnx
import pytest

from multiedge import cli
from multiedge.calibration import keep_pipeline_cost
from multiedge.errors import ConfigError
from multiedge.pipeline_cost import PipelineCost
from profilers.engine.calibration import Calibration, chain_model
from profilers.engine.reference import VARIABLE, keep
from profilers.engine.roofline import REFERENCE
from tests.builders.onnx_models import parsed


@pytest.fixture
def command(monkeypatch):
    """A fake module for the subcommand `plan`, so that no runtime is imported."""
    fake = SimpleNamespace(add_arguments=lambda parser: parser.add_argument("model"), run=lambda args: 0)
    monkeypatch.setattr(cli, "import_module", lambda name: fake)
    return fake


def test_a_command_gets_its_arguments(command):
    seen = []
    command.run = lambda args: seen.append(args.model) or 0
    assert cli.main(["plan", "model.onnx"]) == 0
    assert seen == ["model.onnx"]


def test_an_expected_error_is_one_line_and_exit_1(command, capsys):
    def fail(args):
        raise ConfigError("devices.yaml: expected a mapping, got nothing")

    command.run = fail
    assert cli.main(["plan", "m"]) == 1
    assert capsys.readouterr().err == "multiedge plan: error: devices.yaml: expected a mapping, got nothing\n"


def test_a_bug_is_not_dressed_up_as_bad_input(command):
    def fail(args):
        raise ZeroDivisionError

    command.run = fail
    with pytest.raises(ZeroDivisionError):
        cli.main(["plan", "m"])


def test_an_option_that_is_refused_while_it_is_read_is_one_line_too(command, capsys):
    def refuse(text):
        raise ConfigError("--size: expected a size, got 'lots'")

    command.add_arguments = lambda parser: parser.add_argument("--size", type=refuse)
    assert cli.main(["plan", "--size", "lots"]) == 1
    assert capsys.readouterr().err == "multiedge plan: error: --size: expected a size, got 'lots'\n"


def test_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "multiedge", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("multiedge ")


@pytest.mark.parametrize("name", ["split", "plan", "inspect", "compare", "simulate", "run", "report"])
def test_a_command_imports_no_runtime_and_nothing_to_draw_with_before_it_needs_it(name):
    heavy = ("scipy", "rich", "onnxruntime", "torch", "ray", "grpc", "multiprocessing")
    code = f"import sys, multiedge.commands.{name}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


HEAVY = ("scipy", "onnxruntime", "torch", "ray", "grpc", "multiprocessing", "psutil", "jinja2", "numpy.ma")
"""What takes a tenth of a second or more to import, alone or with what it needs."""


def imported(*calls, of):
    """The modules of `of` that a new process has imported after each call of the command, as lists."""
    code = f"""
import contextlib, io, json, sys
from multiedge import cli
for call in {calls!r}:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        cli.main(call)
    print(json.dumps([name for name in {of!r} if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_help_imports_nothing_that_works_on_models():
    heavy = (*HEAVY, "numpy", "onnx", "yaml", "rich")
    calls = [["--help"], *([name, "--help"] for name in cli.COMMANDS)]
    assert imported(*calls, of=heavy) == [[]] * len(calls)


def test_a_command_on_a_model_imports_what_it_shows_and_no_runtime(tmp_path):
    model, devices = tmp_path / "model.onnx", tmp_path / "devices.yaml"
    onnx.save(chain_model(4), model)
    devices.write_text("devices: [{name: a, speed: 1}, {name: b, speed: 1}]\n")
    heavy = (*HEAVY, "onnx.reference", "yaml", "rich")
    commands = {
        ("inspect", str(model)): ["rich"],
        ("inspect", str(model), "--json"): [],
        ("split", str(model), "--parts", "2", "-o", str(tmp_path / "parts"), "--json"): [],
        ("plan", str(model), "--devices", str(devices), "--json"): ["yaml"],
    }
    assert {call: imported(list(call), of=heavy)[0] for call in commands} == commands


def test_a_model_whose_dropout_has_a_mask_needs_no_runtime_for_its_types(tmp_path):
    model = tmp_path / "model.onnx"
    masked = parsed("g (float[2,3] x) => (float[2,3] y) { a, mask = Dropout(x)  y = Neg(a) }", opsets='"" : 9')
    onnx.save(masked, model)
    assert imported(
        ["inspect", str(model)], ["split", str(model), "--parts", "2", "-o", str(tmp_path / "parts")], of=HEAVY
    ) == [
        [],
        [],
    ]


@pytest.mark.parametrize("option", ["replicat=true", "time_limit=1"])
def test_an_unknown_option_of_a_strategy_imports_no_solver(tmp_path, option):
    model, devices = tmp_path / "model.onnx", tmp_path / "devices.yaml"
    onnx.save(chain_model(4), model)
    devices.write_text("devices: [{name: a, speed: 1}]\n")
    assert imported(["plan", str(model), "--devices", str(devices), "--option", option], of=HEAVY) == [[]]


def test_no_strategy_imports_a_solver_before_it_plans():
    code = f"""
import sys
from multiedge.options import option_names
from partitioners import PARTITIONERS
assert all(option_names(PARTITIONERS, name) is not None for name in PARTITIONERS.names())
print([name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


MOST_MODULES = {"inspect": 520, "split": 520, "plan": 560}
"""Python's own ones, numpy and onnx included."""


@pytest.mark.parametrize("name", MOST_MODULES)
def test_a_command_imports_few_modules(tmp_path, name):
    model, devices = tmp_path / "model.onnx", tmp_path / "devices.yaml"
    onnx.save(chain_model(4), model)
    devices.write_text("devices: [{name: a, speed: 1}, {name: b, speed: 1}]\n")
    options = {"inspect": [], "split": ["--parts", "2", "-o", str(tmp_path / "parts")], "plan": ["--devices", str(devices)]}
    code = "import sys; from multiedge import cli; cli.main(sys.argv[1:]); print(len(sys.modules))"
    command = [sys.executable, "-c", code, name, str(model), *options[name]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout.splitlines()[-1]) <= MOST_MODULES[name]


def test_a_plan_relative_to_a_calibration_that_is_kept_imports_no_runtime(tmp_path, monkeypatch):
    model, devices = tmp_path / "model.onnx", tmp_path / "devices.yaml"
    onnx.save(chain_model(4), model)
    devices.write_text("devices: [{name: a, speed: 1}]\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "calibrated")
    assert keep(Calibration(1, REFERENCE, 1e-5))
    keep_pipeline_cost(PipelineCost(1e-4, 1e-10, 5e-5, 1e-10, 1e-4, 1.5))
    call = ["plan", str(model), "--devices", str(devices)]
    assert imported([*call, "--json"], call, of=HEAVY) == [[], []]


def test_ctrl_c_ends_with_130(command, capsys):
    def interrupt(args):
        raise KeyboardInterrupt

    command.run = interrupt
    assert cli.main(["plan", "m"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_no_command_prints_help_and_exits_2(capsys):
    assert cli.main([]) == 2
    shown = capsys.readouterr().err
    assert all(name in shown for name in cli.COMMANDS)


@pytest.mark.parametrize("argv", [["plam"], ["plan"], ["plan", "m", "--nonsense"]])
def test_wrong_usage_exits_2(command, argv, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    assert caught.value.code == 2
    assert "usage: multiedge" in capsys.readouterr().err


def test_an_unknown_option_is_shown_with_the_usage_of_its_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["split", "m", "--parts", "2", "-o", "d", "--nonsense"])
    shown = capsys.readouterr().err
    assert "usage: multiedge split" in shown
    assert "multiedge split: error: unknown here: --nonsense" in shown


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_of_the_table_exists(name):
    from importlib import import_module

    assert callable(import_module(f"multiedge.commands.arguments.{name}").add_arguments)
    assert callable(import_module(f"multiedge.commands.{name}").run)


@pytest.mark.parametrize("module", ["multiedge", "multiedge.cli", "partitioners", "profilers", "multiedge.executors"])
def test_packages_import_without_a_heavy_runtime(module):
    code = (
        f"import sys, {module}; "
        "print([name for name in ('torch', 'onnxruntime', 'onnx', 'scipy', 'core', 'ray', 'grpc') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_sigterm_ends_a_command_like_an_error_so_that_it_cleans_up(tmp_path):
    code = """
import os, signal, sys, time
from pathlib import Path
from multiedge import cli
from multiedge.commands import calibrate
from multiedge.files import temporary_folder
def run(args):
    with temporary_folder("segments-", sys.argv[1]):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
calibrate.run = run
sys.exit(cli.main(["calibrate"]))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (143, "")
    assert list(tmp_path.iterdir()) == []
