# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The pages: their Python runs, and commands, flags and files are there."""

import ast
from collections.abc import Iterator
import contextlib
import hashlib
import io
import itertools
import json
import pathlib
import re
import subprocess
import sys
import tempfile

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
from absl.testing import parameterized

from tests.helpers import markdown
from tff_partial.experiments import flags as flags_lib
from tff_partial.experiments.settings import methods

# BUILD: tags = ["external"]
# BUILD: deps = ["//:run_experiment"]
# Packages whose modules define flags for the commands that import them.
_COMMANDS = ('tff_partial.data', 'tff_partial.experiments', 'tasks')
flags_lib.define()
_NAMES = [markdown.name(path) for path in markdown.PAGES]


def _source(module: str) -> pathlib.Path:
  path = markdown.ROOT / module.replace('.', '/')
  return path / '__main__.py' if path.is_dir() else path.with_suffix('.py')


def _flags_of(path: pathlib.Path) -> set[str]:
  """The flags that a program defines itself or by a module it imports."""
  found, seen, waiting = set(), set(), [path]
  while waiting:
    path = waiting.pop()
    seen.add(path)
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
      if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        names = [a.value for a in node.args if isinstance(a, ast.Constant)]
        if node.func.attr == 'add_argument':
          found.update(n for n in names if str(n).startswith('--'))
        elif node.func.attr.startswith('DEFINE_'):
          found.update(f'--{name}' for name in names[:1])
      elif isinstance(node, ast.ImportFrom):
        for imported in _imported(node, path):
          if imported.is_file() and imported not in seen:
            waiting.append(imported)
  return found


def _imported(
    node: ast.ImportFrom, path: pathlib.Path
) -> Iterator[pathlib.Path]:
  """The files of modules that may define flags, which an import names."""
  package = str(node.module or '')
  if node.level:  # A command of `tasks` imports its own package.
    folder = path.parents[node.level - 1].relative_to(markdown.ROOT)
    package = '.'.join([*folder.parts, package]).rstrip('.')
  if package.startswith(_COMMANDS):
    for alias in node.names:
      yield _source(f'{package}.{alias.name}')


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
    # What a page shows right behind a block is what the block prints.
    outputs = dict(markdown.blocks(page, 'text'))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
      for line, block in markdown.blocks(page, 'python'):
        # Lines of an error are those of the page.
        code = compile('\n' * (line - 1) + block, name, 'exec')
        with contextlib.redirect_stdout(io.StringIO()) as printed:
          exec(code, program)  # pylint: disable=exec-used
        if (shown := outputs.get(line + block.count('\n') + 3)) is not None:
          self.assertEqual(printed.getvalue(), shown, f'{name}:{line}')

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
              *('--pretrain_rounds=0', '--total_rounds=1'),
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
    # What is set for the command alone.
    program, *rest = itertools.dropwhile(lambda word: '=' in word, words)
    program = program.removeprefix('.venv/bin/')
    if program == 'make':
      self.assertContainsSubset([w for w in rest if '=' not in w], _targets())
    elif program in ('bash', 'sh'):
      self.assertTrue((markdown.ROOT / rest[0]).is_file())
    elif program == 'jupyter':
      self.assertEqual(rest[:2], ['execute', '--inplace'])
      self.assertTrue((markdown.ROOT / rest[2]).is_file())
    elif program == 'python' and rest[0] == 'run_experiment.py':
      self.check_experiment(rest)
    elif program == 'python':
      module = rest[1] if rest[0] == '-m' else rest[0].removesuffix('.py')
      path = _source(module)
      self.assertTrue(path.is_file(), path)
      used = [w.split('=')[0] for w in rest if w.startswith('--')]
      used = [flag for flag in used if flag != '--help']  # argparse's own.
      self.assertContainsSubset(used, _flags_of(path))
    else:
      self.fail(f'Expected a program of ours, found {program!r}.')

  def check_experiment(self, argv):
    if argv[1:] == ['--help']:  # It would end this program.
      return
    with flagsaver.flagsaver(), contextlib.chdir(markdown.ROOT):
      self.assertLen(flags.FLAGS(argv), 1)
      for algorithm in flags.FLAGS.algorithm.split(','):
        self.assertIn(algorithm, methods.METHODS)

  def test_flags_are_read_from_sources(self):
    self.assertIn('--run', (_flags_of(_source('tasks.transcribe'))))
    self.assertNotIn('--walk', (_flags_of(_source('tasks.transcribe'))))
    self.assertIn('--rounds', (_flags_of(_source('benchmarks.rounds'))))

  @parameterized.parameters(*_NAMES)
  def test_flags_in_sentences_are_there(self, name):
    """Flags that stand alone in a sentence are those of run_experiment."""
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
  def test_links_lead_to_files_and_headings(self, name):
    page = markdown.ROOT / name
    for file, anchor in markdown.links(page):
      target = page.parent / file if file else page
      self.assertTrue(target.exists(), file)
      if anchor:
        self.assertIn(anchor, markdown.anchors(target), file)

  def test_links_are_found(self):
    links = markdown.links(markdown.ROOT / 'README.md')
    self.assertGreater(len(links), 30)
    self.assertNotEmpty([anchor for _, anchor in links if anchor])

  @parameterized.parameters(*_NAMES)
  def test_modules_named_are_there(self, name):
    """`tff_partial.x`, `tests/x.py` and the like in sentences."""
    text = (markdown.ROOT / name).read_text(encoding='utf-8')
    for path in re.findall(
        r'`((?:tff_partial|tasks|tests|results)/[\w/]+\.\w+)', text
    ):
      self.assertTrue((markdown.ROOT / path).exists(), path)


if __name__ == '__main__':
  absltest.main()
