# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Counts of what was tried, and what went wrong."""

import collections
from collections.abc import Mapping, Sequence
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
    peaks: The most memory that was taken, in bytes, by names of processes.
  """

  kind: str
  counts: collections.Counter = dataclasses.field(
      default_factory=collections.Counter
  )
  violations: list[str] = dataclasses.field(default_factory=list)
  seconds: float = 0
  peaks: collections.Counter = dataclasses.field(
      default_factory=collections.Counter
  )

  @property
  def num_trials(self) -> int:
    return sum(self.counts.values())

  def note_peaks(self, peaks: Mapping[str, int], limit: int) -> None:
    """Keeps the larger of peaks; more than a limit is a violation."""
    for name, peak in peaks.items():
      if peak > limit >= self.peaks[name]:
        self.violations.append(
            f'{self.kind}: {name} took {peak / 2**20:.0f} MiB'
        )
      self.peaks[name] = max(self.peaks[name], peak)


def table(outcomes: Sequence[Outcome]) -> str:
  """A table in Markdown, with a line for each violation after it."""
  lines = [
      '| tried | times | how they ended | violations | seconds | peak, MiB |',
      '| --- | ---: | --- | ---: | ---: | --- |',
  ]
  for o in outcomes:
    ends = ', '.join(f'{n:,} {how}' for how, n in sorted(o.counts.items()))
    peaks = ', '.join(
        f'{name} {peak / 2**20:.0f}' for name, peak in sorted(o.peaks.items())
    )
    lines.append(
        f'| {o.kind} | {o.num_trials:,} | {ends} | {len(o.violations)} |'
        f' {o.seconds:.0f} | {peaks} |'
    )
  return '\n'.join([*lines, '', *(v for o in outcomes for v in o.violations)])
