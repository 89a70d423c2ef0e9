"""Everything a run is configured by; ``config.json`` of a run is a `SearchConfig`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from nas.errors import ArchitectureError, ConfigError
from nas.precision import Precision
from nas.space.workload import MAX_BATCH, MAX_CLASSES, Workload

MIN_RESOLUTION = 32
MAX_TARGETS = 8
MAX_RUNGS = 6
MAX_FINALISTS = 1000


def checked_resolution(value: int | str) -> int | str:
    """Pixels of a square, or a text such as 512x683, each side at least `MIN_RESOLUTION`.

    Raises:
        ValueError: it is neither.
    """
    try:
        workload = Workload.of(value)
    except ArchitectureError as error:
        raise ValueError(str(error)) from None
    if min(workload.height, workload.width) < MIN_RESOLUTION:
        raise ValueError(f"a side must be at least {MIN_RESOLUTION} pixels")
    return workload.resolution


Resolution = Annotated[int | str, AfterValidator(checked_resolution)]
"""Pixels of a square, or a text such as 512x683: height x width."""


class ProxyConfig(BaseModel):
    """The proxy training that supplies a candidate's accuracy.

    Attributes:
        data: ``digits`` or ``imagefolder:PATH``.
        resolution: height and width of the proxy images in pixels.
        train_images: images seen in training (an image may be seen more than once).
        batch_size: images of one optimiser step.
        learning_rate: peak of the warm-up and cosine schedule.
        weight_decay: AdamW's, on matrices only.
        warmup: share of the steps in which the rate rises linearly.
        label_smoothing: of the cross entropy.
        ema_decay: of the weights' moving average, which is what is evaluated.
        shift: farthest random move of a training image, as a share of its width.
        jitter: strength of the random contrast and brightness of a training image.
        skip_unreadable: leave out images that cannot be read, with a warning.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    data: str = "digits"
    resolution: int = Field(default=32, ge=8, le=1024)
    train_images: int = Field(default=16_000, ge=1)
    batch_size: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=1.5e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    ema_decay: float = Field(default=0.95, ge=0, lt=1)
    shift: float = Field(default=0.06, ge=0, le=0.5)
    jitter: float = Field(default=0.0, ge=0, lt=1)
    skip_unreadable: bool = False


class TargetConfig(BaseModel):
    """A device to deploy to, and how fast a network must be there.

    Attributes:
        target: runtime to deploy to: a folder of ``latency_tables/``.
        budget_ms: highest latency of one call (one batch) in milliseconds.
        device, precision, batch_size: which table of the target; None takes the only or own one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    target: str
    budget_ms: float = Field(gt=0)
    device: str | None = None
    precision: Precision | None = None
    batch_size: int | None = Field(default=None, ge=1, le=MAX_BATCH)


class SearchConfig(BaseModel):
    """One search.

    The fields of a `TargetConfig` may be given in place of ``targets`` where there is one.

    Attributes:
        targets: the devices to deploy to, each with its budget; a network must keep all.
        space: name or path of the search space, or ``package.module:NAME`` of one in Python.
        resolution: of the network to deploy in pixels; a text such as 512x683 is height x width.
        num_classes: outputs of the network to deploy.
        max_params, max_macs: highest number of parameters, and of multiply-accumulates for one
            image; None for no limit.
        confidence: a network counts as within a budget if the upper end of its latency's interval
            of this confidence is.
        proxy: how candidates are trained.
        size_bonus: accuracy (0..1) that a doubling of MACs is worth for each halving of the images
            below `nas.accuracy.size_bonus.LONG_IMAGES`; 0 ranks by accuracy alone.
        trials: candidates to train, at most.
        time_limit_s: seconds after which no training begins, measuring not counted; None for no
            limit. Up to half of it is kept for the finalists.
        interpolate: estimate blocks that a table lacks instead of measuring them.
        seed: of the sampler and of the training.
        sampler: ``latency-aware``, or one of Optuna's: see `nas.search.sampler.samplers.SAMPLERS`.
        rungs: in how many parts a candidate is trained, each `nas.search.rungs.REDUCTION` times
            as long as the one before; only the best of each go on. 1 trains every one in full.
        workers: candidates trained at once, each in its own process.
        finalists: candidates of the best score that are trained once more, longer and with another
            seed, before one of them is recommended; with fewer than two that of the best score is.
        warm_start: folders of earlier runs to begin with what they have trained.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    targets: tuple[TargetConfig, ...] = Field(min_length=1, max_length=MAX_TARGETS)
    space: str = "nextvit"
    resolution: Resolution = 224
    num_classes: int = Field(default=1000, ge=2, le=MAX_CLASSES)
    max_params: float | None = Field(default=None, gt=0)
    max_macs: float | None = Field(default=None, gt=0)
    confidence: float = Field(default=0.9, ge=0.5, lt=1)
    proxy: ProxyConfig = ProxyConfig()
    size_bonus: float = Field(default=0.0062, ge=0, le=1)
    trials: int = Field(default=24, ge=1)
    time_limit_s: float | None = Field(default=None, gt=0)
    interpolate: bool = False
    seed: int = Field(default=0, ge=0, lt=2**32)
    sampler: str = "latency-aware"
    rungs: int = Field(default=1, ge=1, le=MAX_RUNGS)
    workers: int = Field(default=1, ge=1)
    finalists: int = Field(default=4, ge=0, le=MAX_FINALISTS)
    warm_start: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _one_target(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "targets" in values:
            return values
        fields = TargetConfig.model_fields
        rest = {name: value for name, value in values.items() if name not in fields}
        return rest | {"targets": [{n: v for n, v in values.items() if n in fields}]}

    @property
    def workload(self) -> Workload:
        """Size of the network to deploy; the batch is each target's own."""
        return Workload.of(self.resolution, self.num_classes)

    def on(self, index: int) -> SearchConfig:
        """The same search as if for one of its targets only."""
        return self.model_copy(update={"targets": (self.targets[index],)})

    def changed(self, updates: dict[str, Any]) -> SearchConfig:
        """The same search with other values.

        Raises:
            ConfigError: a value is out of its range; names the option.
        """
        try:
            return SearchConfig.model_validate(self.model_dump() | updates)
        except ValidationError as error:
            raise option_error(error) from None

    @property
    def target(self) -> str:
        """Of the first target, as the properties below."""
        return self.targets[0].target

    @property
    def budget_ms(self) -> float:
        return self.targets[0].budget_ms

    @property
    def device(self) -> str | None:
        return self.targets[0].device

    @property
    def precision(self) -> Precision | None:
        return self.targets[0].precision

    @property
    def batch_size(self) -> int | None:
        return self.targets[0].batch_size


_OPTION_OF = {"proxy.train_images": "proxy-images", "proxy.resolution": "proxy-resolution"}


def option_error(error: ValidationError) -> ConfigError:
    """The first complaint about a `SearchConfig` as one line that names the option."""
    first = error.errors()[0]
    parts = [str(part) for part in first["loc"]]
    name = ".".join(parts[2:] if parts[0] == "targets" and len(parts) > 2 else parts)
    name = _OPTION_OF.get(name, name.removesuffix("_ms").removesuffix("_s"))
    return ConfigError(f"--{name.replace('_', '-')} {first['input']!r}: {first['msg']}")
