# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The paper's four tasks, and one for tables, by the names that users give."""

import os

# Before TensorFlow is imported. It would print notes about GPUs.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
# By default, TensorFlow uses oneDNN on CPUs with VNNI only; on others, too, it
# halves the time of convolutions.
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')

# BUILD: deps = ["//tasks/emnist:task", "//tasks/landmarks:task"]
# BUILD: deps = ["//tasks/speech:task", "//tasks/stackoverflow:task"]
# BUILD: deps = ["//tasks/tabular:task"]

# References for `tff_partial.experiments.task.create`. They are strings, so
# importing this package imports no task.
TASKS = {
    name: f'{__name__}.{name}.task:create_task'
    for name in (
        'emnist',
        'stackoverflow',
        'speech',
        'landmarks',
        'tabular',
    )
}
