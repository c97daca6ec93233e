# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads what a run has chosen before training, from its folder.

Nothing slow is imported here.
"""

from collections.abc import Callable
import json
import pathlib
from typing import Any, Optional

from tff_partial import errors


def read(
    path: pathlib.Path, check_fn: Callable[[Any], Any], *, what: str, verb: str
) -> Optional[dict[str, Any]]:
  """What a run has kept; `None` if there is nothing.

  Args:
    path: The file.
    check_fn: Raises a `ValueError`, `LookupError` or `TypeError` for contents
      of another kind.
    what: What the file has, for messages.
    verb: What a run does that has no such file, likewise.

  Raises:
    errors.DataError: If the file is damaged.
  """
  if not path.exists():
    return None
  try:
    found = json.loads(path.read_text(encoding='utf-8'))
    check_fn(found)
  except (ValueError, LookupError, TypeError) as e:
    raise errors.DataError(
        f'Expected {what} in {path}, found a damaged file. Remove it to {verb}'
        ' again, before training has begun.'
    ) from e
  return found
