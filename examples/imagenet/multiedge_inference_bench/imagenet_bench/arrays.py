"""Pictures as files of arrays, for commands that know nothing of pictures."""

from __future__ import annotations

from pathlib import Path

from imagenet_bench.index import read_index
from imagenet_bench.preprocess import read_picture
from multiedge.files import write_text
from multiedge.onnx_io.npz import write_npz


def write_arrays(index: Path, folder: Path) -> Path:
    """The folder, with an .npz for each picture of the index, as both models take it, and their classes in labels.txt."""
    lines = []
    for number, (picture, label) in enumerate(read_index(index)):
        name = f"{number:05d}-{picture.stem}.npz"
        write_npz(folder / name, {"image": read_picture(picture)})
        lines.append(f"{name} {label}\n")
    write_text(folder / "labels.txt", "".join(lines))
    return folder
