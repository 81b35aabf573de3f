"""The arithmetic of the table: means, spreads between seeds, and Δm."""

import dataclasses
import math
import statistics
from collections.abc import Mapping

from scipy.special import stdtrit

from rc_keras.zoo.delta_m import delta_m

BASELINE = "single_task"
CONFIDENCE = 0.95  # with which two methods are told apart


@dataclasses.dataclass(frozen=True)
class Statistic:
    """A number of a method, once for each seed: `values` is `{seed: number}`."""

    values: dict[int, float]

    @property
    def is_finite(self) -> bool:
        return all(map(math.isfinite, self.values.values()))

    @property
    def mean(self) -> float:
        """NaN if a number is not finite."""
        return statistics.fmean(self.values.values()) if self.is_finite else math.nan

    @property
    def std(self) -> float | None:
        """The sample standard deviation over the seeds; `None` of a single one, or if a number is not finite."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 and self.is_finite else None


@dataclasses.dataclass(frozen=True)
class Pooled:
    """The spread that stands in for that of a method with one seed.

        s² = Σ_m (n_m − 1) s_m² / Σ_m (n_m − 1)

    over the methods m with n_m > 1 seeds.

    Attributes:
        std: s.
        freedom: the degrees of freedom, the denominator.
        methods: names of the methods m.
    """

    std: float
    freedom: int
    methods: tuple[str, ...]

    @classmethod
    def of(cls, statistics: Mapping[str, Statistic]) -> "Pooled | None":
        """Pools `{method: Statistic}`; `None` if none has several seeds."""
        several = {name: (len(s.values) - 1, s.std) for name, s in statistics.items() if s.std is not None}
        if not several:
            return None
        freedom = sum(n for n, _ in several.values())
        variance = sum(n * std**2 for n, std in several.values()) / freedom
        return cls(math.sqrt(variance), freedom, tuple(several))


@dataclasses.dataclass(frozen=True)
class Summary:
    """What the finished cells amount to.

    Attributes:
        tasks: `{task: {method: Statistic}}` of the tasks' metrics.
        delta_m: `{method: Statistic}` in percent, of the methods that have one.
        baseline: `{task: number}`, the mean over all seeds of the single-task runs; `None` without one.
        without_delta_m: `{method: why it has none}`.
    """

    tasks: dict[str, dict[str, Statistic]]
    delta_m: dict[str, Statistic]
    baseline: dict[str, float] | None
    without_delta_m: dict[str, str]

    def spread(self, statistics: Mapping[str, Statistic], method: str) -> tuple[float | None, bool]:
        """The spread of a method, `(number or None, whether it is that of other methods)`."""
        own = statistics[method].std
        if own is not None:
            return own, False
        pooled = Pooled.of(statistics) if statistics[method].is_finite else None
        return (None, False) if pooled is None else (pooled.std, True)

    @property
    def best(self) -> str | None:
        """The method with the lowest Δm, the baseline apart; `None` without one."""
        others = [name for name in self.delta_m if name != BASELINE]
        return min(others, key=lambda name: self.delta_m[name].mean, default=None)

    def within_spread(self, method: str, other: str) -> bool | None:
        """Whether two methods' Δm differ by no more than t √(s²/n + s'²/n'); `None` where no spread is known.

        s and s' are the methods' own spreads or the pooled one, whichever is larger, for two seeds may agree by chance;
        n and n' how many seeds they have; t is Student's, two-sided, at `CONFIDENCE` and the degrees of freedom of the
        pooled spread. Of equal methods about one pair in twenty differs by more, if all have the pooled spread.
        """
        pooled = Pooled.of(self.delta_m)
        if pooled is None:
            return None
        errors = [
            max(self.delta_m[m].std or 0.0, pooled.std) / math.sqrt(len(self.delta_m[m].values))
            for m in (method, other)
        ]
        quantile = float(stdtrit(pooled.freedom, (1 + CONFIDENCE) / 2))
        return abs(self.delta_m[method].mean - self.delta_m[other].mean) <= quantile * math.hypot(*errors)


def summarize(scores: Mapping[str, Mapping[int, Mapping[str, float]]], directions: Mapping[str, bool]) -> Summary:
    """Summarizes the finished cells.

    The baseline M_b of Δm is the mean over all seeds of the single-task runs, the same for every method and seed; Δm of
    a method is the mean over its seeds of

        Δm = 100/T Σ_t (−1)^{l_t} (M_b,t − M_m,t) / M_b,t

    Args:
        scores: `{method: {seed: {task: number}}}`.
        directions: `{task: whether lower is better}`.

    Returns:
        The `Summary`.
    """
    scores = {method: seeds for method, seeds in scores.items() if seeds}
    tasks = {
        task: {
            method: Statistic({seed: numbers[task] for seed, numbers in seeds.items()})
            for method, seeds in scores.items()
        }
        for task in directions
    }
    if BASELINE not in scores:
        return Summary(tasks, {}, None, dict.fromkeys(scores, f"no run of {BASELINE} is finished"))
    baseline = {task: methods[BASELINE].mean for task, methods in tasks.items()}
    try:
        delta_m(baseline, baseline, directions)
    except ValueError as error:  # a baseline of 0, or of no number
        return Summary(tasks, {}, baseline, dict.fromkeys(scores, str(error)))
    drops, without = {}, {}
    for method, seeds in scores.items():
        try:
            values = {seed: delta_m(numbers, baseline, directions) for seed, numbers in seeds.items()}
        except ValueError as error:  # a number that is not finite
            without[method] = str(error)
        else:
            drops[method] = Statistic(values)
    return Summary(tasks, drops, baseline, without)
