# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A hook of MkDocs: pages keep their paths from the root, and so their links.

MkDocs knows one folder of pages, but ours stand next to what they are about.
"""

import pathlib

from mkdocs.config import defaults
from mkdocs.structure import files as mkdocs_files

_ROOT = pathlib.Path(__file__).absolute().parent.parent
_PAGES = ('*.md', 'docs/*', 'results/*', 'results/*/*', 'benchmarks/*.md')
# Links lead to these too.
_OTHERS = (
    'LICENSE',
    'pyproject.toml',
    'requirements.txt',
    'notebooks/*.ipynb',
    'tasks/presets/*',
)


def on_files(
    files: mkdocs_files.Files, config: defaults.MkDocsConfig
) -> mkdocs_files.Files:
  """Replaces what MkDocs found in docs/ by all of our pages."""
  del files  # Those of docs/ by paths from there.
  return mkdocs_files.Files(
      [
          mkdocs_files.File.generated(
              config,
              path.relative_to(_ROOT).as_posix(),
              abs_src_path=str(path),
          )
          for pattern in (*_PAGES, *_OTHERS)
          for path in sorted(_ROOT.glob(pattern))
          if path.is_file()
          and path.suffix not in ('.py', '')
          or path.name == 'LICENSE'
      ]
  )
