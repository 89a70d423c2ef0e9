"""The configuration of a search.

A field with an `Option` is described by the option's help, which the command line shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    ValidationError,
    model_validator,
)

from nas.config.option import (
    Bytes,
    Macs,
    Option,
    OptionField,
    Params,
    Seconds,
    Share,
    fields_of,
    renamed,
)
from nas.config.parts import ConfigModel, ProxyConfig, TargetConfig
from nas.errors import ArchitectureError, ConfigError, brief, unknown
from nas.space.workload import MAX_CLASSES, Workload

TRAINING = "training"
"""Name of the evaluator that trains each candidate for a short while."""

RECORDED = "recorded:"
"""Beginning of the name of the evaluator that looks accuracies up in a file."""

MIN_RESOLUTION = 32
MAX_TARGETS = 8
MAX_RUNGS = 6
MAX_FINALISTS = 1000
MAX_TRIALS = 1_000_000
MAX_WORKERS = 1024


def checked_resolution(value: int | str) -> int | str:
    """Check a resolution; return it as pixels of a square, or as a text such as 512x683.

    Raises:
        ValueError: it is neither, or a side is below `MIN_RESOLUTION` or too large.
    """
    try:
        workload = Workload.of(value)
    except ArchitectureError as error:
        raise ValueError(str(error)) from None
    if min(workload.height, workload.width) < MIN_RESOLUTION:
        raise ValueError(f"a side must be at least {MIN_RESOLUTION} pixels")
    return workload.resolution


Resolution = Annotated[int | str, AfterValidator(checked_resolution)]
"""Image size: pixels of a square's side, or a text such as 512x683 (height x width)."""


