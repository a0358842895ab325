# SPDX-License-Identifier: Apache-2.0
"""What devices and network servers send, one file a format."""
