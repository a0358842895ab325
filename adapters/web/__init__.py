# SPDX-License-Identifier: Apache-2.0
"""Connections to where others say, guarded."""
