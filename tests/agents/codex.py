#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Codex CLI from npm, unmodified: the Responses dialect.

Its provider is configured by the file that kenaz-guestd writes.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from agent_run import Agent, run  # noqa: E402


class Codex(Agent):
    name = "codex"
    tool, argument = "exec_command", "cmd"
    command = ("codex", "exec", "--skip-git-repo-check", "-m", "fake",
               "--dangerously-bypass-approvals-and-sandbox")


run(Codex())
