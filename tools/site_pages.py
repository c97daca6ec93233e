# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""A hook for MkDocs that collects the pages of all folders.

MkDocs reads pages from one folder, but ours are next to what they describe.
They keep their paths from the root, so the links between them work.
"""

import pathlib

from mkdocs.config import defaults
from mkdocs.structure import files as mkdocs_files

_ROOT = pathlib.Path(__file__).absolute().parent.parent
_PAGES = ('*.md', 'docs/*', 'results/*', 'results/*/*', 'benchmarks/*.md')
# Files that pages link to.
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
  """Replaces the files that MkDocs found in docs/ by all of our pages."""
  del files  # Their paths start at docs/.
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
