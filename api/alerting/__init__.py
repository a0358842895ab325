# SPDX-License-Identifier: Apache-2.0
"""What people do with alarms, rules, drills and forecasts, and how they are told."""
