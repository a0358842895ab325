# SPDX-License-Identifier: Apache-2.0
"""Files that people exchange with the hub."""
