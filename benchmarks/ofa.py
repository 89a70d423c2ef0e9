"""The Once-for-All MobileNetV3 space with what others measured of it: accuracy, MACs, latency.

Kernel size 3, 5 or 7 and expansion 3, 4 or 6 at 20 positions, depth 2, 3 or 4 in five stages
(Cai et al., arXiv 1908.09791). A position beyond its stage's depth does not exist.

The files hold some thousand subnets. `fit_accuracy` and `fit_cost` answer for all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import kendalltau
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold

from nas.errors import ConfigError, DataError, unknown
from nas.latency.predict.additive import fit_additive
from nas.space.parameter_space import ParameterSpace, Pick

STAGES, STAGE_POSITIONS = 5, 4
POSITIONS = STAGES * STAGE_POSITIONS
KERNELS, EXPANSIONS, DEPTHS = (3, 5, 7), (3, 4, 6), (2, 3, 4)
RESOLUTION = 224

ACCURACY_NOISE = 0.02
"""Standard deviation, in points, of the accuracies of subnets that were evaluated twice."""

_COLUMNS = [
    *(f"ks{position}" for position in range(POSITIONS)),
    *(f"e{position}" for position in range(POSITIONS)),
    *(f"d{stage}" for stage in range(STAGES)),
]


@dataclass(frozen=True)
class Subnet:
    """A network of the space; kernel and expansion of a position that does not exist are 0."""

    depths: tuple[int, ...]
    kernels: tuple[int, ...]
    expansions: tuple[int, ...]


class OfaSpace(ParameterSpace[Subnet]):
    """Asks only for what exists, or for all positions.

    Args:
        static: ask for every position of every network: for samplers that cannot take
            parameters that depend on others.
    """

    def __init__(self, static: bool = False) -> None:
        self.static = static

    def build(self, pick: Pick) -> Subnet:
        depths = tuple(int(pick(f"s{stage}.depth", DEPTHS)) for stage in range(STAGES))
        kernels, expansions = [0] * POSITIONS, [0] * POSITIONS
        for position in range(POSITIONS):
            stage, place = divmod(position, STAGE_POSITIONS)
            exists = place < depths[stage]
            if exists or self.static:
                kernel = int(pick(f"p{position}.kernel", KERNELS))
                expansion = int(pick(f"p{position}.expansion", EXPANSIONS))
                kernels[position] = kernel * exists
                expansions[position] = expansion * exists
        return Subnet(depths, tuple(kernels), tuple(expansions))


@dataclass(frozen=True)
class CostModel:
    """Cost of a subnet: a constant and a number for every operator at every position.

    Attributes:
        unit: of the cost.
        mean_error: relative, on networks left out of the fit.
        limit: cost up to which networks count.
    """

    constant: float
    coefficients: np.ndarray
    unit: str
    mean_error: float
    limit: float

    def predict(self, subnets: Sequence[Subnet]) -> np.ndarray:
        """[n]"""
        return _operators(subnets) @ self.coefficients + self.constant


@dataclass(frozen=True)
class AccuracyModel:
    """Top-1 in percent: the mean of ridge regression and boosted trees, both fitted to real ones.

    Attributes:
        tau, mean_error: Kendall's tau, and mean error in points, on subnets left out of the fit.
        evaluations: real ones it was fitted to.
    """

    ridge: Ridge
    trees: HistGradientBoostingRegressor
    macs: CostModel
    tau: float
    mean_error: float
    evaluations: int

    def predict(self, subnets: Sequence[Subnet]) -> np.ndarray:
        """[n]"""
        linear, values = self._features(subnets)
        return (self.ridge.predict(linear) + self.trees.predict(values)) / 2

    def _features(self, subnets: Sequence[Subnet]) -> tuple[np.ndarray, np.ndarray]:
        return _accuracy_features(subnets, self.macs.predict(subnets))


def read_evaluations(path: Path) -> tuple[list[Subnet], np.ndarray, np.ndarray]:
    """Subnets, their ImageNet top-1 in percent, and their MACs in millions."""
    frame = _read(path, [*_COLUMNS, "top1", "macs"])
    return _subnets(frame), frame["top1"].to_numpy(float), frame["macs"].to_numpy(float) / 1e6


def fit_accuracy(subnets: Sequence[Subnet], top1: np.ndarray, macs: CostModel) -> AccuracyModel:
    """Fit to real evaluations; a subnet that was evaluated twice is left out as one."""
    linear, values = _accuracy_features(subnets, macs.predict(subnets))
    numbers = {subnet: number for number, subnet in enumerate(dict.fromkeys(subnets))}
    groups = [numbers[subnet] for subnet in subnets]
    left_out = np.empty(len(top1))
    for train, test in GroupKFold(5, shuffle=True, random_state=0).split(values, groups=groups):
        ridge, trees = _fit_both(linear[train], values[train], top1[train])
        left_out[test] = (ridge.predict(linear[test]) + trees.predict(values[test])) / 2
    ridge, trees = _fit_both(linear, values, top1)
    tau = float(kendalltau(left_out, top1).statistic)
    error = float(np.abs(left_out - top1).mean())
    return AccuracyModel(ridge, trees, macs, tau, error, len(top1))


def fit_macs(subnets: Sequence[Subnet], macs: np.ndarray) -> CostModel:
    """Exact: MACs add up over operators."""
    features = np.column_stack([_operators(subnets), np.ones(len(macs))])
    solved = np.linalg.lstsq(features, macs, rcond=None)[0]
    error = float(np.abs(features @ solved / macs - 1).max())
    return CostModel(float(solved[-1]), solved[:-1], "M MACs", error, 700.0)


def fit_latency(archs: Path, latency: Path, device: str) -> CostModel:
    """Fit to the latencies one device measured, at several resolutions; it predicts for 224.

    Raises:
        DataError: a file is not what was expected.
        ConfigError: no such device; lists those there are.
    """
    networks = _read(archs, [*_COLUMNS, "r", "arch"]).set_index("arch")
    measured = _read(latency, ["arch"]).set_index("arch")
    if device not in measured:
        raise ConfigError(f"{latency}: {unknown('--device', device, map(str, measured.columns))}")
    both = networks.join(measured[device], how="inner")
    latency_ms = both[device].to_numpy(float)
    operators = _operators(_subnets(both))
    pixels = (both["r"].to_numpy(float) / RESOLUTION)[:, None] ** 2
    features = np.hstack([operators, operators * pixels, pixels])
    order = np.random.default_rng(0).permutation(len(latency_ms))
    errors = []
    for part in np.array_split(order, 5):
        rest = np.setdiff1d(order, part)
        model = fit_additive(features[rest], latency_ms[rest], prior=0.0, ridge=1e-3)
        errors.append(np.abs(model.predict(features[part]) / latency_ms[part] - 1))
    model = fit_additive(features, latency_ms, prior=0.0, ridge=1e-3)
    alone, per_pixel = model.coefficients[:-1].reshape(2, -1)
    constant = model.constant_ms + float(model.coefficients[-1])
    error = float(np.concatenate(errors).mean())
    cost = CostModel(constant, alone + per_pixel, "ms", error, 0.0)
    slowest = Subnet((4,) * STAGES, (7,) * POSITIONS, (6,) * POSITIONS)
    return CostModel(constant, alone + per_pixel, "ms", error, float(cost.predict([slowest])[0]))


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: not readable as CSV: {' '.join(str(error).split())}") from None
    missing = [name for name in columns if name not in frame]
    if missing:
        raise DataError(f"{path}: lacks the columns {', '.join(missing)}")
    return frame


def _subnets(frame: pd.DataFrame) -> list[Subnet]:
    """Rows as subnets; what does not exist is forgotten."""
    values = frame[_COLUMNS].to_numpy(int)
    subnets = []
    for row in values:
        depths = tuple(int(depth) for depth in row[-STAGES:])
        exists = [place < depth for depth in depths for place in range(STAGE_POSITIONS)]
        kernels = tuple(int(v) * e for v, e in zip(row, exists, strict=False))
        expansions = tuple(int(v) * e for v, e in zip(row[POSITIONS:], exists, strict=False))
        subnets.append(Subnet(depths, kernels, expansions))
    return subnets


def _operators(subnets: Sequence[Subnet]) -> np.ndarray:
    """One-hot pairs of kernel and expansion at each position: [n, 180]."""
    kernels = np.array([subnet.kernels for subnet in subnets])
    expansions = np.array([subnet.expansions for subnet in subnets])
    columns = [
        (kernels == kernel) & (expansions == expansion)
        for kernel in KERNELS
        for expansion in EXPANSIONS
    ]
    return np.concatenate(columns, axis=1).astype(float)


def _accuracy_features(
    subnets: Sequence[Subnet], macs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of ridge regression and of trees: [n, ...] each."""
    kernels = np.array([subnet.kernels for subnet in subnets], dtype=float)
    expansions = np.array([subnet.expansions for subnet in subnets], dtype=float)
    depths = np.array([subnet.depths for subnet in subnets], dtype=float)
    single = [kernels == kernel for kernel in KERNELS]
    single += [expansions == expansion for expansion in EXPANSIONS]
    single += [depths == depth for depth in DEPTHS]
    scale = (macs / 100)[:, None]
    linear = np.hstack([_operators(subnets), *single, scale, scale**2, np.log(scale)])
    return linear, np.hstack([kernels, expansions, depths, scale, depths.sum(axis=1)[:, None]])


def _fit_both(
    linear: np.ndarray, values: np.ndarray, top1: np.ndarray
) -> tuple[Ridge, HistGradientBoostingRegressor]:
    trees = HistGradientBoostingRegressor(
        learning_rate=0.03, max_leaf_nodes=6, max_iter=1500, l2_regularization=1.0, random_state=0
    )
    return Ridge(1.0).fit(linear, top1), trees.fit(values, top1)
