# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which variable is personal: rules on variable paths, and the split they make.

A rule looks at one variable's path, such as `block_3/attention/query/kernel`,
and says whether the variable is personal (the paper's v_i, kept by client i) or
shared (the paper's u, broadcast by the server and averaged). Everything else
follows from the rule [1, Section 2].

[1] Pillutla et al. Federated Learning with Partial Model Personalization.
ICML 2022. https://arxiv.org/abs/2204.03809
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import math
import re
from typing import Optional

import numpy as np

from tff_partial import errors

Rule = Callable[[str], bool]  # Variable path -> is the variable personal?

# Of the paths of variables of which a client has a copy (`copied_model.py`).
COPY_PREFIX = 'personal/'


@dataclasses.dataclass(frozen=True)
class VariableInfo:
  """One variable of a split model.

  Attributes:
    path: Unique name, layer by layer: `head/dense/kernel`.
    shape: Fully defined shape.
    dtype: NumPy name of the element type: `float32`.
    personal: Whether the variable is personal.
    trainable: Whether gradients train it.
  """

  path: str
  shape: tuple[int, ...]
  dtype: str
  personal: bool
  trainable: bool = True

  @property
  def size(self) -> int:
    """Number of elements."""
    return math.prod(self.shape)

  @property
  def num_bytes(self) -> int:
    return self.size * np.dtype(self.dtype).itemsize


def none(path: str) -> bool:
  """Nothing is personal: one model for everyone, as in FedAvg."""
  del path  # Unused.
  return False


def everything(path: str) -> bool:
  """Everything is personal: full personalization."""
  del path  # Unused.
  return True


def layers(*names: str) -> Rule:
  """A rule for the variables of whole layers.

  Args:
    *names: The beginnings of paths up to a `/`: `head` matches `head/kernel`
      and `head/proj/bias`, but not `head_norm/gamma`.
  """
  prefixes = tuple(name + '/' for name in names)
  return lambda path: path.startswith(prefixes)


def matches(pattern: str) -> Rule:
  """A rule for the variables whose path contains a regular expression.

  Raises:
    ValueError: If `pattern` is not a regular expression.
  """
  try:
    compiled = re.compile(pattern)
  except re.error as e:
    raise errors.SettingsError(
        f'Expected a regular expression after "regex:", found {pattern!r}:'
        f' {e}.'
    ) from e
  return lambda path: compiled.search(path) is not None


def any_of(*rules: Rule) -> Rule:
  """A rule for the variables that at least one of the rules matches."""
  return lambda path: any(rule(path) for rule in rules)


def rule_by_name(name: str, splits: Mapping[str, Rule]) -> Rule:
  """Finds a rule by the name a user gives it.

  Args:
    name: `none`, `all`, one of the task's splits, or `regex:` and a regular
      expression that is searched in variable paths.
    splits: The task's own rules by name.

  Raises:
    ValueError: If there is no such rule, naming those there are.
  """
  rules = {'none': none, 'all': everything, **splits}
  if name.startswith('regex:'):
    return matches(name.removeprefix('regex:'))
  if name not in rules:
    raise errors.SettingsError(
        f'Expected a split of {sorted(rules)} or regex:..., found {name!r}.'
    )
  return rules[name]


def check(
    variables: Sequence[VariableInfo], *, rule_name: Optional[str] = None
) -> None:
  """Checks that a model can be trained with this split.

  Args:
    variables: Every variable of the model, labelled by the rule.
    rule_name: What the user called the rule, for messages; 'none' and 'all'
      say that an empty group is meant. Without a name nothing about empty
      groups is checked.

  Raises:
    ValueError: If the rule matched no variable, or all of them, without being
      called so; if a shared variable is not trainable, since TFF's finalizers
      never move such a variable on the server: batch normalization would
      silently keep its initial statistics.
  """
  named = f'Split {rule_name!r}' if rule_name else 'The split'
  paths = ', '.join(v.path for v in variables)
  personal = sum(v.personal for v in variables)
  if rule_name and rule_name != 'none' and not personal:
    raise errors.SettingsError(
        f'{named} matches no variable of the model. Variables: {paths}. Use'
        ' another split, or "none" if nothing should be personal.'
    )
  if rule_name and rule_name != 'all' and personal == len(variables):
    raise errors.SettingsError(
        f'{named} matches every variable of the model. Variables: {paths}. Use'
        ' "all" if everything should be personal.'
    )
  frozen = [v.path for v in variables if not v.trainable and not v.personal]
  if frozen:
    raise errors.SettingsError(
        f'{named} shares variables that are not trainable: {", ".join(frozen)}.'
        ' The server would never update them. Use group or layer normalization'
        ' instead of batch normalization, or make them personal.'
    )


def format_table(variables: Sequence[VariableInfo]) -> str:
  """The split as a table: path, shape, group, bytes, share of the parameters.

  A last line for each group gives its sums.
  """
  total = max(1, sum(v.size for v in variables))
  group = lambda v: 'personal' if v.personal else 'shared'
  rows = [
      (v.path, str(list(v.shape)), group(v), v.num_bytes, v.size)
      for v in variables
  ]
  for name in ('shared', 'personal'):
    members = [v for v in variables if group(v) == name]
    rows.append(
        (
            f'{len(members)} variables',
            '',
            name,
            sum(v.num_bytes for v in members),
            sum(v.size for v in members),
        )
    )
  width = max(len(row[0]) for row in rows)
  lines = [f'{"path":{width}}  {"shape":16} {"group":8} {"bytes":>12}   share']
  for path, shape, name, num_bytes, size in rows:
    lines.append(
        f'{path:{width}}  {shape:16} {name:8} {num_bytes:>12,}'
        f' {size / total:>7.2%}'
    )
  return '\n'.join(lines)
