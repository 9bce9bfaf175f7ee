"""The fixture `tiny`: the module beside this file, which holds a training run of 30 steps."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny():
    spec = importlib.util.spec_from_file_location("habitus_tests_tiny", Path(__file__).with_name("tiny.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
