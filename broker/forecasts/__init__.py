# SPDX-License-Identifier: Apache-2.0
"""Forecasts of outside models as runs, a plain one of the hub's own, and how good they turned out to be."""
