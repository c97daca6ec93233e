# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs probes at the clients and gathers what they measure."""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
from typing import Any, Optional

import numpy as np
import tensorflow_federated as tff

from tff_partial.evaluation import moments as moments_lib
from tff_partial.evaluation import probes
from tff_partial.learning import clients as clients_lib
from tff_partial.runtime import sharding as sharding_lib

_CLIENTS_AT_A_TIME = 50  # Unless the caller says.


@dataclasses.dataclass(frozen=True)
class Point:
  """Where clients measure.

  Attributes:
    shared: The server's shared variables.
    personal_fn: Maps client ids to their personal variables, a structure for
      each client.
    examples: The clients' training examples.
    seed: Determines the order of each client's examples.
  """

  shared: tff.learning.models.ModelWeights
  personal_fn: Callable[[Sequence[str]], Sequence[Any]]
  examples: clients_lib.Clients
  seed: int = 0


def measure(
    gradient_probe: probes.Probe,
    secant_probe: probes.Probe,
    point: Point,
    client_ids: Sequence[str],
    *,
    shared_step: float,
    personal_steps: Sequence[float],
    weighted: bool = True,
    sharding: Optional[sharding_lib.Sharding] = None,
) -> moments_lib.ClientMoments:
  """Runs both probes at a point.

  Args:
    gradient_probe: Made by `build_gradient_probe`.
    secant_probe: Made by `build_secant_probe`.
    point: Where to measure.
    client_ids: The clients that measure.
    shared_step: Learning rate times the number of a round's gradient steps, for
      shared variables.
    personal_steps: The same for personal variables, for each client.
    weighted: Whether clients are weighted by their examples.
    sharding: How many clients are in memory at a time, 50 by default, and where
      they are computed.
  """
  shards = _Shards(point, client_ids, sharding or sharding_lib.Sharding())
  columns, gradient = _gradients(gradient_probe, shards)
  secants = []
  for rows in shards.run(
      secant_probe,
      lambda positions, personal, examples: (
          point.shared,
          gradient,
          np.float32(shared_step),
          personal,
          [np.float32(personal_steps[i]) for i in positions],
          examples,
      ),
  ):
    secants.extend(rows)
  columns.update(_columns(secants))
  counts = columns['num_examples']
  columns['weights'] = counts if weighted else np.ones_like(counts)
  for name in ('num_examples', 'num_batches'):
    columns[name] = columns[name].astype(int)
  return moments_lib.ClientMoments(**columns)


def gradient_moments(
    gradient_probe: probes.Probe,
    point: Point,
    client_ids: Sequence[str],
    *,
    sharding: Optional[sharding_lib.Sharding] = None,
) -> dict[str, np.ndarray]:
  """What the gradient probe measures, by names of `moments_lib.ClientMoments`.

  Args:
    gradient_probe: Made by `build_gradient_probe`.
    point: Where to measure.
    client_ids: The clients that measure.
    sharding: As in `measure`.
  """
  shards = _Shards(point, client_ids, sharding or sharding_lib.Sharding())
  return _gradients(gradient_probe, shards)[0]


