# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Split rules: which variables of a model are personal, by their paths.

A rule maps the path of a variable, such as `block_3/attention/query/kernel`, to
whether the variable is personal (the paper's v_i, kept by client i) or shared
(the paper's u, broadcast by the server and averaged). Everything else follows
from the rule [1, Section 2].

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

# Prefix of the paths of personal copies of variables (`copied_model.py`).
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
    moving: Whether training changes it without gradients, such as the moving
      averages of batch normalization. What is neither is a constant, such as a
      weight of a frozen layer, and always shared.
  """

  path: str
  shape: tuple[int, ...]
  dtype: str
  personal: bool
  trainable: bool = True
  moving: bool = False

  @property
  def size(self) -> int:
    """The number of elements."""
    return math.prod(self.shape)

  @property
  def num_bytes(self) -> int:
    """The size in memory, in bytes."""
    return self.size * np.dtype(self.dtype).itemsize


def none(path: str) -> bool:
  """No variable is personal: one model for all clients, as in FedAvg."""
  del path  # Unused.
  return False


def everything(path: str) -> bool:
  """Every variable is personal: each client trains alone."""
  del path  # Unused.
  return True


def layers(*names: str) -> Rule:
  """A rule that matches all variables of some layers.

  Args:
    *names: Beginnings of paths, up to a `/`. For example, `head` matches
      `head/kernel` and `head/proj/bias`, but not `head_norm/gamma`.
  """
  prefixes = tuple(name + '/' for name in names)
  return lambda path: path.startswith(prefixes)


def matches(pattern: str) -> Rule:
  """A rule that searches paths for a regular expression.

  Args:
    pattern: A regular expression, as for `re.search`.

  Raises:
    errors.SettingsError: If `pattern` is not a regular expression.
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
  """A rule that matches what at least one of the rules matches."""
  return lambda path: any(rule(path) for rule in rules)


def rule_by_name(name: str, splits: Mapping[str, Rule]) -> Rule:
  """Returns the rule that a user names.

  Args:
    name: `none`, `all`, one of the task's splits, or `regex:` followed by a
      regular expression that is searched in paths. Several are joined by `+`,
      with the regular expression at the end: `input+regex:bias$`.
    splits: The task's own rules by name.

  Raises:
    errors.SettingsError: If there is no such rule.
  """
  rules = {'none': none, 'all': everything, **splits}
  if name.startswith('regex:'):
    return matches(name.removeprefix('regex:'))
  first, plus, others = name.partition('+')
  if plus and name not in splits:
    return any_of(rule_by_name(first, splits), rule_by_name(others, splits))
  if name not in rules:
    raise errors.SettingsError(
        f'Expected `personal` to be one of {sorted(rules)}, or regex:E, where E'
        ' is a regular expression, or several of these joined by +, found'
        f' {name!r}.'
    )
  return rules[name]


def joined(name: str) -> list[str]:
  """The names that a user has joined by `+`, in order."""
  first, plus, others = name.partition('+')
  if not plus or name.startswith('regex:'):
    return [name]
  return [first, *joined(others)]


def check(
    variables: Sequence[VariableInfo], *, rule_name: Optional[str] = None
) -> None:
  """Checks that a model can be trained with a split.

  Args:
    variables: All variables of the model, with their groups.
    rule_name: The user's name for the rule. It appears in messages. The names
      'none' and 'all' allow an empty group. Without a name, empty groups are
      not checked.

  Raises:
    errors.SettingsError: If the rule matches no variable, or all of them, and
      its name is not 'none' or 'all'. If a shared variable is moving: TFF's
      finalizers never update such variables on the server, so that batch
      normalization would silently keep its initial statistics.
  """
  named = f'Split {rule_name!r}' if rule_name else 'The split'
  paths = ', '.join(v.path for v in variables)
  personal = sum(v.personal for v in variables)
  if rule_name and rule_name != 'none' and not personal:
    raise errors.SettingsError(
        f'{named} matches no variable of the model, or only frozen ones, which'
        f' are always shared. Variables: {paths}. Use another split, or "none"'
        ' if nothing should be personal.'
    )
  if rule_name and rule_name != 'all' and personal == len(variables):
    raise errors.SettingsError(
        f'{named} matches every variable of the model. Variables: {paths}. Use'
        ' "all" if everything should be personal.'
    )
  moving = [v.path for v in variables if v.moving and not v.personal]
  if moving:
    raise errors.SettingsError(
        f'{named} shares {", ".join(moving)}: moving averages, or other'
        ' variables that layers assign, which the server would never update.'
        ' Use group or layer normalization instead of batch normalization,'
        ' make these variables personal, without pretraining, or freeze their'
        ' layers (`trainable` False) or name them in `frozen`, if nothing is to'
        ' change them.'
    )


def check_pretrained(
    before: Sequence[VariableInfo],
    variables: Sequence[VariableInfo],
    *,
    rule_name: str,
) -> None:
  """Checks that a pretrained model's variables are those of the model.

  Layers that a split adds must not change the names of others, which happens if
  Keras numbers both: `dense_1` becomes `dense_2`.

  Args:
    before: The variables of the pretrained model.
    variables: Those of the model that starts from it.
    rule_name: The name of its split.

  Raises:
    errors.SettingsError: If a variable is lost, has another shape, or may be
      another one of that name.
  """
  shapes = {v.path: v.shape for v in variables}
  found = [
      f'{v.path} {list(v.shape)} as {list(shapes[v.path])}'
      if v.path in shapes
      else f'none of {v.path}'
      for v in before
      if shapes.get(v.path) != v.shape
  ]
  family = lambda path: re.sub(r'_\d+(?=/|$)', '', path)
  families = {family(v.path) for v in before}
  known = {v.path for v in before}
  found += [
      f'{path} too'
      for path in shapes
      if path not in known and family(path) in families
  ]
  if found:
    raise errors.SettingsError(
        'Expected a model with the variables of the pretrained one by the same'
        f' names for the split {rule_name!r}, found {", ".join(found[:3])}.'
        ' Give each layer a name (`name=...`), so that layers that the split'
        ' adds do not change the numbers of others.'
    )


def format_table(variables: Sequence[VariableInfo]) -> str:
  """Formats a split as a table: path, shape, group, bytes, share of parameters.

  The last two lines are the sums of the two groups.
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
