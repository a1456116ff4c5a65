"""How much hardware a site needs: arithmetic over measured constants, and a simulation."""
