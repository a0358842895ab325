# SPDX-License-Identifier: Apache-2.0
"""Stored JSON-LD contexts."""
