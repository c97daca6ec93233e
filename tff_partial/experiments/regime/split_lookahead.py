# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The expected loss after one round, over the number of clients per round."""

from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow as tf

from tff_partial.evaluation import one_round
from tff_partial.experiments.regime import split_study
from tff_partial.experiments.settings import methods
from tff_partial.learning import clients as clients_lib
from tff_partial.training import rehearsal as rehearsal_lib

_CONTRASTS = 4  # Halves of the clients that are set against each other.
_SIZES = 24  # Numbers of clients per round that are looked at.


def lookahead(
    study: split_study.SplitStudy, point: split_study.Point
) -> dict[str, Any]:
  """The expected loss after one round, over the number of clients per round.

  The parts of `one_round.lookahead` come from rounds of all measured clients
  and of random halves of them, set against each other: half the difference of
  two halves' shared variables is a random combination of the clients' updates
  whose covariance is known. So nothing is computed but ordinary rounds.

  Args:
    study: The split.
    point: The state before the round.
  """
  population = len(study.training.client_ids)
  sizes = np.unique(
      np.geomspace(1, population, min(_SIZES, population)).round()
  ).astype(int)
  signs, halves = _halves(study)
  alternating, simultaneous = (
      _losses(study, name, point, halves)
      for name in (methods.ALTERNATING, methods.SIMULTANEOUS)
  )
  updates = len(study.measured)
  difference, low, high = one_round.lookahead_difference(
      alternating,
      simultaneous,
      signs=signs,
      updates=updates,
      clients_per_round=sizes,
      population=population,
  )
  level = one_round.lookahead(
      simultaneous.parts(updates=updates),
      clients_per_round=sizes,
      population=population,
  )
  return {
      'clients_per_round': sizes.tolist(),
      'difference': difference.tolist(),
      'relative': (difference / level).tolist(),
      'relative_low': (low / level).tolist(),
      'relative_high': (high / level).tolist(),
  }


def _halves(
    study: split_study.SplitStudy,
) -> tuple[np.ndarray, list[list[list[str]]]]:
  """Random halves of the measured clients, several times.

  Returns:
    The half that each client of the sample is in, 1 or -1, [contrasts,
    clients]; and the clients of both halves, for each contrast. A client that
    is evaluated, but not measured, is in a half too, though not in the second
    result.
  """
  seed = study.config.seed
  others = [c for c in study.sample if c not in set(study.measured)]
  split = lambda rng, clients: [
      [clients[j] for j in half]
      for half in np.array_split(rng.permutation(len(clients)), 2)
  ]
  rng = np.random.default_rng(clients_lib.stream(seed, 'halves'))
  halves = [split(rng, study.measured) for _ in range(_CONTRASTS)]
  rng = np.random.default_rng(clients_lib.stream(seed, 'other halves'))
  signs = []
  for first, _ in halves:
    ahead = {*first, *split(rng, others)[0]}
    signs.append([1 if c in ahead else -1 for c in study.sample])
  return np.array(signs), halves


def _losses(
    study: split_study.SplitStudy,
    name: str,
    point: split_study.Point,
    halves: Sequence[Sequence[Sequence[str]]],
) -> one_round.LookaheadLosses:
  """The losses of the sample after rounds of one algorithm."""
  whole, personal = _one_round(study, name, point, study.measured, 'all')
  losses = functools.partial(study.losses, examples=study.training)
  everyone, weights = losses(point, shared=whole)
  forward, backward = [], []
  for i, cohorts in enumerate(halves):
    ends = [_one_round(study, name, point, c, i)[0] for c in cohorts]
    move = lambda sign: tf.nest.map_structure(
        lambda w, a, b: (w + sign * (a - b) / 2).astype(w.dtype),
        whole,
        *ends,
    )
    forward.append(losses(point, shared=move(1))[0])
    backward.append(losses(point, shared=move(-1))[0])
  moved = split_study.Point(point.state, personal)
  return one_round.LookaheadLosses(
      everyone,
      losses(moved, shared=whole)[0],
      np.stack(forward),
      np.stack(backward),
      weights,
  )


def _one_round(
    study: split_study.SplitStudy,
    name: str,
    point: split_study.Point,
    cohort: Sequence[str],
    stream: Any,
) -> tuple[Any, rehearsal_lib.ScratchVariables]:
  """Shared and personal variables after a round of these clients."""
  personal = rehearsal_lib.ScratchVariables(
      study.start.personal, point.personal.read
  )
  done = rehearsal_lib.rehearse(
      study.plans[name].process,
      _Cohort(study.training, cohort, f'{study.config.seed} {stream}'),
      state=point.state,
      personal=personal,
      first_round=0,
      rounds=1,
      sharding=study.sharding,
  )
  return done.state.global_model_weights, done.personal


@dataclasses.dataclass(frozen=True)
class _Cohort:
  """A sampler with the same clients in every round."""

  clients: clients_lib.Clients
  client_ids: Sequence[str]
  stream: str

  def cohort(self, round_num: int) -> Sequence[str]:
    del round_num
    return self.client_ids

  def shuffle_seed(self, round_num: int, client_id: str) -> np.ndarray:
    return clients_lib.seed_for(self.stream, round_num, client_id)
