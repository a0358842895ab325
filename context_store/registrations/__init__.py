# SPDX-License-Identifier: Apache-2.0
"""Context source registrations."""
