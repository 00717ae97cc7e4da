import hashlib
import json
from pathlib import Path

import pytest

import multiedge as me
from multiedge.fleet import Device, Fleet, Link
from multiedge.network.encoding import decode, encode
from multiedge.network.records import PlanRecord
from multiedge.onnx_io import read_runnable
from multiedge.onnx_io.shipment import digest_of_bytes, shipment_of
from multiedge.plan import Manifest
from tests.builders.onnx_models import layers, saved
from tests.builders.parts import plan_of


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return me.read_graph(saved(layers(6, 64), tmp_path_factory.mktemp("model") / "model.onnx"))


def _parts(graph, folder: Path, *, at: int, copy: bool = False) -> Manifest:
    nodes = range(len(graph.nodes))
    return me.write_parts(graph, plan_of(graph, [nodes[:at], nodes[at:]]), folder, copy_weights=copy)


def test_every_range_of_linked_weights_is_one_tensor_with_its_digest(graph, tmp_path):
    shipment = shipment_of(_parts(graph, tmp_path, at=4))
    weights = (tmp_path / "weights_1.linked").read_bytes()
    files = [file for part in shipment.record.parts for file in part.files if file.ranges]
    assert len(files) == 2
    assert {file.sha256 for file in files} == {hashlib.sha256(weights).hexdigest()}
    for file in files:
        assert [each.sha256 for each in file.ranges] == [
            hashlib.sha256(weights[each.offset : each.offset + each.length]).hexdigest() for each in file.ranges
        ]
        assert 0 < file.needed_bytes < file.size
    first, second = ({(each.offset, each.length) for each in file.ranges} for file in files)
    assert not first & second


def test_plans_with_other_cuts_share_the_ranges_of_tensors(graph, tmp_path):
    def ranges(at: int) -> set:
        record = shipment_of(_parts(graph, tmp_path / str(at), at=at)).record
        return {each for part in record.parts for file in part.files for each in file.ranges}

    assert ranges(2) == ranges(5)


def test_the_same_plan_has_the_same_digest_wherever_it_is(graph, tmp_path):
    one, two = (shipment_of(_parts(graph, tmp_path / name, at=4)) for name in "ab")
    assert one.record.digest == two.record.digest
    assert one.files.keys() == two.files.keys()
    assert str(tmp_path) not in encode(one.record).decode()
    assert decode(PlanRecord, encode(one.record), "hub") == one.record


def test_the_manifest_in_a_record_states_no_time_of_a_file(graph, tmp_path):
    manifest = json.loads(shipment_of(_parts(graph, tmp_path, at=4)).record.manifest)
    size = (tmp_path / "weights_1.linked").stat().st_size
    assert [part["files"]["weights_1.linked"] for part in manifest["parts"]] == [f"stat:{size}:0"] * 2
    assert manifest["model"] == "model.onnx"


def test_copied_weights_travel_whole(graph, tmp_path):
    shipment = shipment_of(_parts(graph, tmp_path, at=4, copy=True))
    files = [file for part in shipment.record.parts for file in part.files]
    assert not any(file.ranges for file in files)
    assert all(file.needed_bytes == file.size == shipment.files[file.sha256].stat().st_size for file in files)
    assert shipment.nbytes == sum(file.size for file in files)


def test_a_digest_is_computed_again_when_the_file_has_changed(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abcdef")
    assert digest_of_bytes(path, 2, 3) == hashlib.sha256(b"cde").hexdigest()
    before = digest_of_bytes(path)
    path.write_bytes(b"abcdefg")
    assert before != digest_of_bytes(path) == hashlib.sha256(b"abcdefg").hexdigest()


def test_weights_that_are_linked_again_are_not_read_again(graph, tmp_path, monkeypatch):
    first = shipment_of(_parts(graph, tmp_path / "a", at=4))
    second = _parts(graph, tmp_path / "b", at=4)
    opened = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *args: opened.append(self.name) or real(self, *args))
    assert shipment_of(second).record == first.record
    assert not any(name.startswith("weights") for name in opened)


def test_a_plan_that_was_just_written_and_the_same_plan_read_have_one_digest(graph, tmp_path):
    fleet = Fleet((Device("a", flops_per_s=1e9), Device("b", flops_per_s=3e9)), {("a", "b"): Link(1e6, 0.001)})
    profile = me.profile_model(graph, fleet, reference="declared")
    written = me.write_parts(graph, me.plan_model(profile, fleet), tmp_path, profile=profile)
    assert shipment_of(written).record.digest == shipment_of(read_runnable(tmp_path)).record.digest
