"""The one way from what a user gives to a config, for all commands: a preset or a file, and settings on top."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pgpc.config import Config, field_of, from_dict, override
from pgpc.models.config import STREETS
from pgpc.presets import OWN, find, preset, task_of
from pgpc.recipes.files import nested, read_config_file
from pgpc.recipes.lengths import ITERATIONS, in_words, scaled_lengths
from pgpc.runtime.checks import check
from pgpc.runtime.coercion import coerce

Changes = Mapping[str, Any]

_PLACES = ("data.source", "data.target")
DEFAULT_PRESET = "streets"
"""Preset of a user who names none."""


class Recipe(NamedTuple):
    """A config, and what to say about how it came about.

    Attributes:
        config: The config.
        notes: Sentences on values that nobody has set, but that follow from others.
    """

    config: Config
    notes: tuple[str, ...] = ()


def compose(preset: str | None, file: Path | str | None, settings: Changes) -> Recipe:
    """Return the config that a user asks for.

    Args:
        preset: Name of a preset; None for the file's, or without a file for `DEFAULT_PRESET`.
        file: A config file; None for none. See :mod:`pgpc.recipes.files`.
        settings: What is changed in it, by dotted key.

    Raises:
        ValueError: They do not go together, a key is unknown, or its field refuses the value.
        OSError: The file cannot be read, or shards of one's own data on S3.
    """
    if file is None:
        return from_preset(preset or DEFAULT_PRESET, settings)
    check(
        preset is None,
        "A preset and --config exclude each other, since the file says what it starts from",
        preset,
        'Leave it out, or write it into the file as "preset".',
    )
    return from_file(file, settings)


def from_preset(name: str, settings: Changes, *, said: Collection[str] | None = None) -> Recipe:
    """Return the config of a preset with changes.

    Lengths that are not set follow ``training.iterations``; see :func:`pgpc.recipes.lengths.scaled_lengths`.

    Args:
        name: Name of a preset, also of one for one's own data.
        settings: What is changed in it, by dotted key.
        said: The keys of which the user says something; None for those of `settings`.

    Raises:
        ValueError: There is no such preset, a key is unknown, or its field refuses the value; or a preset of the
            embedded pair is to train on other images and nothing says with which initial weights.
        OSError: Shards of one's own data on S3 cannot be read.
    """
    said = settings if said is None else said
    if name.partition("/")[0] != OWN:
        return _changed(Recipe(preset(name)), settings, said=said)
    from pgpc.recipes import own_data  # which loads torch

    config = own_data.own_config(name, settings)
    recipe = _changed(Recipe(config), settings, said=said)
    return Recipe(recipe.config, (own_data.in_words(recipe.config), *recipe.notes))


def from_file(path: Path | str, settings: Changes) -> Recipe:
    """Return the config in a file with changes.

    Args:
        path: The file, see :func:`pgpc.recipes.files.read_config_file`.
        settings: What is changed in it, by dotted key.

    Raises:
        ValueError: The file is not sound, a key is unknown, or its field refuses the value.
        OSError: It cannot be read.
    """
    file = read_config_file(path)
    said = {*file.values, *settings}
    try:
        if file.preset is None:
            recipe = Recipe(from_dict(nested(file.values)))
        else:
            places = {key: settings[key] for key in _PLACES if key in settings}
            recipe = from_preset(file.preset, {**file.values, **places}, said=said)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return _changed(recipe, settings, said=said)


def on_task_of(config: Config, *, base: str, pgpc: bool, settings: Changes) -> Config:
    """Return the config of a base on the task of another config.

    Args:
        config: The other config, made from a preset.
        base: Name of the base, of :data:`pgpc.presets.BASES`.
        pgpc: Whether the contrast is on.
        settings: What is changed in it, by dotted key.

    Raises:
        ValueError: The config came from no preset, there is no such base, or a setting does not fit.
    """
    task = task_of(config)
    if task != OWN:
        return _changed(Recipe(find(task=task, base=base, pgpc=pgpc)), settings, said=settings).config
    places = {"data.source": config.data.source, "data.target": config.data.target}
    return from_preset(f"{OWN}/{base}" + "+pgpc" * pgpc, {**places, **settings}).config


def own_preset(name: str, *, source: str, target: str, changes: Changes | None = None) -> Config:
    """Return the config of a preset for one's own data, which takes its numbers from the packed shards.

    Args:
        name: ``"custom/{base}"``, with ``"+pgpc"`` added for the contrast.
        source: Folder of the packed shards of the labeled pictures, or its address on S3.
        target: The same of the unlabeled ones.
        changes: What is changed in it, by dotted key, such as ``{"training.iterations": 4000}``; None for nothing.

    Raises:
        ValueError: There is no such preset, the shards cannot be opened or are not fit, or a value is refused.
        OSError: Shards on S3 cannot be read.
    """
    return from_preset(name, {**(changes or {}), "data.source": source, "data.target": target}).config


def _changed(recipe: Recipe, settings: Changes, *, said: Collection[str]) -> Recipe:
    """Return a recipe with changes, and what follows from them.

    Args:
        recipe: The recipe.
        settings: What is changed.
        said: The keys of which the user has said something.
    """
    before, notes = recipe.config, list(recipe.notes)
    iterations = _iterations(settings)
    lengths = {} if iterations in (None, before.training.iterations) else scaled_lengths(before, iterations, settings)
    config = override(before, {**lengths, **settings})
    if lengths:
        notes.append(in_words(before, lengths, config.training.iterations))
    check(
        config.model.pretrained not in (None, STREETS)
        or "model.pretrained" in said
        or config.data.source.startswith("streets:"),
        "model.pretrained must be said where the encoder learns from real images",
        config.model.pretrained,
        "Set it to imagenet, hf:owner/name or a file; or to none, which starts from random weights and takes far "
        "longer to learn.",
    )
    return Recipe(config, tuple(notes))


def _iterations(settings: Changes) -> int | None:
    """Return the number of iterations that is set; None for none, or for one that is refused later."""
    try:
        found = coerce(settings[ITERATIONS], field_of(ITERATIONS).kind, ITERATIONS)
    except (KeyError, ValueError):
        return None
    return int(found) if found >= 1 else None
