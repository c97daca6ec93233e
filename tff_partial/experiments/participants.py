# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who trains, who is evaluated, and on which examples.

All of it follows from the settings and the seed, each by a stream of random
numbers of its own, so that runs of one seed have the same clients.
"""

from collections.abc import Sequence
import dataclasses
import functools
from typing import Any, Optional

from tff_partial import errors
from tff_partial.experiments import task as task_lib
from tff_partial.experiments.settings import config as config_lib
from tff_partial.learning import attacks
from tff_partial.learning import clients as clients_lib
from tff_partial.learning import hold_out
from tff_partial.privacy import secret_key
from tff_partial.training import sampler as sampler_lib

_CURVE_CLIENTS = 100  # Evaluated while training, for the learning curves.


@dataclasses.dataclass(frozen=True)
class Participants:
  """The clients of a run.

  Attributes:
    train_clients: All clients with the examples that may train a model.
    held_out: The same clients with the examples that are kept back for
      validation or the gate, if any are.
    test: The examples that models are evaluated on at the end.
    unseen: The clients that are kept out of training.
    evaluated: The clients that are evaluated at the end.
    curve_clients: Those that are evaluated while training.
  """

  train_clients: clients_lib.Clients
  held_out: Optional[clients_lib.Clients]
  test: clients_lib.Clients
  unseen: frozenset[str]
  evaluated: Sequence[str]
  curve_clients: Sequence[str]

  @property
  def in_training(self) -> clients_lib.Clients:
    """The clients that cohorts are drawn from."""
    return clients_lib.ExcludingClients(self.train_clients, self.unseen)


def choose(
    task: task_lib.Task, config: config_lib.Config, *, on_validation: bool
) -> Participants:
  """Chooses the clients of a run.

  Args:
    task: What is learned, and from whom.
    config: How.
    on_validation: As in `plan.build`.

  Raises:
    errors.SettingsError: If there are fewer clients than a setting asks for, if
      all of them are malicious, or if nothing is held out to evaluate on.
  """
  unseen = _unseen(task, config)
  train_clients, held_out = _divide(task, config)
  train_clients, attackers = _attacked(train_clients, config, unseen)
  test = task.test
  everyone: Sequence[str] = test.client_ids
  curve_ids = everyone
  if config.evaluation.validation:
    curve_ids = clients_lib.ExcludingClients(train_clients, unseen).client_ids
  if on_validation:
    if held_out is None or not config.evaluation.validation:
      raise errors.SettingsError(
          'Expected `validation` above 0 to evaluate on, found 0.'
      )
    test, everyone = held_out, list(curve_ids)
  if attackers:
    everyone = [c for c in everyone if c not in attackers]
    curve_ids = [c for c in curve_ids if c not in attackers]
  return Participants(
      train_clients=train_clients,
      held_out=held_out,
      test=test,
      unseen=unseen,
      evaluated=_evaluated(everyone, config, unseen),
      curve_clients=_sample(
          curve_ids, min(_CURVE_CLIENTS, len(curve_ids)), config, 'curve'
      ),
  )


def build_sampler(
    clients: clients_lib.Clients,
    config: config_lib.Config,
    key: Optional[secret_key.SecretKey],
    *,
    stream: Optional[str],
) -> sampler_lib.Sampler:
  """Makes what draws the cohorts of a run.

  Args:
    clients: Those that take part in training.
    config: The run's settings.
    key: What cohorts are drawn from that nobody may guess, if there are any.
    stream: The name of the cohorts' stream of random numbers; `None` for the
      first run of several of which one starts from the other.
  """
  arguments: dict[str, Any] = dict(seed=config.seed, stream=stream)
  sampling = config.privacy.sampling
  size = config.clients_per_round
  if sampling == 'cyclic':
    return sampler_lib.CyclicSampler(clients, size, **arguments)
  if sampling == 'poisson':
    assert key is not None
    return sampler_lib.PoissonSampler(clients, size, key, **arguments)
  return sampler_lib.UniformSampler(clients, size, **arguments)


def _attacked(
    clients: clients_lib.Clients,
    config: config_lib.Config,
    unseen: frozenset[str],
) -> tuple[clients_lib.Clients, frozenset[str]]:
  """Training examples with those of an attack, and who has these."""
  server = config.server
  if server.attack not in attacks.ON_DATA:
    return clients, frozenset()
  candidates = clients_lib.ExcludingClients(clients, unseen).client_ids
  size = round(server.attackers * len(candidates))
  if size == len(candidates):
    raise errors.SettingsError(
        f'Expected `attackers` below {server.attackers:g} with `attack`'
        f' {server.attack}, found all clients: nobody is left to evaluate.'
    )
  attackers = frozenset(_sample(candidates, size, config, 'attackers'))
  return attacks.malicious(clients, server.attack, attackers), attackers


def _unseen(task: task_lib.Task, config: config_lib.Config) -> frozenset[str]:
  """The clients that are kept out of training."""
  size = config.evaluation.unseen_clients
  return frozenset(_sample(task.train.client_ids, size, config, 'unseen'))


def _divide(
    task: task_lib.Task, config: config_lib.Config
) -> tuple[clients_lib.Clients, Optional[clients_lib.Clients]]:
  """Training examples, and those held out for validation or the gate."""
  share = config.evaluation.validation or config.evaluation.gate
  if not share:
    return task.train, None
  view = functools.partial(
      hold_out.HoldOutView,
      task.train,
      task.client_examples.take,
      share=share,
      seed=config.seed,
  )
  return view(held_out=False), view(held_out=True)


def _evaluated(
    everyone: Sequence[str], config: config_lib.Config, unseen: frozenset[str]
) -> Sequence[str]:
  """All clients, or a sample and those that are kept out of training."""
  if not config.evaluation.eval_clients:
    return everyone
  sample = _sample(everyone, config.evaluation.eval_clients, config, 'test')
  return sample + sorted(c for c in unseen - set(sample) if c in everyone)


def _sample(
    client_ids: Sequence[str],
    size: int,
    config: config_lib.Config,
    purpose: str,
) -> list[str]:
  """Some clients, by a stream of random numbers for this purpose."""
  if not size:
    return []
  if size > len(client_ids):
    raise errors.SettingsError(
        f'Expected at most {len(client_ids)} clients ({purpose}), which is how'
        f' many there are, found {size}.'
    )
  stream = clients_lib.stream(config.seed, purpose)
  return clients_lib.sample(client_ids, size, seed=stream, round_num=0)
