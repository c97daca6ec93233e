# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The page about FedAlt and FedSim on one task; see `experiments.regime`."""

from collections.abc import Mapping
import pathlib
from typing import Any

from tff_partial import files
from tff_partial.reporting import page
from tff_partial.reporting import regime_notes
from tff_partial.reporting import regime_plots
from tff_partial.reporting import regime_text

PAGE = 'regime.html'


def write(folder: pathlib.Path, contents: Mapping[str, Any]) -> pathlib.Path:
  """Writes `regime.json`, `regime.md` and, at the end, `regime.html`.

  Args:
    folder: Where to write.
    contents: What `experiments.regime` measured, ready for JSON.

  Returns:
    The path of the page.

  Raises:
    OSError: If a file cannot be written; existing files are then left whole.
  """
  splits = contents['splits']
  sections = {
      name: {
          'lines': regime_text.lines(name, split, contents['task']),
          'notes': regime_notes.notes(
              split, total_rounds=contents['total_rounds']
          ),
      }
      for name, split in splits.items()
  }
  figures = {
      'forecasts': regime_plots.forecasts(splits),
      'lookahead': regime_plots.lookahead(splits),
      'constants': regime_plots.constants(splits),
  }
  html = (
      page.environment(percent=False)
      .get_template('regime.html.jinja')
      .render(
          contents,
          sections=sections,
          figures={name: page.data_uri(f) for name, f in figures.items()},
      )
  )
  files.replace_text(folder / 'regime.json', page.to_json(contents))
  files.replace_text(folder / 'regime.md', text(contents))
  path = folder / PAGE
  files.replace_text(path, html)
  return path


def text(contents: Mapping[str, Any]) -> str:
  """The findings as Markdown, which also reads well in a terminal.

  Args:
    contents: What `experiments.regime` measured.
  """
  parts = []
  for name, split in contents['splits'].items():
    lines = regime_text.lines(name, split, contents['task'])
    notes = regime_notes.notes(split, total_rounds=contents['total_rounds'])
    parts.append('\n'.join(f'    {line}' for line in lines))
    parts.extend(f'* {note}' for note in notes)
  return '\n\n'.join(parts) + '\n'
