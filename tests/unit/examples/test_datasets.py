"""The ImageNet benchmark's data: archives, folders, pictures, the index."""

from __future__ import annotations

import importlib.util
import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).parents[3] / "examples" / "imagenet" / "multiedge_inference_bench"
sys.path.insert(0, str(BENCH))

pytest.importorskip("PIL", reason="needs the extra [bench]")
if importlib.util.find_spec("timm") is None:
    pytest.skip("needs the extra [bench]", allow_module_level=True)

from imagenet_bench import ilsvrc, index, preprocess  # noqa: E402
from PIL import Image  # noqa: E402
from scipy.io import savemat  # noqa: E402

from multiedge.errors import ConfigError, MissingDependencyError  # noqa: E402
from multiedge.files import TEMPORARY  # noqa: E402

SYNSETS = {1: "n02119789", 2: "n01440764", 3: "n03000134"}
CLASSES = {"n02119789": 278, "n01440764": 0, "n03000134": 489}
LABELS = [2, 1, 3, 2]


def jpeg(colour: int) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (300, 260), (colour, 0, 0)).save(made, "JPEG")
    return made.getvalue()


def tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    meta = io.BytesIO()
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")]
    rows = [(number, name, 0) for number, name in SYNSETS.items()] + [(1001, "n00001740", 2)]
    savemat(meta, {"synsets": np.array(rows, dtype=kind)})
    text = "".join(f"{label}\n" for label in LABELS).encode()
    return tar(tmp_path / "devkit.tar.gz", {ilsvrc.LABELS: text, ilsvrc.META: meta.getvalue()}, "w:gz")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    # Out of order on purpose: the number in the name counts, not the place in the archive.
    return tar(tmp_path / "val.tar", {f"ILSVRC2012_val_{n:08d}.JPEG": jpeg(n) for n in (3, 1, 4, 2)})


def test_official_archives_give_each_picture_its_class(tmp_path: Path, archive: Path, devkit: Path) -> None:
    rows = index.read_index(ilsvrc.prepare_archives(archive, devkit, tmp_path / "out"))
    assert [label for _, label in rows] == [CLASSES[SYNSETS[label]] for label in LABELS]
    assert [path.name for path, _ in rows] == [f"ILSVRC2012_val_{n:08d}.JPEG" for n in (1, 2, 3, 4)]
    assert rows[0][0].read_bytes() == jpeg(1)


def test_unpacking_again_keeps_what_is_whole_and_mends_what_is_not(tmp_path: Path, archive: Path, devkit: Path) -> None:
    out = tmp_path / "out"
    ilsvrc.prepare_archives(archive, devkit, out)
    whole, cut_short = out / "ILSVRC2012_val_00000001.JPEG", out / "ILSVRC2012_val_00000002.JPEG"
    before = whole.stat().st_mtime_ns
    cut_short.write_bytes(b"half")
    ilsvrc.prepare_archives(archive, devkit, out)
    assert whole.stat().st_mtime_ns == before
    assert cut_short.read_bytes() == jpeg(2)


def test_archive_cut_short_is_named_and_resumes(tmp_path: Path, archive: Path, devkit: Path) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 3])
    with pytest.raises(ConfigError, match=r"val\.tar: expected a whole tar archive, got .*run this again"):
        ilsvrc.prepare_archives(archive, devkit, tmp_path / "out")
    assert not (tmp_path / "out" / "index.txt").exists()
    assert not list((tmp_path / "out").glob(TEMPORARY))
    archive.write_bytes(content)
    assert len(index.read_index(ilsvrc.prepare_archives(archive, devkit, tmp_path / "out"))) == 4


def test_archive_with_too_few_pictures_is_an_error(tmp_path: Path, devkit: Path) -> None:
    few = tar(tmp_path / "few.tar", {"ILSVRC2012_val_00000001.JPEG": jpeg(1)})
    with pytest.raises(ConfigError, match=r"few\.tar: expected 4 pictures, as devkit\.tar\.gz labels, got 1"):
        ilsvrc.prepare_archives(few, devkit, tmp_path / "out")


@pytest.mark.parametrize("name", ["../outside.JPEG", "ILSVRC2012_val_00000005.JPEG", "train/n01440764_1.JPEG"])
def test_archive_with_another_file_in_it_is_an_error(tmp_path: Path, devkit: Path, name: str) -> None:
    odd = tar(tmp_path / "odd.tar", {name: jpeg(1)})
    with pytest.raises(ConfigError, match=r"ILSVRC2012_val_00000001[.]JPEG to 00000004"):
        ilsvrc.prepare_archives(odd, devkit, tmp_path / "out")


