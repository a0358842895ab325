# SPDX-License-Identifier: Apache-2.0
"""JSON-LD contexts."""