def _gradients(
    gradient_probe: probes.Probe, shards: '_Shards'
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
  """The clients' moments by name, and the mean gradient."""
  moments, means = [], []
  for rows, mean, weight in shards.run(
      gradient_probe,
      lambda positions, *inputs: (shards.point.shared, *inputs),
  ):
    moments.extend(rows)
    means.append((mean, float(weight)))
  return _columns(moments), _weighted_mean(means)


def _columns(rows: Sequence[Any]) -> dict[str, np.ndarray]:
  return {
      name: np.array([float(row[name]) for row in rows]) for name in rows[0]
  }


def clipped_share(
    clipping_probe: probes.Probe,
    point: Point,
    client_ids: Sequence[str],
    *,
    sharding: Optional[sharding_lib.Sharding] = None,
) -> float:
  """The share of an epoch's steps that clipping would shorten, from 0 to 1.

  Args:
    clipping_probe: Made by `build_clipping_probe`.
    point: Where to measure.
    client_ids: The clients that measure.
    sharding: As in `measure`.
  """
  shards = _Shards(point, client_ids, sharding or sharding_lib.Sharding())
  rows = [
      row
      for part in shards.run(
          clipping_probe, lambda positions, *inputs: (point.shared, *inputs)
      )
      for row in part
  ]
  total = lambda name: sum(float(row[name]) for row in rows)
  return total('clipped') / total('steps')


def curvature(
    curvature_probe: probes.Probe,
    point: Point,
    client_ids: Sequence[str],
    directions: Sequence[Sequence[np.ndarray]],
    *,
    sharding: Optional[sharding_lib.Sharding] = None,
) -> tuple[list[float], list[float]]:
  """|H z|^2 and z'H z of the mean personal Hessian H, for each direction z.

  Args:
    curvature_probe: Made by `build_curvature_probe`.
    point: Where to measure.
    client_ids: The clients that measure.
    directions: Each shaped like the personal trainable variables.
    sharding: As in `measure`.
  """
  shards = _Shards(point, client_ids, sharding or sharding_lib.Sharding())
  squares, products = [], []
  for z in directions:
    means = [
        (mean, float(weight))
        for mean, weight in shards.run(
            curvature_probe,
            lambda positions, *inputs, z=z: (point.shared, list(z), *inputs),
        )
    ]
    found = _weighted_mean(means)
    squares.append(sum(float(np.sum(np.square(h))) for h in found))
    products.append(sum(float(np.sum(h * d)) for h, d in zip(found, z)))
  return squares, products


def common_mean(
    mean_probe: probes.Probe,
    point: Point,
    *,
    sharding: Optional[sharding_lib.Sharding] = None,
) -> np.ndarray:
  """The mean of all clients' representations, float32 [features].

  Args:
    mean_probe: Made by `mean_probe.build`.
    point: Where to measure, with the clients that take part.
    sharding: As in `measure`.
  """
  # A client without examples has nothing to say, and a mean of nobody is NaN.
  client_ids = [
      c for c in point.examples.client_ids if point.examples.num_examples(c)
  ]
  shards = _Shards(point, client_ids, sharding or sharding_lib.Sharding())
  means = [
      ([mean], float(weight))
      for mean, weight in shards.run(
          mean_probe, lambda positions, *inputs: (point.shared, *inputs)
      )
  ]
  return _weighted_mean(means)[0]


@dataclasses.dataclass(frozen=True)
class _Shards:
  """Runs probes for some clients at a time."""

  point: Point
  client_ids: Sequence[str]
  sharding: sharding_lib.Sharding

  def run(
      self, probe: probes.Probe, arguments_fn: Callable[..., Sequence[Any]]
  ) -> Iterator[Any]:
    """Yields the results of one shard after another.

    Args:
      probe: What to run.
      arguments_fn: Maps the positions of a shard's clients, their personal
        variables and their examples to the computation's arguments.
    """
    size = self.sharding.clients_per_shard or _CLIENTS_AT_A_TIME
    num = len(self.client_ids)
    shards = [range(i, min(i + size, num)) for i in range(0, num, size)]

    step = sharding_lib.Step(probe.computation)

    def task(number):
      chosen = [self.client_ids[i] for i in shards[number]]
      examples = [
          probe.client_examples.value(
              self.point.examples.read(c),
              clients_lib.seed_for(self.point.seed, 'probe', c),
          )
          for c in chosen
      ]
      personal = list(self.point.personal_fn(chosen))
      return step, arguments_fn(shards[number], personal, examples)

    return self.sharding.engine.compute(len(shards), task)


def _weighted_mean(means: Sequence[tuple[Any, float]]) -> list[np.ndarray]:
  """The mean over shards, from each one's mean and weight."""
  total = sum(weight for _, weight in means)
  return [
      np.asarray(
          sum(np.asarray(mean[i], float) * weight for mean, weight in means)
          / total,
          np.asarray(means[0][0][i]).dtype,
      )
      for i in range(len(means[0][0]))
  ]
