# SPDX-License-Identifier: Apache-2.0
"""What comes in: readings committed in batches or set aside with the reason, inboxes and polls."""
