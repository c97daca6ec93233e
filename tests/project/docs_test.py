# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pages: their Python code runs, and what they name exists."""

import ast
from collections.abc import Iterator
import contextlib
import hashlib
import io
import json
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import Optional
from unittest import mock

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
from absl.testing import parameterized

from tests.helpers import markdown
from tff_partial.experiments import flags as flags_lib
from tff_partial.experiments import methods

# BUILD: tags = ["external"]
# BUILD: deps = ["//:run_experiment"]
# Packages whose modules define flags for the commands that import them.
_COMMANDS = ('tff_partial.data', 'tff_partial.experiments', 'tasks')
flags_lib.define()
_NAMES = [markdown.name(path) for path in markdown.PAGES]


def _source(module: str) -> pathlib.Path:
  return markdown.ROOT / f'{module.replace(".", "/")}.py'


def _flags_of(
    path: pathlib.Path, seen: Optional[set[pathlib.Path]] = None
) -> Iterator[str]:
  """The flags that a program defines itself or by a module it imports."""
  seen = set() if seen is None else seen
  seen.add(path)
  tree = ast.parse(path.read_text(encoding='utf-8'))
  for node in ast.walk(tree):
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
      names = [a.value for a in node.args if isinstance(a, ast.Constant)]
      if node.func.attr == 'add_argument':
        yield from (n for n in names if str(n).startswith('--'))
      elif node.func.attr.startswith('DEFINE_') and names:
        yield f'--{names[0]}'
    elif isinstance(node, ast.ImportFrom) and node.module:
      # A command of `tasks` imports its own package by relative imports.
      package = f'tasks.{node.module}' if node.level == 1 else node.module
      if path.parent.name != 'tasks' and node.level:
        continue
      for alias in node.names:
        imported = _source(f'{package}.{alias.name}')
        if (
            package.startswith(_COMMANDS)
            and imported.is_file()
            and imported not in seen
        ):
          yield from _flags_of(imported, seen)


def _targets() -> set[str]:
  makefile = (markdown.ROOT / 'Makefile').read_text(encoding='utf-8')
  return set(re.findall(r'^([a-z-]+):', makefile, re.MULTILINE))


class DocsTest(parameterized.TestCase):

  @parameterized.parameters(
      *(
          n
          for n, p in zip(_NAMES, markdown.PAGES)
          if any(markdown.blocks(p, 'python'))
      )
  )
  def test_python_runs(self, name):
    page = markdown.ROOT / name
    program = {'__name__': 'page'}
    # A page may add an algorithm, which must not stay for other tests.
    self.enter_context(mock.patch.dict(methods.METHODS))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
      for line, block in markdown.blocks(page, 'python'):
        # The line numbers of an error are those of the page.
        code = compile('\n' * (line - 1) + block, name, 'exec')
        with contextlib.redirect_stdout(io.StringIO()):
          exec(code, program)  # pylint: disable=exec-used

  def test_command_trains_the_task_of_the_page(self):
    page = markdown.ROOT / 'docs' / 'adding_a_task.md'
    data, *task = [block for _, block in markdown.blocks(page, 'python')]
    [(_, program, *arguments)] = markdown.commands(page)
    self.assertEqual(program, 'run_experiment.py')
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
      with contextlib.redirect_stdout(io.StringIO()):
        exec(data, {'__name__': 'page'})  # pylint: disable=exec-used
      # All but the last block, which trains.
      pathlib.Path('words.py').write_text('\n\n'.join(task[:-1]))
      result = subprocess.run(
          [
              *(sys.executable, str(markdown.ROOT / program), *arguments),
              *('--pretrain_rounds=1', '--total_rounds=1'),
          ],
          capture_output=True,
          text=True,
      )
      self.assertEqual(result.returncode, 0, result.stderr)
      self.assertIn('words: 8 hidden units', result.stdout)
      settings = json.loads(pathlib.Path('out/words/config.json').read_text())
      self.assertEqual(
          settings['settings']['task_digest'],
          hashlib.sha256(pathlib.Path('words.py').read_bytes()).hexdigest(),
      )

  @parameterized.parameters(*_NAMES)
  def test_commands_are_there(self, name):
    page = markdown.ROOT / name
    for words in [*markdown.commands(page), *markdown.commands_in_text(page)]:
      with self.subTest(' '.join(words)):
        self.check(words)

  def check(self, words):
    program, *rest = words
    program = program.removeprefix('.venv/bin/')
    if program == 'make':
      self.assertContainsSubset([w for w in rest if '=' not in w], _targets())
    elif program == 'bash':
      self.assertTrue((markdown.ROOT / rest[0]).is_file())
    elif program == 'jupyter':
      self.assertEqual(rest[0], 'execute')
      self.assertTrue((markdown.ROOT / rest[1]).is_file())
    elif program == 'python' and rest[0] == 'run_experiment.py':
      self.check_experiment(rest)
    elif program == 'python':
      module = rest[1] if rest[0] == '-m' else rest[0].removesuffix('.py')
      path = _source(module)
      self.assertTrue(path.is_file(), path)
      used = [w.split('=')[0] for w in rest if w.startswith('--')]
      self.assertContainsSubset(used, list(_flags_of(path)))
    else:
      self.fail(f'Expected a program of this project, found {program!r}.')

  def check_experiment(self, argv):
    if argv[1:] == ['--help']:  # It would exit this program.
      return
    with flagsaver.flagsaver(), contextlib.chdir(markdown.ROOT):
      self.assertLen(flags.FLAGS(argv), 1)
      for algorithm in flags.FLAGS.algorithm.split(','):
        self.assertIn(algorithm, methods.METHODS)

  def test_flags_are_read_from_sources(self):
    self.assertIn('--run', list(_flags_of(_source('tasks.transcribe'))))
    self.assertNotIn('--walk', list(_flags_of(_source('tasks.transcribe'))))
    self.assertIn('--rounds', list(_flags_of(_source('benchmarks.rounds'))))

  @parameterized.parameters(*_NAMES)
  def test_flags_in_sentences_are_there(self, name):
    """Flags without a command are those of run_experiment or of an importer."""
    text = (markdown.ROOT / name).read_text(encoding='utf-8')
    known = {
        flag.removeprefix('--')
        for module in ('tasks.import_client_data', 'tasks.transcribe')
        for flag in _flags_of(_source(module))
    }
    known |= flags_lib.names() | {'help', 'helpfull', 'flagfile'}
    found = set(re.findall(r'`--([a-z_0-9]+)', text))
    self.assertContainsSubset(found, known)

  @parameterized.parameters(*_NAMES)
  def test_links_lead_to_files(self, name):
    page = markdown.ROOT / name
    for link in markdown.files_linked(page):
      self.assertTrue((page.parent / link).exists(), link)

  @parameterized.parameters(*_NAMES)
  def test_modules_named_are_there(self, name):
    """Checks paths in sentences, such as `tests/x.py`."""
    text = (markdown.ROOT / name).read_text(encoding='utf-8')
    for path in re.findall(
        r'`((?:tff_partial|tasks|tests|results)/[\w/]+\.\w+)', text
    ):
      self.assertTrue((markdown.ROOT / path).exists(), path)


if __name__ == '__main__':
  absltest.main()
