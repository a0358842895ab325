# SPDX-License-Identifier: Apache-2.0
"""HTTP, command line and the composition root of every process."""
