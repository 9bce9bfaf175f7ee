"""Simulated data with a known truth."""

from habitus.data.simulate.installs import Simulation, simulate_chunks, simulate_installs
from habitus.data.simulate.writing import write_installs

__all__ = ["Simulation", "simulate_chunks", "simulate_installs", "write_installs"]
