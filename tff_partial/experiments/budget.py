# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run with differential privacy may release, and what it guarantees.

Pretraining and training have one budget, and so has an earlier run that the
model comes from. `privacy.json` in a run's folder lists all releases.
"""

import dataclasses
import functools
import json
import os
import pathlib
from typing import Any, Optional

from tff_partial import errors
from tff_partial import files
from tff_partial.experiments.settings import config as config_lib
from tff_partial.privacy import accounting
from tff_partial.privacy import secret_key

FILE = 'privacy.json'
_DELTAS = (1e-3, 1e-4, 1e-5, 1e-6)


@dataclasses.dataclass(frozen=True)
class Budget:
  """The noise of a run, and all that its clients take part in.

  Attributes:
    noise_multiplier: Of each of its rounds.
    delta: The delta of the guarantee.
    before: What the model that it starts from has released.
    own: Its pretraining and its training.
    public_key: Whether the noise of any of them comes from a public seed.
    exact_metrics: Whether clients send exact metrics in any of them.
    public_start: Whether any of them began from a model of which its user said
      that it owes nothing to the clients.
    noise_version: The `secret_key.NOISE_VERSION` of its rounds.
  """

  noise_multiplier: float
  delta: float
  before: tuple[accounting.Mechanism, ...]
  own: tuple[accounting.Mechanism, ...]
  public_key: bool = False
  exact_metrics: bool = False
  public_start: bool = False
  noise_version: int = secret_key.NOISE_VERSION

  @functools.cached_property
  def _guarantees(self) -> list[accounting.Guarantee]:
    return accounting.guarantees(
        [*self.before, *self.own], [self.delta, *_DELTAS]
    )

  @property
  def guarantee(self) -> accounting.Guarantee:
    """What all of it guarantees together."""
    return self._guarantees[0]

  def to_dict(self) -> dict[str, Any]:
    """The content of `privacy.json`; an infinite epsilon is null."""
    finite = lambda epsilon: None if epsilon == float('inf') else epsilon
    return {
        'epsilon': finite(self.guarantee.epsilon),
        'delta': self.delta,
        'against': self.guarantee.against,
        'accountant': accounting.name(),
        'other_epsilons': {
            f'{g.delta:g}': finite(g.epsilon) for g in self._guarantees[1:]
        },
        'mechanisms': [part.to_dict() for part in [*self.before, *self.own]],
        'public_key': self.public_key,
        'exact_metrics': self.exact_metrics,
        'public_start': self.public_start,
        'noise_version': self.noise_version,
    }


def build(config: config_lib.Config, num_clients: int) -> Budget:
  """Finds the noise of a run, and checks that it may be run.

  Args:
    config: Its settings.
    num_clients: Number of clients in training.

  Raises:
    errors.SettingsError: If the delta says nothing, if the epsilon is out of
      reach, or if nothing is known about the model that the run starts from.
    errors.FileError: If the `privacy.json` of that model is damaged.
  """
  privacy = config.privacy
  delta = privacy.delta
  if delta is None:
    delta = accounting.default_delta(num_clients)
  if delta >= 1 / num_clients:
    raise errors.SettingsError(
        f'Expected `delta` below 1/n = {1 / num_clients:.2g}, found {delta:g}.'
    )
  rounds = [config.num_pretrain_rounds]
  if not config.method.trains_alone:
    rounds.append(config.total_rounds)
  mechanisms = [
      accounting.Mechanism(
          privacy.noise_multiplier or 0.0,
          privacy.sampling,
          num_clients,
          config.clients_per_round,
          number,
          privacy.dp_mechanism,
      )
      for number in rounds
      if number
  ]
  before = _before(config)
  accounting.is_cyclic([*(before.own if before else ()), *mechanisms])
  noise_multiplier = privacy.noise_multiplier or 0.0
  if privacy.target_epsilon is not None and mechanisms:
    noise_multiplier = accounting.calibrate(
        mechanisms,
        epsilon=privacy.target_epsilon,
        delta=delta,
        before=before.own if before else (),
    )
  own = [
      dataclasses.replace(m, noise_multiplier=noise_multiplier)
      for m in mechanisms
  ]
  return Budget(
      noise_multiplier,
      delta,
      before.own if before else (),
      tuple(own),
      public_key=privacy.dp_key == 'seed' or bool(before and before.public_key),
      exact_metrics=privacy.dp_metrics == 'exact'
      or bool(before and before.exact_metrics),
      public_start=privacy.init_is_public
      or bool(before and before.public_start),
  )


def keep(folder: pathlib.Path, budget: Budget, *, is_trained: bool) -> Budget:
  """Writes `privacy.json` before the first round, and then holds a run to it.

  A round that is computed again has the same noise. With other clients or
  another multiplier, the difference of the two results would have less noise
  than either, or none.

  Args:
    folder: The run's folder.
    budget: What the run would release by its settings and data.
    is_trained: Whether all of its rounds are done.

  Returns:
    What the run releases: `budget`, or what is written if the run is trained. A
    run that it started from counts as it did then, if it has grown since.

  Raises:
    errors.SettingsError: If more than the number of further rounds differs
      from what is written, and the run is not trained.
    errors.FileError: If what is written is damaged.
  """
  path = folder / FILE
  if path.exists():
    written = _read(path)
    budget = _with_written_start(budget, written)
    if not _goes_on(written, budget):
      if is_trained:
        return written
      raise errors.SettingsError(
          f'Expected the noise and the clients of {path}, with which this run'
          ' began, found others: a round that is computed again would show a'
          ' difference without noise. Go on with the same settings, data and'
          ' version of the program. A run in another folder adds to what this'
          ' one has released.'
      )
  files.replace_text(path, json.dumps(budget.to_dict(), indent=2) + '\n')
  return budget


def _with_written_start(budget: Budget, written: Budget) -> Budget:
  """A budget with what the run's start had released when the run began.

  The run that it started from may have had more rounds since. With a target for
  epsilon, the noise of this run depends on that, and stays what it was.
  """
  now = [*budget.before, *budget.own]
  num_before = len(written.own) - len(budget.own)
  before = written.own[:num_before] if num_before > 0 else ()
  if not before or list(before) == now[:num_before]:
    return budget
  noise_multiplier = written.noise_multiplier
  return dataclasses.replace(
      budget,
      before=before,
      own=tuple(
          dataclasses.replace(part, noise_multiplier=noise_multiplier)
          for part in budget.own
      ),
      noise_multiplier=noise_multiplier,
  )


def _goes_on(written: Budget, budget: Budget) -> bool:
  """Whether a budget is what is written, with no fewer rounds in the end."""
  now = [*budget.before, *budget.own]
  if len(now) != len(written.own):
    return False
  if not now:
    return True
  *first, last = written.own
  return (
      first == now[:-1]
      and last == dataclasses.replace(now[-1], rounds=last.rounds)
      and last.rounds <= now[-1].rounds
      and (written.public_key, written.exact_metrics, written.noise_version)
      == (budget.public_key, budget.exact_metrics, budget.noise_version)
  )


def _read(path: pathlib.Path) -> Budget:
  """What a run has released, without what is its own and what is not.

  Raises:
    errors.FileError: If the file is damaged.
  """
  found: Optional[Any] = None
  try:
    found = json.loads(path.read_text(encoding='utf-8'))
    parts = tuple(accounting.Mechanism(**m) for m in found['mechanisms'])
    return Budget(
        parts[-1].noise_multiplier if parts else 0.0,
        float(found['delta']),
        (),
        parts,
        public_key=bool(found['public_key']),
        exact_metrics=bool(found['exact_metrics']),
        # Files of earlier versions do not say.
        public_start=bool(found.get('public_start', False)),
        noise_version=int(found.get('noise_version', 1)),
    )
  except (ValueError, KeyError, TypeError) as e:
    raise errors.FileError(
        f'Expected what a run has released in {path}, found something else.'
        ' Restore the file from a copy.'
    ) from e


def _before(config: config_lib.Config) -> Optional[Budget]:
  """What the model that a run starts from has released about its clients."""
  start = config.init_from
  if start is None or config.privacy.init_is_public:
    return None
  path = pathlib.Path(start).expanduser()
  path = (path if os.path.isdir(path) else path.parent) / FILE
  if not path.exists():
    raise errors.SettingsError(
        f'Expected `init_from` of a run with {FILE}, or `init_is_public`, found'
        f' {start}: it may owe something to these clients.'
    )
  return _read(path)
