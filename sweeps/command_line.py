"""The command line of a sweep: its flags, which become the options of :mod:`sweeps.definition.options`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pgpc.runtime.checks import refuse_empty
from sweeps.common.commands import program, sweep_command
from sweeps.common.names import METRIC
from sweeps.common.words import seconds
from sweeps.definition.objectives import OBJECTIVES
from sweeps.definition.options import (
    DEFAULT_TRIALS,
    DEFAULT_WORKERS,
    DEFAULTS,
    KEPT,
    LOCAL,
    TRACKERS,
    check_value,
    rule_of,
)
from sweeps.definition.paper_tables import ABLATIONS, BASES, TABLES_OF_BASES
from sweeps.definition.selection import CHOICES, DEFAULT_SELECTION, OPTIMISTIC
from sweeps.search.samplers import SAMPLERS
from sweeps.search.schedulers import SCHEDULERS, owners

EXAMPLES = """examples:
  python sweeps/run_ablation.py                                    the embedded streets, 5 trials, minutes on a laptop
  python sweeps/run_ablation.py --trials 40 --time-budget 2h --name first
  python sweeps/run_ablation.py --resume first --trials 60         resume after Ctrl-C, a crash, or for more trials
  python sweeps/run_ablation.py --resume first --confirm 3 --seeds 3,4,5    the best 3 and the base anew: is it true?
  python sweeps/run_ablation.py --set training.iterations=400 --set contrast.eta=0.5
  python sweeps/run_ablation.py --range contrast.r=2:6 --range contrast.eta=0.2:0.8:0.2 --search grid
  python sweeps/run_ablation.py --scheduler pbt --population 4 --trials 12
  python sweeps/run_ablation.py --table 12 --seeds 0,1,2           the paper's Table 12, beside the paper's figures
  python sweeps/run_ablation.py --preset streets/vfm-uda+pgpc --encoders test_vit,test_vit2 --seeds 0,1,2
  python sweeps/run_ablation.py --preset gta5-cityscapes/daformer+pgpc --address auto --storage /shared/results \\
      --set data.source=/data/gta5 --set data.target=/data/cityscapes --workers 4 --gpus-per-worker 1
