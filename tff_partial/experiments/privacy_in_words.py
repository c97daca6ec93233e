# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run with differential privacy promises, in words for the report."""

from collections.abc import Mapping, Sequence
import math

from tff_partial.experiments import budget as budget_lib
from tff_partial.experiments import plan as plan_lib
from tff_partial.experiments.settings import config_privacy
from tff_partial.privacy import accounting
from tff_partial.reporting import formatting

_CLIP = 'aggregator/dp_query_metrics/clip'
_WEAK = 10  # Epsilons above it promise little.
_LARGE = 700


def rows(
    plan: plan_lib.Plan, rounds: Sequence[Mapping[str, float]]
) -> list[tuple[str, str]]:
  """A title and a sentence each; none without differential privacy.

  Args:
    plan: The run's plan.
    rounds: The run's metrics, one record per round.
  """
  budget, privacy = plan.budget, plan.config.privacy
  if budget is None:
    return []
  return [
      ('Privacy', promise(budget, privacy)),
      ('how', _mechanism(budget, privacy, rounds)),
      ('against', f'{budget.guarantee.against} ({accounting.name()})'),
      ('if', _assumption(budget, privacy)),
      (
          'personal',
          "each person's own model is not private towards that person's data;"
          ' everything that all others hold is (joint DP), with the same'
          ' epsilon',
      ),
      ('not covered', not_covered(plan)),
  ]


def not_covered(plan: plan_lib.Plan) -> str:
  """What the promise is not about.

  Args:
    plan: The plan of a private run.
  """
  poisson = plan.config.privacy.sampling == 'poisson'
  parts = [
      'this report (tests of every client, clients.csv, who took part),'
      ' learning curves and times of rounds (metrics.csv, tensorboard),'
      ' personal_store.sqlite, exports',
      'vocabularies',
      'choices made by looking at these data or at results on them: of rates'
      ' and bounds, of how many rounds to add, of the noise and rounds of a run'
      ' that starts from another',
      'rounding of floats',
      'generators that are not cryptographic: TensorFlow’s for the noise'
      f'{" and NumPy’s for the cohorts" if poisson else ""}',
  ]
  if poisson and plan.config.privacy.secure_aggregation:
    parts.append('the number of clients in a round, which the server is told')
  if plan.task.fingerprint is None:
    parts.append(
        'changes of the examples while the run was interrupted, as these data'
        ' have no fingerprint'
    )
  return '; '.join(parts)


def promise(budget: budget_lib.Budget, privacy: config_privacy.Privacy) -> str:
  """What is promised to each person, with what weakens it.

  Args:
    budget: The run's.
    privacy: Its settings.
  """
  bound = budget.guarantee.epsilon
  if math.isinf(bound):
    return 'none: without noise, epsilon is infinite'
  text = (
      f'epsilon {formatting.epsilon(bound)} at delta'
      f' {formatting.delta(budget.delta)} for each'
      ' person’s whole data, of the shared variables after every round'
  )
  if bound > _WEAK:
    factor = f'e^{math.ceil(bound)}'  # May be larger than any float.
    if bound < _LARGE:
      factor = f'{math.exp(bound):,.0f}'
    text += f'; weak: it bounds odds by a factor of {factor}'
  if budget.public_key:
    whose = 'this run' if privacy.dp_key == 'seed' else 'the run before it'
    text += (
        ', if it were run with a secret key; the randomness of'
        f' {whose} is public'
    )
  if budget.public_start:
    text += (
        ', if the model that it started from owes nothing to them, which is its'
        ' user’s word'
    )
  if budget.exact_metrics:
    text += '; metrics.csv holds exact sums over cohorts, which are not private'
  return text


def _mechanism(
    budget: budget_lib.Budget,
    privacy: config_privacy.Privacy,
    rounds: Sequence[Mapping[str, float]],
) -> str:
  if privacy.dp_clip is not None:
    clip = f'bound {privacy.dp_clip:g}'
  else:
    clips = [row[_CLIP] for row in rounds if _CLIP in row]
    last = f' -> {clips[-1]:.3g}' if clips else ''
    clip = f'adaptive bound ({privacy.dp_initial_clip:g}{last})'
  parts = ' and '.join(
      f'{part.rounds} with noise {part.noise_multiplier:.3g}'
      for part in [*budget.before, *budget.own]
  )
  where = 'the sum of the updates of each round'
  if privacy.dp_mechanism == 'tree':
    where = 'each node of a tree of sums over rounds (DP-FTRL)'
  return (
      f'Gaussian noise on {where}, as a multiple of the {clip}; rounds: {parts}'
  )


def _assumption(
    budget: budget_lib.Budget, privacy: config_privacy.Privacy
) -> str:
  if not budget.own:
    return 'one client is one person'
  part = budget.own[-1]
  clients = formatting.quantity(part.num_clients, 'client')
  if part.sampling == 'cyclic':
    groups = part.num_clients // part.clients_per_round
    return (
        f'each of {clients} is in one of every {groups} rounds; one client'
        ' is one person'
    )
  key = 'a secret key, now deleted' if privacy.has_secret else 'the seed'
  return (
      f'each of {clients} is in a round with probability'
      f' {part.clients_per_round / part.num_clients:.3g}, by {key}; one client'
      ' is one person, and how many there are is public'
  )