class SearchConfig(ConfigModel):
    """Configuration of one search.

    Values may be given under the names of options (`structured`): ``time_limit`` in place of
    ``time_limit_s``, and, for a single target, ``target`` and ``budget`` in place of ``targets``.

    Attributes:
        targets: the devices to deploy to, each with its budget; a network must keep all budgets.
        max_size_bytes: largest size of a network's weights, with its BatchNorms folded, in the
            target's precision; with several targets, in the precision that takes most bytes.
        confidence: a network counts as within a budget if the upper end of its latency's interval
            of this confidence is within it.
        space: name or path of the search space, or ``package.module:NAME`` of one in Python.
        trials: largest number of candidates to train.
        sampler: ``latency-aware``, or one of Optuna's: see `nas.search.sampler.samplers.SAMPLERS`.
        rungs: number of rungs of a full training, see `nas.accuracy.fidelity`; only the best
            candidates of each rung are promoted. 1 trains every candidate in full.
        finalists: number of candidates, those of the best scores, that are trained once more,
            longer and with another seed, before one of them is recommended. If it is below 2, the
            candidate of the best score is recommended. Always 0 for accuracies that are `RECORDED`.
        time_limit_s: seconds after which no training begins, and one that hangs is ended; time for
            measuring does not count. Up to half of the limit is kept for the finalists. None for no
            limit.
        warm_start: folders of earlier runs, whose trained candidates this search begins with.
        proxy: recipe of the proxy training.
        size_bonus: accuracy (0..1) that a doubling of MACs is worth for each halving of the images
            below `nas.accuracy.size_bonus.LONG_IMAGES`. 0 ranks by accuracy alone; it is the
            default for evaluators other than `TRAINING`.
    """

    targets: tuple[TargetConfig, ...] = Field(min_length=1, max_length=MAX_TARGETS)
    resolution: Annotated[
        Resolution,
        Option("Input size in pixels: 224, or 512x683 (height x width).", "Target", metavar="SIZE"),
    ] = 224
    num_classes: Annotated[int, Option("Classes of the networks.", "Target")] = Field(
        default=1000, ge=2, le=MAX_CLASSES
    )
    max_params: Annotated[
        Params | None, Option("Highest number of parameters: 25M.", "Target", metavar="COUNT")
    ] = Field(default=None, gt=0)
    max_macs: Annotated[
        Macs | None,
        Option("Most multiply-accumulates for one image: 1.2G.", "Target", metavar="COUNT"),
    ] = Field(default=None, gt=0)
    max_size_bytes: Annotated[
        Bytes | None,
        Option(
            "Largest file of the weights, in the target's precision: 20MB.",
            "Target",
            "max-size",
            metavar="BYTES",
        ),
    ] = Field(default=None, gt=0)
    confidence: Annotated[
        Share,
        Option(
            "A latency's interval of this confidence must be within budget.",
            "Target",
            metavar="SHARE",
        ),
    ] = Field(default=0.9, ge=0.5, lt=1)
    interpolate: Annotated[
        bool,
        Option("Estimate blocks that were not measured from those that were.", "Target"),
    ] = False
    space: Annotated[
        str,
        Option(
            "Search space: a name (see spaces), a YAML file, or package.module:NAME.",
            "Search",
            metavar="SPACE",
        ),
    ] = "nextvit"
    trials: Annotated[int, Option("Candidates to train.", "Search")] = Field(
        default=24, ge=1, le=MAX_TRIALS
    )
    sampler: Annotated[
        str,
        Option(
            "latency-aware, or of Optuna: tpe, nsga2, nsga3, gp, random.", "Search", metavar="NAME"
        ),
    ] = "latency-aware"
    rungs: Annotated[
        int, Option(f"Train in so many parts, up to {MAX_RUNGS}; the best third go on.", "Search")
    ] = Field(default=1, ge=1, le=MAX_RUNGS)
    finalists: Annotated[
        int,
        Option(
            "Best candidates trained again, 4 times as long, to choose among; 0: none.", "Search"
        ),
    ] = Field(default=4, ge=0, le=MAX_FINALISTS)
    time_limit_s: Annotated[
        Seconds | None,
        Option(
            "Begin no training after this long: 90s, 20min, 2h.",
            "Search",
            "time-limit",
            metavar="TIME",
        ),
    ] = Field(default=None, gt=0)
    seed: Annotated[int, Option("Of sampling and training.", "Search")] = Field(
        default=0, ge=0, lt=2**32
    )
    warm_start: Annotated[
        tuple[str, ...],
        Option("Begin with what the run in this folder has trained.", "Search", folder=True),
    ] = ()
    evaluator: Annotated[
        str,
        Option(
            "What supplies accuracies: training, recorded:FILE.csv, or your own "
            "package.module:function.",
            "Training",
            metavar="NAME",
        ),
    ] = TRAINING
    proxy: ProxyConfig = ProxyConfig()
    size_bonus: Annotated[
        float,
        Option(
            "Compare by proxy accuracy; nothing added for size.", "Training", "by-accuracy", 0.0
        ),
    ] = Field(default=0.0062, ge=0, le=1)
    workers: Annotated[int, Option("Candidates trained at once.", "Training")] = Field(
        default=1, ge=1, le=MAX_WORKERS
    )

    @model_validator(mode="before")
    @classmethod
    def _named_as_options(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        found = structured(values)
        evaluator = found.get("evaluator", TRAINING)
        if evaluator != TRAINING:
            # Short training underrates large networks; other evaluators need no bonus.
            found = {"size_bonus": 0.0, **found}
        if isinstance(evaluator, str) and evaluator.startswith(RECORDED):
            found["finalists"] = 0  # there is nothing to train longer
        return found

    @property
    def workload(self) -> Workload:
        """Image size and number of classes of the network to deploy, at batch size 1.

        The batch size of each device is in its target.
        """
        return Workload.of(self.resolution, self.num_classes)

    def changed(self, updates: dict[str, Any]) -> SearchConfig:
        """Return a copy with some values changed, validated again.

        Raises:
            ConfigError: a value is not valid; names the option.
        """
        try:
            return SearchConfig.model_validate(self.model_dump() | updates)
        except ValidationError as error:
            raise option_error(error) from None


OPTIONS: tuple[OptionField, ...] = (
    # A budget is validated after the batch size, and shown before it.
    *sorted(fields_of(TargetConfig, "targets"), key=lambda e: e.key not in ("target", "budget")),
    *fields_of(ProxyConfig, "proxy"),
    *fields_of(SearchConfig),
)
"""Every option of the command line that sets a field of `SearchConfig`."""


def structured(values: Mapping[str, Any]) -> dict[str, Any]:
    """Bring values under the names of options into the structure of a `SearchConfig`.

    Names of options become names of fields, options of proxy training go into ``proxy``, and those
    of a single target into ``targets``.

    Raises:
        ValueError: a value is given under two names.
    """
    found = renamed(SearchConfig, dict(values))
    proxy = found.get("proxy", {})
    for entry in OPTIONS:
        if entry.option.constant is not None and found.get(entry.key) in (True, False):
            if found.pop(entry.key):
                if entry.field in found:
                    raise ValueError(f"give {entry.key} or {entry.field}, not both")
                found[entry.field] = entry.option.constant
        elif entry.group == "proxy" and entry.key in found and isinstance(proxy, dict):
            if entry.field in proxy:
                raise ValueError(f"give {entry.key} or proxy.{entry.field}, not both")
            proxy = proxy | {entry.field: found.pop(entry.key)}
            found["proxy"] = proxy
    names = {*TargetConfig.model_fields, "budget"}
    both = sorted(names & found.keys())
    if "targets" in found and both:
        raise ValueError(f"give {both[0]} or targets, not both")
    if not both:
        return found
    target = {name: found.pop(name) for name in names & found.keys()}
    return found | {"targets": [target]}


_GROUPS: dict[str, type[BaseModel]] = {"targets": TargetConfig, "proxy": ProxyConfig}


@dataclass(frozen=True)
class Mistake:
    """The first thing that is wrong with a configuration.

    Attributes:
        place: names and indices of the entries that lead to the mistake, from the outermost one.
        group: ``targets`` or ``proxy``; empty for a field of the search itself.
        name: name of the option, without ``--``; the field's name if it has no option.
        text: what is wrong, with the value.
    """

    place: tuple[str | int, ...]
    group: str
    name: str
    text: str


def mistake_of(error: ValidationError) -> Mistake:
    """Return the first mistake in a `ValidationError` of a `SearchConfig`."""
    first = error.errors()[0]
    place = first["loc"]
    names = [part for part in place if isinstance(part, str)]
    group = names[0] if len(names) > 1 and names[0] in _GROUPS else ""
    field = names[-1] if group else ".".join(str(part) for part in place)
    named = {(entry.group, entry.field): entry.name for entry in OPTIONS}
    named["targets", "throughput_img_s"] = "budget"
    name = named.get((group, field), field.replace("_", "-"))
    if first["type"] == "extra_forbidden":
        known = {entry.key for entry in OPTIONS if entry.group == group or not group}
        known |= set(_GROUPS.get(group, SearchConfig).model_fields)
        return Mistake(place, group, name, unknown("entry", str(field), known))
    said = first.get("ctx", {}).get("error")
    if first["type"] == "model_type":
        return Mistake(place, group, name, f"{brief(first['input'])} is no mapping of entries")
    if said is None:
        return Mistake(place, group, name, f"{brief(first['input'])}: {first['msg']}")
    whole = str(said).startswith(("'", "is ", "give "))  # it has the value, or needs none
    text = str(said) if whole else f"{brief(first['input'])}: {said}"
    return Mistake(place, group, name, text)


def option_error(error: ValidationError) -> ConfigError:
    """Make the error for the first mistake in a `SearchConfig`: one line that names the option."""
    mistake = mistake_of(error)
    return ConfigError(f"--{mistake.name} {mistake.text}" if mistake.name else mistake.text)
