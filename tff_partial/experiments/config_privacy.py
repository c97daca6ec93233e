# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The settings of privacy: a part of a `Config`."""

import dataclasses
from typing import Optional

from tff_partial.experiments import setting

SAMPLINGS = ('fixed', 'poisson', 'cyclic')
KEYS = ('secret', 'seed')


@dataclasses.dataclass(frozen=True)
class Privacy(setting.Settings):
  """Privacy"""

  client_sampling: Optional[str] = setting.field(
      None,
      'Who takes part in a round: fixed, --clients_per_round at random;'
      ' poisson, each client independently, so many on average, by a secret'
      ' key; cyclic, one group of clients after the other. Default: fixed.',
      choices=SAMPLINGS,
  )
  dp_key: str = setting.field(
      'secret',
      'Where the randomness of --client_sampling=poisson comes from: secret, a'
      ' key that is deleted after the run; seed, --seed, for experiments that'
      ' others repeat.',
      choices=KEYS,
  )

  @property
  def sampling(self) -> str:
    """Who takes part in a round, one of `SAMPLINGS`."""
    return self.client_sampling or 'fixed'

  @property
  def needs_key(self) -> bool:
    """Whether anything random comes from a key."""
    return self.sampling == 'poisson'

  @property
  def has_secret(self) -> bool:
    """Whether this key is secret."""
    return self.needs_key and self.dp_key == 'secret'
