# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""One TFF worker for all tests of a module.

setUpModule, tearDownModule = worker.start, worker.stop
"""

import contextlib

from tff_partial.runtime import local

_stack = contextlib.ExitStack()


def start():
  _stack.enter_context(local.local_worker())


def stop():
  _stack.close()
