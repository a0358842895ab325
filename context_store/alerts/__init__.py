# SPDX-License-Identifier: Apache-2.0
"""Alert rules, alerts, alarms, drills, and the record of what people did with them."""
