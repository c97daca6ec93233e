# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The training loop: sampling, rounds, metrics, checkpoints and resuming.

This is the loop around a `PartialProcess`. TFF's own loop
(`tff.learning.programs`) needs a `LearningProcess` and a context that refuses
client-placed results, but its release managers are used here.

A checkpoint is one transaction of the personal store, which holds the personal
variables and the server's state after the same round. All randomness is a
function of (seed, round, client id), so a run that was killed at any moment and
started again ends with the same bits as an uninterrupted run.
"""

import asyncio
import collections
from collections.abc import Callable, Iterable, Mapping, Sequence
import concurrent.futures
import dataclasses
import functools
import math
import time
from typing import Any, Optional, Protocol

from absl import logging
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
import tqdm

from tff_partial import errors
from tff_partial.learning import client_faults
from tff_partial.learning import process as process_lib
from tff_partial.runtime import sharding as sharding_lib
from tff_partial.training import parted_store
from tff_partial.training import sampler as sampler_lib
from tff_partial.training import sharded_round
from tff_partial.training import stores

# (number of rounds, state) -> values by name, which join the round's metrics.
EvaluationFn = Callable[[int, Any], Mapping[str, float]]

# Consecutive rounds without any finite update, after which training ends.
_MAX_ROUNDS_IN_VAIN = 3
_DIVERGENCE_ADVICE = (
    'Use a smaller `learning_rate` or `personal_learning_rate`, or bound'
    ' gradients by `clip_norm`.'
)


@dataclasses.dataclass(frozen=True)
class Settings:
  """How long to train, and how often to evaluate and to save.

  Attributes:
    total_rounds: Number of rounds after which training is finished.
    rounds_per_evaluation: Number of rounds between calls of the evaluation
      function, which is also called after the last round; 0 means never.
    seconds_per_checkpoint: Minimum time in seconds between two checkpoints; the
      last round always ends with one. 0 saves a checkpoint after every round.
  """

  total_rounds: int
  rounds_per_evaluation: int = 0
  seconds_per_checkpoint: float = 30.0

  def __post_init__(self):
    if self.total_rounds < 0:
      raise errors.SettingsError(
          'Expected `total_rounds` of at least 0, found'
          f' {self.total_rounds}. Use a number of rounds.'
      )

  def evaluates_after(self, num_rounds: int) -> bool:
    """Whether the evaluation function is called after this many rounds."""
    return bool(self.rounds_per_evaluation) and (
        num_rounds % self.rounds_per_evaluation == 0
        or num_rounds == self.total_rounds
    )


def train(
    process: process_lib.PartialProcess,
    sampler: sampler_lib.Sampler,
    store: stores.AnyStore,
    settings: Settings,
    *,
    initial_state: Any = None,
    past_metrics: Optional[Mapping[int, Mapping[str, float]]] = None,
    sharding: Optional[sharding_lib.Sharding] = None,
    release_managers: Iterable[tff.program.ReleaseManager] = (),
    evaluation_fn: Optional[EvaluationFn] = None,
    progress: bool = True,
) -> Any:
  """Trains from the store's last checkpoint, if any, until `total_rounds`.

  Args:
    process: Computes one round.
    sampler: The population, and the cohort of each round.
    store: Holds personal variables and checkpoints. If the algorithm is not
      stateful, a client starts every round from the store's default.
    settings: How long to train, and how often to evaluate and to save.
    initial_state: The server's state before round 1; by default
      `process.initialize()`.
    past_metrics: The metrics of rounds before the checkpoint, by the number of
      the round, as they were released: whether training was about to diverge.
    sharding: How a cohort is divided, and who computes the parts; by default a
      round is one computation in this thread's context.
    release_managers: Receive each round's metrics; the key is the number of the
      round, from 1.
    evaluation_fn: Adds to the metrics of the rounds that `settings` names.
    progress: Whether to show a progress bar.

  Returns:
    The server's state after the last round.

  Raises:
    errors.SettingsError: If the process cannot be divided into shards, or a
      shard is too large for a message.
    errors.StoreError: If a checkpoint cannot be read or written.
    errors.FileError: If metrics cannot be written.
    errors.WorkerError: If no worker is left.
    errors.DivergedError: If no client's work is finite for some rounds.
    errors.DataError: If the model cannot compute a client's examples.
  """
  rounds = Rounds(process, sampler, store, sharding or sharding_lib.Sharding())
  if initial_state is None:
    initial_state = process.initialize()
  version, state = store.restore(initial_state)
  initial_state = None  # It may be large, and is not needed after round 1.
  if version:
    store.verify()
  save = _Checkpoints(store, settings)
  watch = _Divergence()
  if past_metrics and version < settings.total_rounds:
    for n in range(max(1, version - _MAX_ROUNDS_IN_VAIN + 2), version + 1):
      watch.count(past_metrics.get(n, {}), len(sampler.cohort(n - 1)))
  release = _Releases(release_managers)
  bar = tqdm.tqdm(
      total=settings.total_rounds,
      initial=min(version, settings.total_rounds),
      desc=process.algorithm.name,
      unit='round',
      disable=not progress or version >= settings.total_rounds,
  )
  with bar, release:
    for round_num in range(version, settings.total_rounds):
      state, row, num_clients = rounds.run(round_num, state)
      num_rounds = round_num + 1
      watch.after_round(num_rounds, row, num_clients)
      if evaluation_fn and settings.evaluates_after(num_rounds):
        row.update(evaluation_fn(num_rounds, state))
      # A mean of nothing is left empty.
      release({k: v for k, v in row.items() if not math.isnan(v)}, num_rounds)
      save.if_due(num_rounds, state)
      bar.set_postfix(_postfix(row), refresh=False)
      bar.update()
  return state


class PersonalVariables(Protocol):
  """Keeps the clients' personal variables, as `PersonalStore` does."""

  @property
  def default(self) -> Any:
    """Those of a client that never took part."""

  def read(self, client_ids: Sequence[str]) -> list[Any]:
    """Returns those of some clients."""

  def write(
      self, client_ids: Sequence[str], values: Sequence[Any], *, version: int
  ) -> None:
    """Replaces those of some clients after this many rounds."""


