# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes the metrics of rounds to a CSV file, each row with its checksum."""

from collections.abc import Mapping
import os
from typing import Any

import tensorflow_federated as tff

from tff_partial.training import history


class MetricsFile(tff.program.ReleaseManager):
  """TFF's `CSVFileReleaseManager`, with a column that `history` checks."""

  def __init__(self, path: str | os.PathLike[str]):
    self._manager = tff.program.CSVFileReleaseManager(
        path, key_fieldname=history.KEY
    )

  async def release(self, value: Mapping[str, Any], key: int) -> None:
    row = {**value, history.KEY: key}
    await self._manager.release(
        {**value, history.CHECKSUM: history.checksum(row)}, key
    )
