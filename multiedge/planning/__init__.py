"""What every strategy plans with: costs, checks of placements, hand-written parts, made-up models."""