@dataclasses.dataclass(frozen=True)
class Rounds:
  """Samples cohorts, reads what their clients need, computes, and writes.

  Attributes:
    process: Computes one round.
    sampler: The population, and the cohort of each round.
    store: Keeps personal variables.
    sharding: How a cohort is divided, and who computes the parts.
  """

  process: process_lib.PartialProcess
  sampler: sampler_lib.Sampler
  store: PersonalVariables
  sharding: sharding_lib.Sharding

  def run(
      self, round_num: int, state: Any
  ) -> tuple[Any, collections.OrderedDict[str, float], int]:
    """Computes a round.

    Args:
      round_num: Number of rounds before this one.
      state: The server's state before it.

    Returns:
      The server's state after it, its metrics, and the size of its cohort.
    """
    started_at = time.monotonic()
    cohort = self.sampler.cohort(round_num)
    try:
      state, metrics = self._compute(round_num, state, cohort)
    except errors.UserError:
      raise
    except Exception:
      self._find_fault(round_num, cohort)
      raise
    row = _flatten(metrics)
    row['seconds'] = time.monotonic() - started_at
    return state, row, len(cohort)

  def _compute(
      self, round_num: int, state: Any, cohort: Sequence[str]
  ) -> tuple[Any, Any]:
    version = round_num + 1
    write = functools.partial(self.store.write, version=version)
    if self.sharding.clients_per_shard is None:
      personal, examples = self._read(round_num, cohort)
      state, personal, metrics = self.process.next(state, personal, examples)
      write(cohort, personal)
      return state, metrics
    run_round = functools.partial(
        sharded_round.run_round,
        self.process,
        state,
        cohort,
        sharding=self.sharding,
    )
    if (
        cohort  # An empty one is of no part.
        and isinstance(self.store, parted_store.PartedStore)
        and self.store.is_elsewhere
        and self.sharding.engine.takes_elsewhere
        and self.process.algorithm.stateful
    ):
      store = self.store
      return run_round(
          read_fn=lambda ids: (
              store.refer(ids),
              self._examples(round_num, ids),
          ),
          write_fn=functools.partial(store.write_from, version=version),
          place_fn=store.place_of,
      )
    return run_round(
        read_fn=functools.partial(self._read, round_num), write_fn=write
    )

  def _find_fault(self, round_num: int, cohort: Sequence[str]) -> None:
    """Names the client whose examples made a round fail, if that was it."""
    client_faults.check(
        self.process.model_fn,
        self.process.client_examples,
        ((c, self.sampler.clients.read(c)) for c in cohort),
    )
    client_faults.find(
        self.process.model_fn,
        self.process.client_examples,
        ((c, self._read(round_num, [c])[1][0]) for c in cohort),
    )

  def _read(
      self, round_num: int, client_ids: Sequence[str]
  ) -> tuple[list[Any], list[Any]]:
    """Returns the clients' personal variables, and their examples."""
    if self.process.algorithm.stateful:
      personal = self.store.read(client_ids)
    else:
      personal = [self.store.default] * len(client_ids)
    return personal, self._examples(round_num, client_ids)

  def _examples(self, round_num: int, client_ids: Sequence[str]) -> list[Any]:
    return [
        self.process.client_examples.value(
            self.sampler.clients.read(client_id),
            self.sampler.shuffle_seed(round_num, client_id),
        )
        for client_id in client_ids
    ]


