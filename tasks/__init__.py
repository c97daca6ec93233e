# Copyright 2026 The tff-partial Authors.
# SPDX-License-Identifier: Apache-2.0
"""The paper's four tasks, and one for tables, by the names that users give."""

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
