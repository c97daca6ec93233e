# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the noise of a private run would promise if there were more people.

python -m benchmarks.more_people

Nothing is trained: this asks the accountant alone. The run is that of
results/privacy.md, with Poisson sampling. A table in Markdown has, for more and
more people,

  * epsilon with the noise that the mean of a round has in this run, as it is
    (noise multiplier times bound over cohort), if the cohort grows with the
    number of people, and if it stays;
  * the noise multiplier for this run's epsilon again, with a cohort that grows;
  * with that one, the number of shared parameters of which a round's noise has
    the norm of the bound: (cohort / noise multiplier)^2.

Delta is n^-1.1 for n people. Epsilons are rounded up.
"""

from collections.abc import Sequence
import dataclasses

from absl import app

from tff_partial.privacy import accounting
from tff_partial.reporting import formatting

_RUN = accounting.Mechanism(0.0, 'poisson', 836, 209, 40)
_EPSILON = 2.0
_PEOPLE = (3_400, 10_000, 34_000, 100_000, 340_000)


def table(
    run: accounting.Mechanism, epsilon: float, people: Sequence[int]
) -> list[str]:
  """The table, whose first row is the run itself.

  Args:
    run: The rounds of the run, of which the noise multiplier is not read.
    epsilon: What they guarantee.
    people: Numbers of people.
  """

  def calibrated(mechanism):
    delta = accounting.default_delta(mechanism.num_clients)
    noise = accounting.calibrate([mechanism], epsilon=epsilon, delta=delta)
    return dataclasses.replace(mechanism, noise_multiplier=noise)

  def promised(mechanism):
    delta = accounting.default_delta(mechanism.num_clients)
    found = accounting.guarantee([mechanism], delta)
    return formatting.epsilon(found.epsilon)

  run = calibrated(run)
  lines = [
      '| people | delta | cohort | epsilon | epsilon, cohort of'
      f' {run.clients_per_round} | noise multiplier for {epsilon:g} | shared'
      ' parameters |',
      '| ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
  ]
  for number in (run.num_clients, *people):
    cohort = round(run.clients_per_round * number / run.num_clients)
    grown = dataclasses.replace(
        run,
        num_clients=number,
        clients_per_round=cohort,
        noise_multiplier=run.noise_multiplier * cohort / run.clients_per_round,
    )
    stayed = dataclasses.replace(run, num_clients=number)
    noise = calibrated(grown).noise_multiplier
    delta = formatting.delta(accounting.default_delta(number))
    lines.append(
        f'| {number:,} | {delta} | {cohort:,} | {promised(grown)} |'
        f' {promised(stayed)} | {noise:.2f} | {int((cohort / noise) ** 2):,} |'
    )
  return lines


def main(argv: Sequence[str]) -> None:
  del argv
  print('\n'.join(table(_RUN, _EPSILON, _PEOPLE)))


if __name__ == '__main__':
  app.run(main)
