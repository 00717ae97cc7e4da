"""`multiedge serve` as a process: what it prints, how it ends, and what it says when it cannot begin."""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from multiedge.backends.contract import Provider
from multiedge.backends.onnxruntime import OnnxRuntimeBackend
from multiedge.cli import main
from multiedge.commands.serve import chosen
from multiedge.errors import ConfigError
from multiedge.transports.open_inference import SERVICE, messages
from tests.builders.flow import chain_manifest
from tests.builders.pipelines import WIDTH, small_model, small_plan
from tests.builders.stage_hosts import serve

grpc = pytest.importorskip("grpc", reason="the extra `remote` (grpcio, protobuf) is not installed")

ENDS_WITHIN_S = 2.0


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return small_plan(tmp_path_factory.mktemp("serve"))[0].directory


@pytest.mark.parametrize(("device", "stages"), [(None, [0, 1, 2]), ("d0", [0]), ("d2", [1]), ("d3", [2])])
def test_the_stages_of_a_device_are_those_that_it_runs_alone_or_in_turns(device, stages):
    manifest = chain_manifest("d0", ("d1", "d2"), "d3")
    assert [part.stage for part in chosen(manifest, device)] == stages


def test_a_device_that_runs_nothing_is_named_with_those_that_do():
    with pytest.raises(ConfigError, match="plan: no stage is on device 'd9'; known: d0, d1, d2"):
        chosen(chain_manifest("d0", ("d1", "d2")), "d9")


def serve_and_fail(parts, *options):
    command = [sys.executable, "-m", "multiedge.cli", "serve", parts, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == ""
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_time_and_in_peace(parts, number):
    with serve(parts, "--device", "d1") as (process, lines):
        assert len(lines) == 1
        assert lines[0].startswith("127.0.0.1:")
        assert lines[0].endswith(" stage_2 sub_model_2.onnx (planned for 'd1')")
        process.send_signal(number)
        begin = time.monotonic()
        assert process.wait(timeout=10) == 0
        assert time.monotonic() - begin < ENDS_WITHIN_S


def test_a_gpu_that_the_runtime_does_not_compute_on_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(OnnxRuntimeBackend, "provider", lambda self, device: Provider("CPUExecutionProvider"))
    small_model(tmp_path / "net.onnx")
    assert main(["serve", str(tmp_path / "net.onnx"), "--type", "gpu", "--port", "0"]) == 1
    line = "--type gpu: onnxruntime has none to use here, and would compute with CPUExecutionProvider; install its package"
    assert line in capsys.readouterr().err


def test_a_whole_model_has_the_name_of_its_file(tmp_path):
    small_model(tmp_path / "net.onnx")
    with serve(str(tmp_path / "net.onnx"), "--backend", "onnxruntime") as (_, lines):
        assert [line.split()[1:] for line in lines] == [["net", "net.onnx"]]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--device", "d1"], "--device: names a device of a plan, and {model} is a model; leave it out"),
        (["--option", "threads=2"], "--option: is of one backend; name it with --backend"),
        (["--type", "phone"], "--type: expected cpu, x86-cpu, "),
        (["--type", "gpu", "--backend", "openvino"], "--type gpu: openvino has none to use here"),
        (["--backend", "onnxruntime", "--option", "speed=2"], "backend 'onnxruntime' has no option 'speed'"),
    ],
)
def test_options_that_do_not_fit_a_whole_model_are_refused(words, line, tmp_path, capsys):
    small_model(tmp_path / "net.onnx")
    assert main(["serve", str(tmp_path / "net.onnx"), *words]) == 1
    assert line.format(model=tmp_path / "net.onnx") in capsys.readouterr().err


def test_a_taken_port_is_one_line(parts):
    with serve(parts) as (_, lines):
        address = lines[0].split()[0]
        assert [line.split()[1] for line in lines] == ["stage_1", "stage_2", "stage_3"]
        said = serve_and_fail(parts, "--port", address.rpartition(":")[2])
    own = [line for line in said.splitlines() if line.startswith("multiedge serve: error: ")]
    assert len(own) == 1
    assert f"cannot listen on {address}" in own[0]
    assert own[0].endswith("is the port taken?")
    assert "Traceback" not in said


def test_a_device_without_stages_is_one_line(parts):
    said = serve_and_fail(parts, "--device", "d9")
    assert said.count("\n") == 1
    assert "no stage is on device 'd9'" in said


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--port", "70000"], "--port: expected 0 to 65535, got 70000"),
        (["--port", "-1"], "--port: expected 0 to 65535, got -1"),
        (["--max-message", "lots"], "--max-message: expected a size such as '2GiB', '512MB' or 1024 (MiB), got 'lots'"),
        (["--max-message", "4GiB"], "--max-message: expected more than 0 and less than 2GiB, got '4GiB'"),
        (["--max-message", "0"], "--max-message: expected more than 0 and less than 2GiB, got '0'"),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_read(words, line, capsys):
    assert main(["serve", "nowhere", *words]) == 1
    assert capsys.readouterr().err == f"multiedge serve: error: {line}\n"


def test_a_served_part_states_its_types(parts):
    with serve(parts) as (_, lines), grpc.insecure_channel(lines[0].split()[0]) as channel:
        kinds = messages()
        send, receive = kinds["ModelMetadataRequest"].SerializeToString, kinds["ModelMetadataResponse"].FromString
        call = channel.unary_unary(f"/{SERVICE}/ModelMetadata", send, receive)
        answer = call(kinds["ModelMetadataRequest"](name="stage_1"), timeout=10)
    assert [(each.name, each.datatype, list(each.shape)) for each in answer.inputs] == [("x", "FP32", [1, WIDTH])]


def test_it_answers_over_http_too_and_a_stage_can_be_loaded_again(parts):
    def ask(path, method="GET"):
        request = urllib.request.Request(f"http://{address}{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"{}")

    with serve(parts, "--device", "d1", "--serve-http", "127.0.0.1:0") as (process, lines):
        address, protocol = process.stdout.readline().split()
        assert protocol == "HTTP"
        model = ask("/v2/models/stage_2")
        assert (model["platform"], model["inputs"][0]["datatype"]) == ("onnxruntime_onnx", "FP32")
        assert model["versions"] == [version for version in model["versions"] if version.startswith("multiedge-")] != []
        ask("/v2/repository/models/stage_2/unload", "POST")
        with pytest.raises(urllib.error.HTTPError, match="503"):
            ask("/v2/models/stage_2/ready")
        ask("/v2/repository/models/stage_2/load", "POST")
        assert ask("/v2/models/stage_2/ready")["ready"]
        assert lines[0].endswith(" stage_2 sub_model_2.onnx (planned for 'd1')")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--serve-http", "0.0.0.0:80"],
            "--serve-http: 0.0.0.0 is not this machine alone, so TLS is needed; make",
        ),
        (["--serve-http", "80"], "--serve-http: expected HOST:PORT, got '80'"),
        (["--identity", "nowhere"], "nowhere: holds no ca.pem; expected the folder of an identity"),
    ],
)
def test_addresses_and_identities_that_cannot_be_used_are_refused_before_anything_is_read(words, line, capsys):
    assert main(["serve", "nowhere", *words]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"multiedge serve: error: {line}")
    assert said.count("\n") == 1
