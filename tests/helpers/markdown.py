# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads code, commands and links from this project's Markdown pages."""

from collections.abc import Iterator
import pathlib
import re
import shlex

from tests.helpers import paths

# Pages link to files of every kind, so Bazel cannot know what tests of pages
# depend on. They have the tag "external", with which Bazel always runs them.
ROOT = paths.ROOT
PAGES = sorted(
    [
        *ROOT.glob('*.md'),
        *(
            path
            for folder in ('docs', 'results', 'benchmarks')
            for path in (ROOT / folder).glob('*.md')
        ),
    ]
)
PYTHON = '.venv/bin/python'  # As written in commands.

_BLOCK = re.compile(r'^```(\w*)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r'^    (\S.*)$', re.MULTILINE)
_CODE = re.compile(r'(?<!`)`([^`\n]+)`(?!`)')
_HEADING = re.compile(r'^#+ +(.*\S)', re.MULTILINE)
_LINK = re.compile(r'\[[^\]]*\]\(([^)\s]+)\)')
_COMMAND = re.compile(
    r'^(make|bash|(\.venv/bin/)?(python|jupyter)|pip|uv)( |$)'
)


def name(path: pathlib.Path) -> str:
  return str(path.relative_to(ROOT))


def blocks(path: pathlib.Path, language: str) -> Iterator[tuple[int, str]]:
  """Fenced blocks of a language, each with the number of its first line."""
  text = path.read_text(encoding='utf-8')
  for match in _BLOCK.finditer(text):
    if match[1] == language:
      yield text.count('\n', 0, match.start(2)) + 1, match[2]


def commands(path: pathlib.Path) -> list[list[str]]:
  """The words of each command in the page's shell blocks."""
  found = []
  for _, block in blocks(path, 'sh'):
    lines = block.replace('\\\n', ' ').splitlines()
    found.extend(shlex.split(line, comments=True) for line in lines)
  return [words for words in found if words]


def commands_in_text(path: pathlib.Path) -> list[list[str]]:
  """The words of each command in sentences and in indented lines."""
  text = _BLOCK.sub('', path.read_text(encoding='utf-8'))
  code = [*_CODE.findall(text), *_INDENTED.findall(text)]
  return [
      shlex.split(line, comments=True) for line in code if _COMMAND.match(line)
  ]


def links(path: pathlib.Path) -> list[tuple[str, str]]:
  """Where links and pictures lead: a file, '' for the page, and an anchor."""
  text = _BLOCK.sub('', path.read_text(encoding='utf-8'))
  found = []
  for link in _LINK.findall(text):
    if not link.startswith(('http://', 'https://')):
      file, _, anchor = link.partition('#')
      found.append((file, anchor))
  return found


def anchors(path: pathlib.Path) -> set[str]:
  """The anchors of a page's headings."""
  text = _BLOCK.sub('', path.read_text(encoding='utf-8'))
  headings = [_LINK.sub(r'\1', h).lower() for h in _HEADING.findall(text)]
  return {re.sub(r'[^\w\- ]', '', h).replace(' ', '-') for h in headings}
