#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""pi from npm, unmodified: chat completions, translated for Anthropic."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from agent_run import Agent, run  # noqa: E402


class Pi(Agent):
    name = "pi"
    tool = "bash"
    kind = 'kind = "anthropic"'
    files = {".pi/agent/models.json": json.dumps({"providers": {"kenaz": {
        "baseUrl": "http://127.0.0.1:4141/v1", "api": "openai-completions",
        "apiKey": "none", "models": [{"id": "fake"}]}}})}
    command = ("pi", "-p", "--provider", "kenaz", "--model", "fake")


run(Pi())
