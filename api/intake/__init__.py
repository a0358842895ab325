# SPDX-License-Identifier: Apache-2.0
"""What comes in by HTTP or is fetched, what waits for a person, and the parts of ingest."""
