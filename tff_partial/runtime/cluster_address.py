# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names of clusters. Neither Ray nor TensorFlow is needed to check one."""

from tff_partial import errors

LOCAL = 'local'
AUTO = 'auto'
RAY_CLIENT = 'ray://'


def check(address: str) -> None:
  """Checks the name of a cluster.

  Args:
    address: 'local', 'auto' or ray://host:port.

  Raises:
    errors.SettingsError: If it is something else.
  """
  host, _, port = address.removeprefix(RAY_CLIENT).rpartition(':')
  is_client = address.startswith(RAY_CLIENT) and host and port.isdigit()
  if address not in (LOCAL, AUTO) and not is_client:
    raise errors.SettingsError(
        f'Expected `cluster` of {LOCAL}, {AUTO} or {RAY_CLIENT}host:port, found'
        f' {address!r}.'
    )
