# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The BUILD files are up to date, and how they are made from Python files."""

import json
import pathlib
import re
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from tools import update_build_files

# BUILD: data = ["//:sources"]
_EXPECTED = update_build_files.build_files(update_build_files.ROOT)


def target(content, name):
  """One target of a BUILD file."""
  return re.search(rf'\w+\(\n    name = "{name}",.*?\n\)\n', content, re.S)[0]


class BuildFilesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.root = pathlib.Path(folder.name)
    self.write_packages('numpy', 'absl-py')

  def write(self, path, content=''):
    (self.root / path).parent.mkdir(parents=True, exist_ok=True)
    (self.root / path).write_text(content, encoding='utf-8')

  def write_packages(self, *names):
    self.write('pyproject.toml', f'[project]\ndependencies = {list(names)}')

  def build_file(self, folder):
    return update_build_files.build_files(self.root)[f'{folder}/BUILD']

  @parameterized.parameters(*_EXPECTED)
  def test_are_up_to_date(self, name):
    path = update_build_files.ROOT / name
    self.assertTrue(path.exists(), 'Run `make build-files`.')
    self.assertMultiLineEqual(
        path.read_text(encoding='utf-8'),
        _EXPECTED[name],
        'Run `make build-files`.',
    )

  def test_imports_become_deps(self):
    self.write('tff_partial/__init__.py')
    self.write('tff_partial/a.py', 'import os\nimport numpy as np\n')
    self.write('tff_partial/b.py', 'def f():\n  from tff_partial import a\n')
    self.write('tasks/c.py', 'from tff_partial.b import f\nimport absl.flags\n')
    self.assertEqual(
        target(self.build_file('tff_partial'), 'b'),
        'py_library(\n    name = "b",\n    srcs = ["b.py"],\n    deps = [\n'
        '        ":__init__",\n        ":a",\n    ],\n)\n',
    )
    self.assertEqual(
        target(self.build_file('tasks'), 'c'),
        'py_library(\n    name = "c",\n    srcs = ["c.py"],\n    deps = [\n'
        '        "//tff_partial:b",\n        "@pip//absl_py",\n    ],\n)\n',
    )

  def test_programs_that_a_test_starts_become_deps(self):
    self.write('tasks/a.py')
    self.write('tasks/b.py')
    self.write('tasks/c.py', "print('Try -m tasks.a')\n")
    self.write('run_experiment.py', "if __name__ == '__main__':\n  pass\n")
    self.write(
        'tests/a_test.py',
        '"""Tests of tasks.b."""\n'
        "print('-c', 'from tasks import a; print(a)', '-m', 'tasks.c')\n",
    )
    self.write('tests/b_test.py', "print(ROOT / 'run_experiment.py')\n")
    content = self.build_file('tests')
    self.assertIn(
        'deps = [\n        "//tasks:a",\n        "//tasks:c",\n    ]',
        target(content, 'a_test'),
    )
    self.assertIn('["//:run_experiment"]', target(content, 'b_test'))
    self.assertNotIn('deps', target(self.build_file('tasks'), 'c'))

  def test_tests_are_imported_but_not_started(self):
    self.write('tests/a_test.py')
    self.write('tests/b_test.py', 'from tests import a_test\n')
    self.write('tests/c_test.py', "print('tests/a_test.py')\n")
    content = self.build_file('tests')
    self.assertIn('deps = [":a_test"]', target(content, 'b_test'))
    self.assertNotIn('deps', target(content, 'c_test'))

  def test_relative_imports_become_deps(self):
    self.write('tasks/a/b.py', 'from . import c\nfrom ..d import e\n')
    self.write('tasks/a/c.py')
    self.write('tasks/d/e.py')
    self.assertIn(
        'deps = [\n        ":c",\n        "//tasks/d:e",\n    ]',
        target(self.build_file('tasks/a'), 'b'),
    )

  def test_public_names_are_imported_when_they_are_used(self):
    self.write(
        'tff_partial/__init__.py',
        'from typing import TYPE_CHECKING\n'
        'if TYPE_CHECKING:\n  from tff_partial.a import f\n',
    )
    self.write('tff_partial/a.py', 'from tff_partial import b\n')
    self.write('tff_partial/b.py')
    self.write('tasks/c.py', 'import tff_partial as tffp\n')
    self.write('tests/d_test.py', "print('import tff_partial as tffp')\n")
    content = self.build_file('tff_partial')
    self.assertNotIn('deps', target(content, '__init__'))
    for content, name in (
        (self.build_file('tasks'), 'c'),
        (self.build_file('tests'), 'd_test'),
    ):
      self.assertIn(
          '"//tff_partial:__init__",\n        "//tff_partial:a"',
          target(content, name),
      )

  def test_data(self):
    self.write('tff_partial/templates/page.html')
    self.write('tff_partial/a.py', "print('templates')\n")
    self.write('tests/a_test.py', "print('--flag=tasks/presets/x.flags')\n")
    self.write('tasks/presets/x.flags')
    self.write('tasks/a.py')
    self.assertIn(
        'data = [":templates/page.html"],',
        target(self.build_file('tff_partial'), 'a'),
    )
    self.assertIn(
        'data = ["//tasks:presets/x.flags"],',
        target(self.build_file('tests'), 'a_test'),
    )
    self.assertIn(
        'exports_files(["presets/x.flags"])', self.build_file('tasks')
    )

  def test_modules_of_documents_that_a_test_reads_become_deps(self):
    self.write(
        'docs/a.md', 'Run `python -m tasks.a`: `from tasks import a, b`.'
    )
    self.write('tasks/a.py')
    self.write('tasks/b.py')
    self.write('tests/a_test.py', "print(ROOT / 'docs' / 'a.md')\n")
    self.write('tests/b_test.py', "os.path.join(ROOT, 'docs', 'a.md')\n")
    content = self.build_file('tests')
    for name in ('a_test', 'b_test'):
      self.assertIn('data = ["//:docs/a.md"]', target(content, name))
      self.assertIn(
          'deps = [\n        "//tasks:a",\n        "//tasks:b",\n    ]',
          target(content, name),
      )

  def test_outputs_of_a_notebook_name_nothing(self):
    cell = {
        'source': ['from tasks import a\n', 'a'],
        # As in a picture, with a name too long for a file.
        'outputs': [{'text': 'from tasks import b'}, f'x/{"y" * 5000}.Qz'],
    }
    self.write('notebooks/a.ipynb', json.dumps({'cells': [cell]}))
    self.write('tasks/a.py')
    self.write('tasks/b.py')
    self.write('tests/a_test.py', "print('notebooks/a.ipynb')\n")
    self.assertIn(
        'deps = ["//tasks:a"]', target(self.build_file('tests'), 'a_test')
    )

  def test_users_of_a_folder(self):
    for path in ('a', 'tasks/a', 'tasks/b/a', 'tests/a', 'tff_partial/a'):
      self.write(f'{path}.py')
    users = {
        folder: re.findall('"//(.*):__pkg__"', content.split('filegroup')[0])
        for folder, content in update_build_files.build_files(self.root).items()
    }
    self.assertEqual(
        users,
        {
            'BUILD': ['tests'],
            'tasks/BUILD': ['', 'tasks/b', 'tests'],
            'tasks/b/BUILD': ['', 'tasks', 'tests'],
            'tests/BUILD': [],
            'tff_partial/BUILD': ['', 'tasks', 'tasks/b', 'tests'],
        },
    )

  def test_sizes_and_settings(self):
    self.write_packages('tensorflow==2.14.1')
    self.write('tasks/a.py', 'import tensorflow as tf\n')
    self.write('run_experiment.py')
    self.write('tests/a_test.py', 'import os\n')
    self.write('tests/b_test.py', 'from tasks import a\n')
    self.write('tests/c_test.py', 'import run_experiment\n')
    self.write(
        'tests/d_test.py', '# BUILD: size = "large"\n# BUILD: data = [":x"]'
    )
    content = self.build_file('tests')
    for name, size in zip('abcd', ('small', 'medium', 'large', 'large')):
      self.assertIn(f'size = "{size}"', target(content, f'{name}_test'))
    self.assertIn('data = [":x"],', target(content, 'd_test'))

  def test_unknown_package(self):
    self.write('tasks/a.py', 'import pandas\n')
    with self.assertRaisesRegex(
        ValueError, "package of pyproject.toml, found 'pandas' in tasks/a.py"
    ):
      self.build_file('tasks')


if __name__ == '__main__':
  absltest.main()
