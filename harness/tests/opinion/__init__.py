# SPDX-License-Identifier: Apache-2.0
"""A second implementation of the KV ops, written from the specification, in Python with numpy alone."""
