"""The command ``pgpc``: pack data, train, evaluate, show a config."""

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

    out = arguments.out
    if not arguments.resume and (out / "checkpoint.pt").exists():
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
    metrics = evaluate(student.segmenter.to(local_device()), samples, config.model.num_classes)
    print(json.dumps({"iteration": state["step"], **metrics.as_dict()}, indent=2))


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
