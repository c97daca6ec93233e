# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The seconds of a round as `training.train` reports them.

They include sampling, reading examples, and reading and writing the store, but
not commits, which are made every 30 s and not every round.
"""

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import tensorflow_federated as tff

from benchmarks import workload as workload_lib
from tff_partial.runtime import sharding as sharding_lib
from tff_partial.training import personal_store
from tff_partial.training import training


class LibraryRound:
  """Rounds of this library, one after another.

  Attributes:
    state: The server's state after the last round.
  """

  def __init__(
      self,
      workload: workload_lib.Workload,
      algorithm: str,
      *,
      sharding: Optional[sharding_lib.Sharding] = None,
      initial: Optional[Sequence[Sequence[np.ndarray]]] = None,
  ):
    """Builds the round and a store in memory.

    Args:
      workload: What is trained.
      algorithm: Passed to `Workload.create_process`.
      sharding: How a cohort is divided; by default it is not.
      initial: Values that the shared and the personal variables start from; by
        default seeded.
    """
    self._workload = workload
    self._sharding = sharding
    self._process = workload.create_process(algorithm)
    self.state = self._process.initialize()
    personal = self._process.initialize_personal()
    if initial is not None:
      shared, personal = (
          tff.learning.models.ModelWeights(list(values), [])
          for values in initial
      )
      self.state = self._process.start_from(self.state, shared, personal)
    self._store = personal_store.PersonalStore(personal)

  def __call__(self, round_num: int) -> float:
    last = _Last()
    self.state = training.train(
        self._process,
        self._workload.sampler,
        self._store,
        training.Settings(total_rounds=round_num + 1),
        initial_state=self.state,
        sharding=self._sharding,
        release_managers=[last],
        progress=False,
    )
    return last.row['seconds']


class _Last(tff.program.ReleaseManager):
  """Keeps the metrics of the last round."""

  async def release(self, value: Any, key: Any):
    del key
    self.row = value
