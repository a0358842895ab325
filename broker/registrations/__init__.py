# SPDX-License-Identifier: Apache-2.0
"""Context source registrations: documents, which requests concern them, and what their sources give (4.3.6, 5.9)."""