class _Checkpoints:
  """Commits to the store from time to time, and after the last round."""

  def __init__(self, store: stores.AnyStore, settings: Settings):
    self._store = store
    self._settings = settings
    self._saved_at = time.monotonic()

  def if_due(self, num_rounds: int, state: Any) -> None:
    """Commits if this was the last round or the last commit is old enough."""
    age = time.monotonic() - self._saved_at
    if (
        num_rounds == self._settings.total_rounds
        or age >= self._settings.seconds_per_checkpoint
    ):
      self._store.commit(num_rounds, state)
      self._saved_at = time.monotonic()


class _Divergence:
  """Warns about dropped updates, and stops training that has diverged."""

  def __init__(self):
    self._warned = False
    self._rounds_in_vain = 0

  def count(self, row: Mapping[str, float], num_clients: int) -> None:
    """Counts the consecutive rounds in vain."""
    lost = row.get('counts/non_finite', 0)
    in_vain = lost and lost + row.get('counts/empty', 0) >= num_clients
    self._rounds_in_vain = self._rounds_in_vain + 1 if in_vain else 0

  def after_round(
      self, num_rounds: int, row: Mapping[str, float], num_clients: int
  ) -> None:
    """Looks at the counts of a round, if its clients send any.

    Raises:
      errors.DivergedError: If no client's work was finite in some consecutive
        rounds.
    """
    lost = row.get('counts/non_finite', 0)
    if lost and not self._warned:
      logging.warning(
          'Round %d: the updates of %d of %d clients are not finite and are'
          ' left out. %s The report counts all rounds of this kind.',
          num_rounds,
          lost,
          num_clients,
          _DIVERGENCE_ADVICE.replace('`', ''),
      )
      self._warned = True
    self.count(row, num_clients)
    if self._rounds_in_vain == _MAX_ROUNDS_IN_VAIN:
      raise errors.DivergedError(
          'Expected finite updates, found none in rounds'
          f' {num_rounds - _MAX_ROUNDS_IN_VAIN + 1} to {num_rounds}: training'
          f' has diverged. {_DIVERGENCE_ADVICE}'
      )


def _flatten(metrics: Any) -> collections.OrderedDict[str, float]:
  """Returns scalars by name, such as `train/loss` and `counts/steps`."""
  flat = collections.OrderedDict()

  def visit(prefix, value):
    if hasattr(value, '_asdict'):
      value = value._asdict()
    if isinstance(value, Mapping):
      for name, part in value.items():
        visit(f'{prefix}/{name}' if prefix else name, part)
    elif np.ndim(value) == 0 and not isinstance(value, tuple):
      flat[prefix] = np.asarray(value).item()

  visit('', metrics)
  return flat


def _postfix(row: Mapping[str, float]) -> dict[str, str]:
  """Returns what the progress bar shows after a round."""
  shown = {}
  if not math.isnan(row.get('train/loss', math.nan)):
    shown['loss'] = f'{row["train/loss"]:.4f}'
  if 'counts/examples' in row:
    shown['examples/s'] = f'{row["counts/examples"] / row["seconds"]:,.0f}'
  for name in ('non_finite', 'empty'):
    if row.get(f'counts/{name}'):
      shown[name] = f'{row[f"counts/{name}"]:.0f}'
  return shown


class _Releases:
  """Calls asynchronous release managers from synchronous code.

  They run in a thread with its own event loop, because a notebook already runs
  one in the main thread.
  """

  def __init__(self, managers: Iterable[tff.program.ReleaseManager]):
    self._managers = list(managers)

  def __enter__(self):
    self._thread = concurrent.futures.ThreadPoolExecutor(max_workers=1)
    self._loop = self._thread.submit(asyncio.new_event_loop).result()
    return self

  def __call__(self, value: Any, key: int) -> None:
    for manager in self._managers:
      try:
        self._thread.submit(
            self._loop.run_until_complete, manager.release(value, key)
        ).result()
      # TensorFlow raises the first for a full disk. Of the second, TFF makes a
      # text about compressed files, whatever the cause.
      except (tf.errors.OpError, OSError) as e:
        cause = e.__cause__ or e
        raise errors.FileError(
            f"Cannot write round {key}'s metrics:"
            f' {getattr(cause, "message", cause)}. Check that the folder is'
            ' writable and not full.'
        ) from e

  def __exit__(self, *unused_exception):
    self._thread.submit(self._loop.close).result()
    self._thread.shutdown()
