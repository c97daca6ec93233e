# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Counts of what was tried, and what went wrong."""

import collections
from collections.abc import Sequence
import dataclasses


@dataclasses.dataclass
class Outcome:
  """What came of one kind of trial.

  Attributes:
    kind: What was tried.
    counts: The number of trials by how they ended.
    violations: Trials that ended as none may, with what is needed to repeat
      them.
    seconds: How long all of them took.
  """

  kind: str
  counts: collections.Counter = dataclasses.field(
      default_factory=collections.Counter
  )
  violations: list[str] = dataclasses.field(default_factory=list)
  seconds: float = 0

  @property
  def num_trials(self) -> int:
    return sum(self.counts.values())


def table(outcomes: Sequence[Outcome]) -> str:
  """A table in Markdown, with a line for each violation after it."""
  lines = [
      '| tried | times | how they ended | violations | seconds |',
      '| --- | ---: | --- | ---: | ---: |',
  ]
  for o in outcomes:
    ends = ', '.join(f'{n:,} {how}' for how, n in sorted(o.counts.items()))
    lines.append(
        f'| {o.kind} | {o.num_trials:,} | {ends} | {len(o.violations)} |'
        f' {o.seconds:.0f} |'
    )
  return '\n'.join([*lines, '', *(v for o in outcomes for v in o.violations)])
