#!/usr/bin/env python3
"""Makes the inputs of the ImageNet benchmark: models, pictures, and the whole model's answers. Finished steps are kept.

python examples/imagenet/multiedge_inference_bench/prepare.py                      # both models, foolbox's pictures
... prepare.py --weights vit_base_patch16_224=FILE                                 # your own weights
... prepare.py --ilsvrc2012 ILSVRC2012_img_val.tar ILSVRC2012_devkit_t12.tar.gz    # the validation set
... prepare.py --ilsvrc2012-folder val/ --limit 1000                               # ... from a folder, a sample of it
... prepare.py --npz                                                               # the pictures for `multiedge ... --inputs`
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from imagenet_bench.arrays import write_arrays
from imagenet_bench.ilsvrc import prepare_archives, prepare_folder
from imagenet_bench.index import read_index
from imagenet_bench.models import MODELS, prepare_model, read_weights
from imagenet_bench.pictures import prepare_pictures
from imagenet_bench.reference import reference_outputs
from imagenet_bench.runtimes import prepare_runtimes

from multiedge.commands._script import run_script, say
from multiedge.errors import ConfigError

CACHE = Path(".cache/imagenet")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--cache", type=Path, default=CACHE, help="where models and pictures go (default: %(default)s)")
    made.add_argument("--model", action="append", choices=list(MODELS), help="only this model (default: all)")
    made.add_argument("--weights", action="append", default=[], metavar="MODEL=FILE", help="a state dict for a model")
    source = made.add_mutually_exclusive_group()
    source.add_argument("--ilsvrc2012", nargs=2, type=Path, metavar=("ARCHIVE", "DEVKIT"), help="the official archives")
    source.add_argument("--ilsvrc2012-folder", type=Path, metavar="DIR", help="a folder with one sub-folder per class")
    made.add_argument("--limit", type=int, help="size of a random sample of the validation set (default: all)")
    made.add_argument("--npz", action="store_true", help="write each picture as .npz, and labels.txt, to CACHE/inputs")
    made.add_argument("--seed", type=int, default=0, help="seed of that sample (default: %(default)s)")
    return made


def prepare(args: argparse.Namespace) -> None:
    """Prepares what the options name and lists it on stderr."""
    weights = dict(_assignment(text) for text in args.weights)
    models = [prepare_model(name, args.cache / "models", weights.get(name)) for name in args.model or MODELS]
    index = _dataset(args)
    pictures = [path for path, _ in read_index(index)]
    say(f"{index}: {len(pictures)} pictures")
    if args.npz:
        say(f"{write_arrays(index, args.cache / 'inputs')}: the pictures as the models take them, and labels.txt")
    for model in models:
        reference_outputs(model, pictures, args.cache / "reference")
        say(f"{model}: weights: {read_weights(model).source}")
    runtimes, left_out = prepare_runtimes(args.cache)
    say(f"rows of other runtimes: {'; '.join(runtimes) or 'none'}")
    for name, reason in left_out.items():
        say(f"no row of {name}: {reason}")


def _dataset(args: argparse.Namespace) -> Path:
    if args.limit is not None and args.limit < 1:
        raise ConfigError(f"--limit: expected at least 1 picture, got {args.limit}")
    folder = args.cache / "ilsvrc2012"
    if args.ilsvrc2012:
        return prepare_archives(*args.ilsvrc2012, folder, args.limit, args.seed)
    if args.ilsvrc2012_folder:
        return prepare_folder(args.ilsvrc2012_folder, folder, args.limit, args.seed)
    return prepare_pictures(args.cache / "pictures")


def _assignment(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals or name not in MODELS:
        raise ConfigError(f"--weights: expected MODEL=FILE with MODEL one of {', '.join(MODELS)}, got {text!r}")
    return name, Path(path)


if __name__ == "__main__":
    sys.exit(run_script(parser(), prepare))