def test_missing_archives_are_named(tmp_path: Path, archive: Path, devkit: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.tar: .*found no file"):
        ilsvrc.prepare_archives(tmp_path / "gone.tar", devkit, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"gone\.tar\.gz: expected the devkit archive"):
        ilsvrc.prepare_archives(archive, tmp_path / "gone.tar.gz", tmp_path / "out")


def test_an_archive_that_is_no_tar_is_an_error(tmp_path: Path, archive: Path, devkit: Path) -> None:
    page = tmp_path / "page.tar"
    page.write_bytes(b"<html>log in first</html>" * 100)
    with pytest.raises(ConfigError, match=r"page\.tar: expected a whole tar archive"):
        ilsvrc.prepare_archives(page, devkit, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"page\.tar: expected a whole tar archive"):
        ilsvrc.prepare_archives(archive, page, tmp_path / "out")


def test_devkit_without_labels_is_an_error(tmp_path: Path, archive: Path) -> None:
    empty = tar(tmp_path / "other.tar.gz", {"readme.txt": b"hello"}, "w:gz")
    with pytest.raises(ConfigError, match=r"expected .*ground_truth\.txt and .*meta\.mat in it, found none"):
        ilsvrc.prepare_archives(archive, empty, tmp_path / "out")


def test_sample_is_seeded(tmp_path: Path, archive: Path, devkit: Path) -> None:
    def chosen(seed: int) -> list[str]:
        out = tmp_path / f"out{seed}"
        return [path.name for path, _ in index.read_index(ilsvrc.prepare_archives(archive, devkit, out, limit=2, seed=seed))]

    assert len(chosen(0)) == 2
    assert chosen(0) == chosen(0)
    assert len({tuple(chosen(seed)) for seed in range(6)}) > 1


def test_folder_per_class(tmp_path: Path) -> None:
    for name in ("n02119789", "n01440764"):
        (tmp_path / "val" / name).mkdir(parents=True)
        (tmp_path / "val" / name / f"{name}_1.JPEG").write_bytes(jpeg(9))
    rows = index.read_index(ilsvrc.prepare_folder(tmp_path / "val", tmp_path / "out"))
    assert [label for _, label in rows] == [0, 278]
    assert all(path.is_file() for path, _ in rows)


def test_folder_with_an_unknown_class_or_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one sub-folder per class, found none"):
        ilsvrc.prepare_folder(tmp_path / "gone", tmp_path / "out")
    (tmp_path / "val" / "n01440764").mkdir(parents=True)
    with pytest.raises(ConfigError, match="expected pictures"):
        ilsvrc.prepare_folder(tmp_path / "val", tmp_path / "out")
    (tmp_path / "val" / "cats").mkdir()
    with pytest.raises(ConfigError, match="cats: expected a WordNet id"):
        ilsvrc.prepare_folder(tmp_path / "val", tmp_path / "out")


@pytest.mark.parametrize(("text", "wrong"), [("", "empty index"), ("a.jpg 1\nb.jpg\n", "index.txt:2: expected 'PICTURE")])
def test_index_that_cannot_be_read_names_the_line(tmp_path: Path, text: str, wrong: str) -> None:
    (tmp_path / "index.txt").write_text(text)
    with pytest.raises(ConfigError, match=wrong):
        index.read_index(tmp_path / "index.txt")


@pytest.mark.parametrize(("label", "number"), [("3", 3), ("/abs/dir/3", 3), (np.str_("/x/999"), 999)])
def test_class_of_a_label_however_the_host_writes_it(label: object, number: int) -> None:
    assert index.class_of(label) == number


def test_picture_becomes_a_centred_square_between_minus_one_and_one(tmp_path: Path) -> None:
    tall = Image.new("RGB", (100, 400), (0, 0, 0))
    tall.paste((255, 255, 255), (0, 150, 100, 250))
    tall.save(tmp_path / "tall.png")
    tensor = preprocess.read_picture(tmp_path / "tall.png")
    assert tensor.shape == (1, 3, 224, 224)
    assert tensor.dtype == np.float32
    # The white middle is 100 of 400 rows, scaled by 2.56 to 256 rows: the crop lies within it.
    assert tensor.min() == pytest.approx(1.0)
    assert tensor.max() == pytest.approx(1.0)


def test_broken_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(jpeg(1)[:200])
    with pytest.raises(ConfigError, match=r"broken\.jpg: expected a readable picture"):
        preprocess.read_picture(tmp_path / "broken.jpg")


def test_pictures_without_their_package_say_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from imagenet_bench import pictures

    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"foolbox.* pip install 'multi-edge-bench\[bench\]'"):
        pictures.prepare_pictures(tmp_path)
