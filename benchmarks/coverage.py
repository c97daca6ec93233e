# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures how often 95% intervals contain the mean, by simulation.

python -m benchmarks.coverage
"""

from collections.abc import Callable, Mapping

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


def seeds_alone(values: np.ndarray, weights: np.ndarray) -> intervals.Interval:
  """Student's interval of the weighted means of the seeds."""
  means = np.average(values, axis=0, weights=weights)
  low, high = stats.t.interval(
      0.95, len(means) - 1, means.mean(), stats.sem(means)
  )
  return intervals.Interval(float(low), float(high))


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


def main(unused_argv):
  names = ' | '.join(INTERVALS)
  print(f'| clients | seeds | deviation of seeds | {names} | half-widths |')
  print('| ---: | ---: | ---: |' + ' ---: |' * len(INTERVALS) + ' ---: |')
  for clients, seeds, deviation in (
      (320, 3, 0.0),
      (320, 3, 0.05),
      (320, 3, 0.1),
      (320, 3, 0.2),
      (45, 3, 0.2),
      (836, 3, 0.2),
      (320, 2, 0.1),
      (320, 5, 0.1),
  ):
    found = simulate(
        INTERVALS,
        clients=clients,
        seeds=seeds,
        seed_deviation=deviation,
        trials=FLAGS.trials,
    )
    coverage = ' | '.join(f'{c:.3f}' for c, _ in found.values())
    widths = ' / '.join(f'{w:.2f}' for _, w in found.values())
    print(f'| {clients} | {seeds} | {deviation} | {coverage} | {widths} |')


if __name__ == '__main__':
  flags.DEFINE_integer('trials', 3000, 'Simulations a row.', lower_bound=1)
  FLAGS = flags.FLAGS
  app.run(main)
