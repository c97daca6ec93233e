# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The settings of privacy: a part of a `Config`."""

import dataclasses
from typing import Any, Optional

from tff_partial import errors
from tff_partial.experiments import setting

SAMPLINGS = ('fixed', 'poisson', 'cyclic')
KEYS = ('secret', 'seed')
METRICS = ('none', 'exact')


@dataclasses.dataclass(frozen=True)
class Privacy(setting.Settings):
  """Privacy"""

  noise_multiplier: Optional[float] = setting.field(
      None,
      'Differential privacy of the shared variables for each client: standard'
      ' deviation of the noise on the sum of updates, as a multiple of the'
      ' bound on an update. With an adaptive bound it includes the noise on'
      ' that.',
      least=0,
  )
  target_epsilon: Optional[float] = setting.field(
      None,
      'The same with the least noise for this epsilon, over pretraining and'
      ' training together.',
      least=0,
  )
  delta: Optional[float] = setting.field(
      None,
      'The delta of differential privacy. Default: n^-1.1 for n clients in'
      ' training.',
      least=0,
      below=1,
  )
  dp_clip: Optional[float] = setting.field(
      None,
      "Bound on the norm of a client's update of the shared variables, with"
      ' differential privacy. Default: adaptive. (--clip_norm bounds'
      ' gradients.)',
      least=0,
  )
  dp_clip_quantile: float = setting.field(
      0.5,
      'Share of the updates that an adaptive bound leaves as they are.',
      least=0,
      most=1,
  )
  dp_initial_clip: float = setting.field(
      0.1, 'Where an adaptive bound starts.', least=0
  )
  client_sampling: Optional[str] = setting.field(
      None,
      'Who takes part in a round: fixed, --clients_per_round at random;'
      ' poisson, each client independently, this many on average, by a secret'
      ' key; cyclic, one group of clients after the other. Default: fixed, or'
      ' poisson with differential privacy.',
      choices=SAMPLINGS,
  )
  dp_metrics: str = setting.field(
      'none',
      'Whether clients send metrics and counts with differential privacy: none,'
      ' or exact, which is not private.',
      choices=METRICS,
  )
  dp_key: str = setting.field(
      'secret',
      'Where noise and the cohorts of --client_sampling=poisson come from:'
      ' secret, a key that is deleted after the run; seed, --seed, for'
      ' experiments that others repeat, which are not private.',
      choices=KEYS,
  )
  init_is_public: bool = setting.field(
      False,
      'With differential privacy: your word that --init_from owes nothing to'
      ' these clients.',
  )

  def __post_init__(self):
    """Checks what concerns several of these settings.

    Raises:
      errors.SettingsError: If settings exclude each other.
    """
    super().__post_init__()
    if self.noise_multiplier is not None and self.target_epsilon is not None:
      raise errors.SettingsError(
          'Expected `noise_multiplier` or `target_epsilon`, found both.'
      )
    if self.is_private and self.client_sampling == 'fixed':
      raise errors.SettingsError(
          'Expected `client_sampling` poisson or cyclic with differential'
          " privacy, found 'fixed': cohorts of a fixed size have no usable"
          ' guarantee here (docs/privacy.md). Leave it out.'
      )
    for name in ('target_epsilon', 'delta', 'dp_clip', 'dp_initial_clip'):
      if getattr(self, name) == 0:
        raise errors.SettingsError(f'Expected `{name}` above 0, found 0.')
    if self.is_private:
      return
    for name in ('delta', 'dp_clip', 'init_is_public'):
      if getattr(self, name):
        raise errors.SettingsError(
            f'Expected `noise_multiplier` or `target_epsilon` with `{name}`,'
            ' found neither: there is no differential privacy without.'
        )

  @property
  def is_private(self) -> bool:
    """Whether there is differential privacy."""
    return self.noise_multiplier is not None or self.target_epsilon is not None

  @property
  def sampling(self) -> str:
    """Who takes part in a round, one of `SAMPLINGS`."""
    return self.client_sampling or ('poisson' if self.is_private else 'fixed')

  @property
  def sends_metrics(self) -> bool:
    """Whether clients send metrics and counts."""
    return not self.is_private or self.dp_metrics == 'exact'

  @property
  def needs_key(self) -> bool:
    """Whether anything random comes from a key."""
    return self.is_private or self.sampling == 'poisson'

  @property
  def has_secret(self) -> bool:
    """Whether this key is secret."""
    return self.needs_key and self.dp_key == 'secret'


def problem(config: Any) -> Optional[str]:
  """What other settings of a `Config` lack for differential privacy."""
  if not config.privacy.is_private:
    return None
  if config.server.client_weighting == 'num_examples':
    return (
        'Expected `client_weighting` uniform with differential privacy, found'
        " 'num_examples': weights would need noise of their own."
    )
  if config.server.aggregator != 'mean':
    return (
        'Expected `aggregator` mean with differential privacy, found'
        f' {config.server.aggregator!r}: what it learns from updates is not'
        ' noised.'
    )
  if 'mean' in (config.evaluation.onboarding or '').split(','):
    return (
        "Expected `onboarding` without 'mean' with differential privacy: it"
        " would hand newcomers a mean of others' personal variables."
    )
  if config.evaluation.control:
    return (
        'Expected no `control` with differential privacy, found it: it would be'
        ' one more release.'
    )
  if config.chooses_split:
    return (
        'Expected the name of a split as `personal` with differential privacy,'
        f' found {config.personal!r}: the choice has no noise.'
    )
  if config.estimates_penalty:
    return (
        'Expected a number as `personal_l2` with differential privacy, found'
        " 'auto': the estimate has no noise."
    )
  if config.method.trains_alone and not (
      config.method.starts_pretrained and config.num_pretrain_rounds
  ):
    return (
        'Expected an algorithm that sends something with differential privacy,'
        f' found {config.algorithm!r} without pretraining.'
    )
  return None


def check_several_runs(config: Any) -> None:
  """Checks that several runs on the same clients may have these settings.

  Args:
    config: What they have in common, a `Config`.

  Raises:
    errors.SettingsError: If they would share a budget, or draw different
      cohorts.
  """
  if config.privacy.is_private:
    raise errors.SettingsError(
        'Expected one run with differential privacy, found several, which would'
        ' share a budget. Run each by itself.'
    )
  if config.privacy.has_secret:
    raise errors.SettingsError(
        'Expected `dp_key` seed in a comparison, whose runs have the same'
        ' clients in each round, found secret. Use the seed, or run each'
        ' algorithm by itself.'
    )
