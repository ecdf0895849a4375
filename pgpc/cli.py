"""The command ``pgpc``: pack data, train, evaluate, export a network, show a config."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pgpc.config import Config, flatten, override, parse_settings
from pgpc.presets import preset, preset_names


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; errors that a user can mend end with status 2 and one line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        arguments.run(arguments)
    except (ValueError, OSError, RuntimeError) as error:
        # A RuntimeError that torch raises is a defect of ours and keeps its traceback.
        if type(error) is RuntimeError:
            raise
        print(f"pgpc {arguments.command}: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\npgpc {arguments.command}: interrupted{arguments.on_interrupt}", file=sys.stderr)
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pgpc", description="Pseudo-label guided pixel contrast for domain adaptive segmentation."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    pack = commands.add_parser("pack", help="pack a data set into shards", description=_pack.__doc__)
    pack.add_argument("--layout", required=True, help="how the data set lies on disk: gta5, cityscapes")
    pack.add_argument("--root", required=True, type=Path, help="folder of the data set")
    pack.add_argument("--out", required=True, type=Path, help="folder for the shards; created")
    pack.set_defaults(run=_pack, on_interrupt="; nothing was written.")

    train = commands.add_parser(
        "train", help="train one network", description=_train.__doc__,
        epilog="Several processes: torchrun --nproc-per-node 2 -m pgpc train --out runs/a",
    )  # fmt: skip
    _add_config(train)
    train.add_argument("--out", required=True, type=Path, help="folder for checkpoint, config and TensorBoard")
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    train.set_defaults(run=_train, on_interrupt="; add --resume to go on from the last checkpoint.")

    score = commands.add_parser("evaluate", help="score a checkpoint", description=_evaluate.__doc__)
    score.add_argument("--checkpoint", required=True, type=Path, help="folder that holds checkpoint.pt")
    score.set_defaults(run=_evaluate, on_interrupt=".")

    export = commands.add_parser("export", help="write a trained network for use", description=_export.__doc__)
    export.add_argument("--checkpoint", required=True, type=Path, help="folder that holds checkpoint.pt")
    export.add_argument("--out", required=True, type=Path, help="file to write; replaced if it is there")
    export.add_argument("--network", default="student", choices=("student", "teacher"), help="(default: %(default)s)")
    export.add_argument(
        "--format", default="weights", choices=("weights", "program"),
        help="weights with their config, for pgpc.models.load_exported, or a program for torch.export.load, which runs "
        "without pgpc (default: %(default)s)",
    )  # fmt: skip
    export.add_argument(
        "--size", metavar="HEIGHTxWIDTH", help="of the program's images (default: data.target_size of the config)"
    )
    export.set_defaults(run=_export, on_interrupt="; nothing was written.")

    show = commands.add_parser("show", help="print a resolved config, or the names of all", description=_show.__doc__)
    _add_config(show)
    show.add_argument("--list", action="store_true", help="print the names of all presets instead")
    show.set_defaults(run=_show, on_interrupt=".")
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("preset", nargs="?", default="streets", help="named config (default: %(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="change one value of the config, e.g. --set contrast.eta=0.4; repeatable",
    )  # fmt: skip


def _config(arguments: argparse.Namespace) -> Config:
    return override(preset(arguments.preset), parse_settings(arguments.settings))


def _pack(arguments: argparse.Namespace) -> None:
    """Check every image and label of a data set and write them as Arrow shards, which training reads."""
    from pgpc.data.pack import pack

    pack(arguments.layout, arguments.root, arguments.out, on_progress=_print_progress)


def _train(arguments: argparse.Namespace) -> None:
    """Train one network: in this process, or in all that torchrun starts."""
    from pgpc.training import train
    from pgpc.training.state import CHECKPOINT, PREVIOUS

    out = arguments.out
    if not arguments.resume and any((out / name).exists() for name in (CHECKPOINT, PREVIOUS)):
        raise ValueError(f"{out} holds a checkpoint already. Add --resume to go on from it, or choose another --out.")
    result = train(_config(arguments), out=out, resume=out if arguments.resume else None)
    if os.environ.get("RANK", "0") == "0":  # torchrun numbers its processes; one of them speaks
        logging.getLogger(__name__).info("mIoU %.2f  ->  %s", result.metrics["mIoU"], result.out)


def _evaluate(arguments: argparse.Namespace) -> None:
    """Score the student of a checkpoint on the evaluation split of its target; prints JSON."""
    from pgpc.config import from_dict
    from pgpc.data.domains import open_shards
    from pgpc.data.loader import evaluation_samples
    from pgpc.distributed import local_device
    from pgpc.training import evaluate, read_checkpoint
    from pgpc.training.student import Student

    state = read_checkpoint(arguments.checkpoint)
    # The checkpoint has all weights; the file of the initial ones may be on another machine.
    config = override(from_dict(json.loads(state["config"])), {"model.pretrained": ""})
    student = Student(config)
    student.load_state_dict(state["student"])
    scored = open_shards(config.data.target, config.data, config.data.eval_split)
    samples = evaluation_samples(scored, config.data, rank=0, world_size=1)
    model = student.segmenter.to(local_device())
    metrics = evaluate(model, samples, config.model.num_classes, evaluation=config.evaluation)
    print(json.dumps({"iteration": state["step"], **metrics.as_dict()}, indent=2))


def _export(arguments: argparse.Namespace) -> None:
    """Write the network of a checkpoint to a file, without all that only training needs."""
    from pgpc.config import from_dict
    from pgpc.models.export import export_program, export_weights
    from pgpc.training import read_checkpoint
    from pgpc.training.state import CHECKPOINT
    from pgpc.training.student import Student

    folder, out, network = arguments.checkpoint, arguments.out, arguments.network
    size = _size(arguments.size) if arguments.size is not None else None
    if size is not None and arguments.format != "program":
        raise ValueError(f"--size is that of a program's images, but got --format {arguments.format}. Leave it out.")
    state = read_checkpoint(folder)
    if out.exists() and out.samefile(folder / CHECKPOINT):
        raise ValueError(f"--out must not be the checkpoint itself, but got {out}. Choose another file.")
    if state.get(network) is None:
        raise ValueError(
            f"--network {network} must be in the checkpoint, but the run in {folder} trains without one. "
            "Export the student."
        )
    # The checkpoint has all weights; the file of the initial ones may be on another machine.
    config = override(from_dict(json.loads(state["config"])), {"model.pretrained": ""})
    student = Student(config)
    student.load_state_dict(state[network])
    if arguments.format == "weights":
        export_weights(student.segmenter, config, out)
    else:
        width, height = config.data.target_size
        export_program(student.segmenter, out, size or (height, width))
    megabytes = [path.stat().st_size / 1e6 for path in (out, folder / CHECKPOINT)]
    print(f"exported {network}: {megabytes[0]:.1f} MB (checkpoint {megabytes[1]:.1f} MB) -> {out}")


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise ValueError(f"--size must be HEIGHTxWIDTH in pixels, for example 512x1024, but got {text!r}.")
    return int(height), int(width)


def _show(arguments: argparse.Namespace) -> None:
    """Print every key and value of a config, as --set takes them."""
    if arguments.list:
        print("\n".join(preset_names()))
        return
    for key, value in flatten(_config(arguments)).items():
        print(f"{key}={','.join(map(str, value)) if isinstance(value, tuple) else value}")


def _print_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)
