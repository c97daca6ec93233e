# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The settings of privacy: a part of a `Config`."""

import dataclasses
import math
from typing import Any, Optional

from tff_partial import errors
from tff_partial.experiments.settings import setting

SAMPLINGS = ('fixed', 'poisson', 'cyclic')
KEYS = ('secret', 'seed')
METRICS = ('none', 'exact')
MECHANISMS = ('gaussian', 'tree')


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
      below=math.inf,
  )
  target_epsilon: Optional[float] = setting.field(
      None,
      'The same with the least noise for this epsilon, over pretraining and'
      ' training together.',
      least=0,
      below=math.inf,
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
      below=math.inf,
  )
  dp_clip_quantile: float = setting.field(
      0.5,
      'Share of the updates that an adaptive bound leaves as they are.',
      least=0,
      most=1,
  )
  dp_initial_clip: float = setting.field(
      0.1, 'Where an adaptive bound starts.', least=0, below=math.inf
  )
  dp_mechanism: str = setting.field(
      'gaussian',
      "Where differential privacy has its noise: gaussian, on each round's sum;"
      ' tree, on sums of rounds (DP-FTRL), for which nothing needs to be secret'
      ' about who takes part.',
      choices=MECHANISMS,
  )
  client_sampling: Optional[str] = setting.field(
      None,
      'Who takes part in a round: fixed, --clients_per_round at random;'
      ' poisson, each client independently, this many on average, by a secret'
      ' key; cyclic, one group of clients after the other. Default: fixed, or'
      ' poisson with differential privacy, cyclic with --dp_mechanism=tree.',
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
  secure_aggregation: bool = setting.field(
      False,
      'Sum what clients send as secure aggregation does, in integers of a fixed'
      ' range, so that the server learns sums alone. The protocol itself is'
      ' simulated.',
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
    adaptive = self._adaptive_settings_given()
    if self.is_private:
      self._check_tree()
      if adaptive and self.dp_clip is not None:
        raise errors.SettingsError(
            f'Expected `dp_clip` or `{adaptive[0]}`, which is for an adaptive'
            ' bound, found both. Leave one of them out.'
        )
      return
    if self.dp_mechanism != 'gaussian':
      raise errors.SettingsError(
          'Expected `noise_multiplier` or `target_epsilon` with `dp_mechanism`'
          f' {self.dp_mechanism}, found neither: there is no differential'
          ' privacy without.'
      )
    names = ('delta', 'dp_clip', 'init_is_public')
    useless = [*(n for n in names if getattr(self, n)), *adaptive]
    if self.dp_metrics != 'none':
      useless.append('dp_metrics')
    if useless:
      raise errors.SettingsError(
          'Expected `noise_multiplier` or `target_epsilon` with'
          f' `{useless[0]}`, found neither: there is no differential privacy'
          ' without.'
      )

  def _adaptive_settings_given(self) -> list[str]:
    """The settings of an adaptive bound that are not the default ones."""
    names = ('dp_clip_quantile', 'dp_initial_clip')
    return [n for n in names if getattr(self, n) != getattr(Privacy, n)]

  def _check_tree(self) -> None:
    if self.dp_mechanism != 'tree':
      return
    if self.client_sampling not in (None, 'cyclic'):
      raise errors.SettingsError(
          'Expected `client_sampling` cyclic with `dp_mechanism` tree, found'
          f' {self.client_sampling!r}: its noise is for clients in turns.'
      )
    if self.dp_clip is None:
      raise errors.SettingsError(
          'Expected `dp_clip` with `dp_mechanism` tree, found none: its noise'
          ' is for one bound in all rounds.'
      )

  @property
  def is_private(self) -> bool:
    """Whether there is differential privacy."""
    return self.noise_multiplier is not None or self.target_epsilon is not None

  @property
  def sampling(self) -> str:
    """Who takes part in a round, one of `SAMPLINGS`."""
    if self.client_sampling is not None:
      return self.client_sampling
    if not self.is_private:
      return 'fixed'
    return 'cyclic' if self.dp_mechanism == 'tree' else 'poisson'

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
  """What other settings of a `Config` lack for these."""
  return _problem_of_secure_sums(config) or _problem_of_privacy(config)


def _problem_of_secure_sums(config: Any) -> Optional[str]:
  """What secure sums lack."""
  privacy = config.privacy
  if not privacy.secure_aggregation:
    return None
  if privacy.is_private and privacy.dp_clip is None:
    return (
        'Expected `dp_clip` with `secure_aggregation` and differential privacy,'
        ' found none: clients need the range of the integers before a round.'
    )
  if config.server.aggregator != 'mean':
    return (
        'Expected `aggregator` mean with `secure_aggregation`, found'
        f' {config.server.aggregator!r}, which needs more than a sum.'
    )
  if config.server.compression != 'none':
    return (
        'Expected `compression` none with `secure_aggregation`, found'
        f' {config.server.compression!r}: sums need one grid for all clients.'
    )
  if config.method.trains_alone and not (
      config.method.starts_pretrained and config.num_pretrain_rounds
  ):
    return (
        'Expected an algorithm that sends something with `secure_aggregation`,'
        f' found {config.algorithm!r} without pretraining.'
    )
  return None


def _problem_of_privacy(config: Any) -> Optional[str]:
  """What differential privacy lacks."""
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
  if config.privacy.init_is_public and config.init_from is None:
    return (
        'Expected `init_from` with `init_is_public`, found none: there is no'
        ' model that it could be about. Leave it out.'
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
  if not config.privacy.has_secret:
    return
  if config.privacy.is_private:
    raise errors.SettingsError(
        'Expected one run with differential privacy, found several, which would'
        ' share a budget. Run each by itself, or compare runs that are not'
        ' private, with `dp_key` seed.'
    )
  raise errors.SettingsError(
      'Expected `dp_key` seed in a comparison, whose runs have the same clients'
      ' in each round, found secret. Use the seed, or run each algorithm by'
      ' itself.'
  )


def check_no_search(config: Any) -> None:
  """Checks the same of several runs of which something is chosen.

  Args:
    config: What they have in common, a `Config`.

  Raises:
    errors.SettingsError: If they would share a budget or draw different
      cohorts, or if no budget counts the choice.
  """
  check_several_runs(config)
  if config.privacy.is_private:
    raise errors.SettingsError(
        'Expected one run with differential privacy, found several of which'
        ' something is learned or chosen, which no budget counts. Run each by'
        ' itself.'
    )
