# SPDX-License-Identifier: Apache-2.0
"""Who may see what: rules, callers, and the views that they read through."""