"""


def parse(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the options that the user has given, by the names of the fields of `SweepOptions`.

    Options that are not given are absent, so that ``--resume`` can tell them from defaults.

    Args:
        argv: The arguments; None for those of this process.
    """
    parser = build_parser()
    try:
        refuse_empty(sys.argv[1:] if argv is None else argv)
    except ValueError as error:
        parser.error(str(error))
    return vars(parser.parse_args(argv))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog=program(sweep_command()),
        description="Sweeps the contrast's parameters r, eta, weight, anchors and negatives with Ray Tune and Optuna. "
        "Each trial is a distributed training of its own; the first has the preset's own values, and the reference "
        "'base', the same training without contrast, is run beside the search. With --table it runs the rows of the "
        "paper's tables instead, and sets what comes out beside what the paper prints.",
        epilog=EXAMPLES.replace("python sweeps/run_ablation.py", sweep_command()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    _add_training(parser.add_argument_group("what is trained"))
    search = parser.add_argument_group("how it is searched")
    _add_search(search)
    _add_schedule(search)
    _add_resources(parser.add_argument_group("what it runs on"))
    _add_results(parser.add_argument_group("what is left behind"))
    return parser


def _add_training(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--preset",
        metavar="NAME",
        help="named config to start from; that of custom/BASE takes its numbers from the packed shards that --set "
        f"data.source and --set data.target name (default: {DEFAULTS.preset})",
    )
    group.add_argument(
        "--config",
        metavar="FILE",
        help="config file to start from instead: what `pgpc init` prints, a run's config.json, or YAML",
    )
    group.add_argument(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        help="change one value of the config, e.g. training.iterations=400, with which lengths that are not set change "
        "in proportion; repeatable. A parameter of the search that is set here keeps this value in all trials. "
        "`pgpc show PRESET` lists all keys",
    )
    group.add_argument(
        "--seed",
        type=_option("seed", _whole),
        metavar="N",
        help="seed of the trainings and of the search (default: the preset's)",
    )
    group.add_argument(
        "--seeds",
        type=_option("seeds", _wholes),
        metavar="N,N,..",
        help="train everything with each of these seeds; means and paired differences are compared. A trial of the "
        "search that cannot reach the best mean any more is not given more seeds",
    )
    group.add_argument(
        "--report-split",
        type=_option("report_split", _number),
        metavar="SHARE",
        help="keep this share of the labeled target images, drawn by the seed, out of every choice, and report the "
        "chosen trial's mIoU on them beside the one that it was chosen by (default: none)",
    )
    bases, ablations = _span(TABLES_OF_BASES), _span(ABLATIONS)
    group.add_argument(
        "--table",
        type=_option("table", _tables),
        metavar="N,N,..",
        help=f"run the rows of these tables of the paper instead of a search: {ablations}, or all of these as 'all', "
        f"are ablations of the preset; {bases} compare bases with and without PGPC, in scores or in speed, on the "
        "preset's task",
    )
    group.add_argument(
        "--bases",
        type=_option("bases", _names),
        metavar="NAME,NAME,..",
        help=f"bases of Tables {bases} (default: the paper's: {', '.join(BASES)})",
    )
    group.add_argument(
        "--encoders",
        type=_option("encoders", _names),
        metavar="NAME,NAME,..",
        help="instead of a search, measure what adaptation adds on each of these encoders: the preset's training with "
        "the source alone, with its self-training, and with PGPC, each beside the one before",
    )


def _add_search(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--trials",
        type=_option("trials", _whole),
        metavar="N",
        help=f"trials of the search, failed ones included (default: {DEFAULT_TRIALS}; with --search grid the whole "
        "grid, and never more)",
    )
    group.add_argument(
        "--time-budget",
        type=_option("time_budget", seconds),
        metavar="TIME",
        help="stop after this time, e.g. 900, 30m, 2h; what then runs can be resumed (default: none)",
    )
    meanings = "; ".join(f"{objective.name}: {objective.help}" for objective in OBJECTIVES.values())
    group.add_argument(
        "--objectives",
        type=_option("objectives", _names),
        metavar="NAME,NAME,..",
        help=f"what trials are judged on: {meanings}. With several no trial is stopped early, and the trials that none "
        f"beats on all are marked (default: {METRIC})",
    )
    group.add_argument(
        "--select-by",
        type=_option("select_by", str),
        metavar="NAME",
        help=f"what trials are chosen by: {CHOICES}. All but {METRIC} need no label of the target. {OPTIMISTIC} "
        f"(default: {METRIC}; with data.eval_split=none {DEFAULT_SELECTION})",
    )
    group.add_argument(
        "--search",
        choices=sorted(SAMPLERS),
        help=f"how parameters are suggested. {_list({s.name: s.help for s in SAMPLERS.values()})} "
        f"(default: {DEFAULTS.search})",
    )
    group.add_argument(
        "--range",
        action="append",
        metavar="KEY=RANGE",
        help="search this key in LOW:HIGH, LOW:HIGH:log, LOW:HIGH:STEP, or among A,B,C; repeatable. Followed by "
        "' if KEY=A,B' it is searched only where that other key, which is searched too, has one of these values",
    )
    group.add_argument(
        "--space",
        metavar="FILE.json",
        help='search these keys and no others: an object such as {"contrast.eta": "0.2:0.8"}, or with {"range": RANGE, '
        '"when": {KEY: [A, B]}} for a range; --range goes before it',
    )
    group.add_argument(
        "--enqueue",
        action="append",
        metavar="PARAMETERS",
        help="try these parameters next: KEY=VALUE,KEY=VALUE, other keys as in the preset, or a JSON file with a list "
        "of objects; repeatable. Each counts as a trial; --trials is raised where it is too small for them",
    )
    group.add_argument(
        "--warm-start",
        metavar="STUDY",
        help="tell the search about the complete trials of an earlier one that lie in the space: its results folder, "
        "or the address of an Optuna storage, with #NAME where it has several studies",
    )


def _add_schedule(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--scheduler",
        choices=list(SCHEDULERS),
        help=f"which trials are stopped early. {_list({s.name: s.help for s in SCHEDULERS.values()})} "
        f"(default: {DEFAULTS.scheduler}; with several objectives none)",
    )
    group.add_argument(
        "--brackets",
        type=_option("brackets", _whole),
        metavar="N",
        help=f"of {_owners('brackets')}: trials take turns in N brackets, each with its first rung one later than the "
        f"one before, and compete within theirs only (default: {DEFAULTS.brackets})",
    )
    group.add_argument(
        "--first-rung",
        type=_option("first_rung", _whole),
        metavar="ITERATIONS",
        help=f"of {_owners('first_rung')}: from when on trials are stopped; rungs lie at evaluations, and none at the "
        "last one (default: after 1 / FACTOR^2 of the iterations with contrast, of median after a quarter)",
    )
    group.add_argument(
        "--reduction-factor",
        type=_option("reduction_factor", _whole),
        metavar="FACTOR",
        help=f"of {_owners('reduction_factor')}: one of so many trials goes on at a rung, and each rung is at so many "
        f"times the iterations with contrast of the one before (default: {DEFAULTS.reduction_factor})",
    )
    sizes = {s.name: s.population for s in SCHEDULERS.values() if s.population is not None}
    group.add_argument(
        "--population",
        type=_option("population", _whole),
        metavar="N",
        help=f"of {' or '.join(sizes)}: trials that are trained to the end; --trials counts those with the ones that "
        f"they replace (default: {', '.join(map(str, sizes.values()))})",
    )
    group.add_argument(
        "--warm-up",
        dest="share_trunk",
        action=argparse.BooleanOptionalAction,
        default=argparse.SUPPRESS,
        help="whether the iterations before the contrast, where they are the same, are trained once, kept in "
        "FOLDER/warmups and shared by all trials; with --no-warm-up every trial is trained from the start. A resumed "
        "sweep takes either (default: --warm-up)",
    )


def _add_resources(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--workers",
        type=_option("workers", _whole),
        metavar="N",
        help=f"processes per trial (default: {DEFAULT_WORKERS}, or 1 where there is no room for them, or they cannot "
        "share a batch evenly)",
    )
    group.add_argument(
        "--gpus-per-worker",
        type=_option("gpus_per_worker", _number),
        metavar="N",
        help="GPUs of each process, or a share of one such as 0.2, which puts five trials of one process on a GPU "
        "(default: 1 if the cluster has any, else 0)",
    )
    group.add_argument(
        "--cpus-per-worker",
        type=_option("cpus_per_worker", _whole),
        metavar="N",
        help="CPUs of each process (default: a GPU's share of the CPUs, at most 8; without GPUs 1)",
    )
    group.add_argument(
        "--concurrency",
        type=_option("concurrency", _whole),
        metavar="N",
        help="trials at the same time (default: as many as fit, by their workers and by the memory of the head)",
    )
    group.add_argument(
        "--max-failures",
        type=_option("max_failures", _whole),
        metavar="N",
        help="stop the sweep when N runs in a row have failed alike; it can be resumed once the cause is removed "
        f"(default: {DEFAULTS.max_failures})",
    )
    group.add_argument(
        "--address",
        metavar="HOST:PORT",
        help=f"Ray cluster to join, or auto (default: this machine alone). It is given again with --resume; {LOCAL} is "
        "this machine alone there, too",
    )


def _add_results(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--storage",
        metavar="FOLDER",
        help=f"results go to FOLDER/NAME; all nodes of a cluster must see it (default: {DEFAULTS.storage})",
    )
    group.add_argument("--name", metavar="NAME", help="name of the sweep (default: the preset and the time)")
    group.add_argument(
        "--keep",
        choices=list(KEPT),
        help=f"which checkpoints are left in the folders of trials. {_list(KEPT)} (default: {DEFAULTS.keep}). best/ "
        "has a copy in any case",
    )
    group.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="NAME",
        help="resume the sweep NAME, or the newest one: finished trials are kept, interrupted ones continue from "
        "their last checkpoint. Flags that are not given are those of the first time",
    )
    group.add_argument(
        "--retry-failed",
        action="store_true",
        help="with --resume: train the trials again that have failed, under their numbers and from their last "
        "checkpoints; a failed base is trained again in any case",
    )
    group.add_argument(
        "--accept-changed-data",
        action="store_true",
        help="with --resume or --warm-start: go on although the contents of the data are others than the trials there "
        "were trained on, which every report then says; other classes are refused all the same",
    )
    group.add_argument(
        "--confirm",
        type=_option("confirm", _whole),
        metavar="K",
        help="with --resume NAME and fresh --seeds: train the best K trials of NAME and the base anew with these "
        "seeds, in FOLDER/NAME/confirmation, and let the report of NAME claim no more than they show. The same command "
        "resumes it",
    )
    group.add_argument(
        "--log-to",
        choices=TRACKERS,
        help="stream parameters, metrics and status of every run to a tracking server, too. mlflow: MLflow at "
        "MLFLOW_TRACKING_URI; wandb: W&B, of `wandb login` or with WANDB_MODE=offline. A resumed sweep goes on with "
        f"the same runs there (default: {DEFAULTS.log_to})",
    )
    group.add_argument(
        "--json",
        action="store_true",
        help="at the end, one JSON document with rows, tables, best, pareto and places on standard output; progress "
        "goes to standard error, and is left out where that is no terminal",
    )


def _option(name: str, convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return what makes the value of an option out of its text, and refuses a value that does not keep its rule.

    Args:
        name: The name of its field in `SweepOptions`.
        convert: Makes the value; raises a ValueError where it cannot.
    """

    def from_text(text: str) -> Any:
        try:
            value = convert(text)
            check_value(name, value)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {rule_of(name)}, but got {text!r}") from None
        return value

    return from_text


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"not a whole number: {text!r}")
    return int(text)


def _wholes(text: str) -> tuple[int, ...]:
    return tuple(_whole(part) for part in _names(text))


def _number(text: str) -> float:
    return float(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def _tables(text: str) -> tuple[int, ...]:
    return ABLATIONS if text == "all" else tuple(sorted(set(_wholes(text))))


def _owners(option: str) -> str:
    """Return the schedulers that an option belongs to, by the name of its field."""
    return " or ".join(owners(option))


def _list(meanings: dict[str, str]) -> str:
    """Return names and what they mean as one sentence."""
    return "; ".join(f"{name}: {meaning}" for name, meaning in meanings.items())


def _span(numbers: Sequence[int]) -> str:
    return f"{numbers[0]} to {numbers[-1]}"
