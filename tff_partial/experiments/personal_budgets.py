# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""`--personal_by_budget`: how many bytes of personal variables a client keeps.

The parts of `--personal=A+B+C` are groups in this order. A client keeps as many
of the first groups as its bytes allow, and shares the rest of the model.

Nothing slow is imported here.
"""

from collections.abc import Iterable, Mapping, Sequence
import csv
import dataclasses
import hashlib
import itertools
import os
import pathlib
from typing import Any, Optional

from tff_partial import errors
from tff_partial.evaluation import csv_cells

# What a run that goes on must have again: the digest of its file of budgets.
DIGEST = 'personal_budgets'
_HEADER = ['client_id', 'bytes']


@dataclasses.dataclass(frozen=True)
class Levels:
  """How many groups of variables each client has as personal ones.

  Attributes:
    names: What users call the groups, in order.
    num_bytes: What a client of each level stores, from level 0.
    of: The level of each client.
    digest: Changes with the file of budgets.
  """

  names: Sequence[str]
  num_bytes: Sequence[int]
  of: Mapping[str, int]
  digest: str

  def in_words(self, level: int) -> str:
    """What is personal at a level."""
    return '+'.join(self.names[:level]) or 'nothing'


def problem(config: Any) -> Optional[str]:
  """What other settings of a `Config` exclude, if clients have budgets."""
  if config.personal_by_budget is None:
    return None
  needs = lambda what, found: (
      f'Expected {what} with `personal_by_budget`, found {found}.'
  )
  if not config.method.takes_budgets:
    return needs('`algorithm` fed_alt or fed_sim', repr(config.algorithm))
  if config.chooses_split:
    return needs('the names of splits as `personal`', repr(config.personal))
  server = config.server
  for name, plain in (('aggregator', 'mean'), ('compression', 'none')):
    if getattr(server, name) != plain:
      return needs(f'`{name}` {plain}', repr(getattr(server, name)))
  if server.attack == 'sign_flip':
    return needs('no `attack` on updates', repr(server.attack))
  if config.privacy.is_private or config.privacy.secure_aggregation:
    return needs('no differential privacy and no secure sums', 'them')
  if config.estimates_penalty:
    return needs('a number as `personal_l2`', repr(config.client.personal_l2))
  if config.running.store_parts is not None:
    return needs('no `store_parts`', config.running.store_parts)
  if set(config.onboarding_policies) - {'initial'}:
    return needs('`onboarding` initial or none', config.evaluation.onboarding)
  return None


def settings(path: Optional[str]) -> dict[str, str]:
  """The digest of a file of budgets, by its name among a run's settings.

  Args:
    path: The file; `None` if there is none.

  Raises:
    errors.MissingFileError: If there is no such file.
    errors.DataError: If it cannot be read.
  """
  if path is None:
    return {}
  _, digest = _read(path)
  return {DIGEST: digest}


def check_several_runs(path: Optional[str]) -> None:
  """Checks that several runs on the same clients have no budgets.

  Args:
    path: The file of budgets that they have in common, if there is one.

  Raises:
    errors.SettingsError: If clients have budgets. The bytes of a run's personal
      variables are not those of a client then.
  """
  if path is not None:
    raise errors.SettingsError(
        'Expected one run with `personal_by_budget`, found several. Run each by'
        ' itself: its report compares the clients of different budgets.'
    )


def build(
    path: str,
    names: Sequence[str],
    sizes: Sequence[int],
    client_ids: Iterable[str],
) -> Levels:
  """Reads the budgets of clients, and finds what they allow.

  Args:
    path: A CSV file with the columns `client_id` and `bytes`.
    names: What users call the groups.
    sizes: The bytes of each group.
    client_ids: Those who need a budget.

  Raises:
    errors.MissingFileError: If there is no such file.
    errors.DataError: If it cannot be read, or a client is not in it.
  """
  budgets, digest = _read(path)
  missing = next((c for c in client_ids if c not in budgets), None)
  if missing is not None:
    raise errors.DataError(
        f'Expected a line for every client in {path}, found none for'
        f' {missing!r}. Add one, with 0 bytes if all of its model is shared.'
    )
  num_bytes = list(itertools.accumulate(sizes, initial=0))
  fitting = lambda budget: sum(size <= budget for size in num_bytes[1:])
  return Levels(
      names, num_bytes, {c: fitting(b) for c, b in budgets.items()}, digest
  )


def _read(path: str) -> tuple[dict[str, int], str]:
  """The bytes of each client of a file, and the file's digest."""
  file = pathlib.Path(os.path.expanduser(path))
  if not file.is_file():
    raise errors.MissingFileError(
        f'Expected a CSV file as `personal_by_budget`, found no {path}.'
    )
  data = file.read_bytes()
  expected = f'Expected the columns {",".join(_HEADER)} in {path}'
  try:
    text = data.decode('utf-8-sig')
    header, *rows = list(csv.reader(text.splitlines())) or [[]]
  except (UnicodeDecodeError, csv.Error) as e:
    raise errors.DataError(f'{expected}, found no CSV file: {e}.') from e
  if header != _HEADER:
    raise errors.DataError(
        f'{expected}, found {",".join(header) or "nothing"!r}.'
    )
  budgets: dict[str, int] = {}
  for number, row in enumerate(rows, start=2):
    if len(row) != 2 or not row[1].isdecimal():
      raise errors.DataError(
          f'Expected a client and a whole number of bytes in line {number} of'
          f' {path}, found {",".join(row)!r}.'
      )
    client_id = csv_cells.unescape(row[0])
    if client_id in budgets:
      raise errors.DataError(
          f'Expected one line for each client in {path}, found another one for'
          f' {client_id!r} in line {number}.'
      )
    budgets[client_id] = int(row[1])
  return budgets, hashlib.sha256(data).hexdigest()[:16]
