# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures how often 95% intervals contain the mean, by simulation.

python -m benchmarks.coverage
"""

from collections.abc import Callable, Mapping, Sequence

from absl import app
from absl import flags
import numpy as np
from scipy import stats

from tff_partial.evaluation import intervals

# Makes the interval of values and weights, both float [clients, seeds].
IntervalFn = Callable[[np.ndarray, np.ndarray], intervals.Interval]


def clients_alone(
    values: np.ndarray, weights: np.ndarray
) -> intervals.Interval:
  """The interval over clients of their means over seeds."""
  return intervals.over_clients(values.mean(axis=1), weights.mean(axis=1))


def linearization(
    values: np.ndarray, weights: np.ndarray
) -> intervals.Interval:
  """The usual interval of a ratio of sums over clients, for comparison.

  Its variance is n / (n - 1) sum_i w_i^2 (x_i - m)^2 / (sum_i w_i)^2, with
  n - 1 degrees of freedom (Cochran, Sampling Techniques, 1977, section 6.3).
  """
  x, w = values.mean(axis=1), weights.mean(axis=1)
  n, mean = len(x), np.average(x, weights=w)
  error = np.sqrt(n / (n - 1) * np.square(w * (x - mean)).sum()) / w.sum()
  half = stats.t.ppf(0.975, n - 1) * error
  return intervals.Interval(float(mean - half), float(mean + half))


def seeds_alone(values: np.ndarray, weights: np.ndarray) -> intervals.Interval:
  """Student's interval of the weighted means of the seeds."""
  means = np.average(values, axis=0, weights=weights)
  low, high = stats.t.interval(
      0.95, len(means) - 1, means.mean(), stats.sem(means)
  )
  return intervals.Interval(float(low), float(high))


OVER_CLIENTS: Mapping[str, IntervalFn] = {
    'linearization': linearization,
    'ours': clients_alone,
}
INTERVALS: Mapping[str, IntervalFn] = {
    'clients alone': clients_alone,
    'seeds alone': seeds_alone,
    'two-way': intervals.two_way,
}


def simulate(
    interval_fns: Mapping[str, IntervalFn],
    *,
    clients: int,
    seeds: int,
    seed_deviation: float,
    weight_deviation: float = 1.0,
    trials: int,
) -> dict[str, tuple[float, float]]:
  """The coverage and the mean half-width of intervals.

  The value of client i with seed s is c_i + e_s + x_is. These are normal with
  mean 0 and the standard deviations 1, `seed_deviation` and 1. Weights are
  lognormal, and the same under all seeds.

  Args:
    interval_fns: The intervals to measure.
    clients: The number of clients.
    seeds: The number of seeds.
    seed_deviation: The standard deviation of the seeds' effects.
    weight_deviation: The standard deviation of the weights' logarithms.
    trials: The number of simulations.

  Returns:
    By interval, the share of simulations in which it contains 0, and the mean
    of its half-width.
  """
  rng = np.random.default_rng(clients + 1000 * seeds)
  covered = dict.fromkeys(interval_fns, 0)
  width = dict.fromkeys(interval_fns, 0.0)
  for _ in range(trials):
    values = (
        rng.normal(size=(clients, 1))
        + seed_deviation * rng.normal(size=seeds)
        + rng.normal(size=(clients, seeds))
    )
    weights = np.exp(weight_deviation * rng.normal(size=(clients, 1)))
    weights = np.repeat(weights, seeds, axis=1)
    for name, interval_fn in interval_fns.items():
      low, high = interval_fn(values, weights)
      covered[name] += low <= 0 <= high
      width[name] += (high - low) / 2
  return {
      name: (covered[name] / trials, width[name] / trials)
      for name in interval_fns
  }


def _table(
    first: str,
    interval_fns: Mapping[str, IntervalFn],
    rows: Sequence[tuple[int, int, float, float]],
) -> None:
  """Prints the coverage and half-widths for each row's setting."""
  names = ' | '.join(interval_fns)
  print(f'| clients | seeds | {first} | {names} | half-widths |')
  print('| ---: | ---: | ---: |' + ' ---: |' * len(interval_fns) + ' --- |')
  for clients, seeds, seed_deviation, weight_deviation in rows:
    found = simulate(
        interval_fns,
        clients=clients,
        seeds=seeds,
        seed_deviation=seed_deviation,
        weight_deviation=weight_deviation,
        trials=FLAGS.trials,
    )
    deviation = seed_deviation if seeds > 1 else weight_deviation
    coverage = ' | '.join(f'{c:.3f}' for c, _ in found.values())
    widths = ' / '.join(f'{w:.2f}' for _, w in found.values())
    print(f'| {clients} | {seeds} | {deviation} | {coverage} | {widths} |')


def main(unused_argv):
  _table(
      'deviation of seeds',
      INTERVALS,
      [
          (320, 3, 0.0, 1.0),
          (320, 3, 0.05, 1.0),
          (320, 3, 0.1, 1.0),
          (320, 3, 0.2, 1.0),
          (45, 3, 0.2, 1.0),
          (836, 3, 0.2, 1.0),
          (320, 2, 0.1, 1.0),
          (320, 5, 0.1, 1.0),
      ],
  )
  print()
  _table(
      'deviation of log weights',
      OVER_CLIENTS,
      [
          (n, 1, 0.0, deviation)
          for n in (20, 45, 150)
          for deviation in (0, 1, 1.5)
      ],
  )


if __name__ == '__main__':
  flags.DEFINE_integer('trials', 3000, 'Simulations a row.', lower_bound=1)
  FLAGS = flags.FLAGS
  app.run(main)
